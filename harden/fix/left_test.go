package fix

import (
	"bytes"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
)

func (p *Plan) wholeText(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String() + p.Summary()
}

// A row that was not seen is no row with nothing to do, and what it takes to see it is said.
func TestUnseen(t *testing.T) {
	s := newStage(t)
	rep := found("P3.3", harden.Unknown)
	rep.Rows[0].Results[0].Summary = "no broker answers: start it"
	p := s.make(t, s.order(t, rep))
	text := p.wholeText(t)
	if !p.Unseen() || p.Open() || strings.Contains(text, nothingToDo) || !strings.Contains(text, "P3.3: not seen, which is no pass") || !strings.Contains(text, "no broker answers: start it") ||
		!strings.HasSuffix(text, "nothing is known to mend: 1 row could not be seen, which is no pass") {
		t.Error(text)
	}
	well := found("P1.2", harden.Pass)
	rep.Rows = append(rep.Rows, well.Rows...)
	if p = s.make(t, s.order(t, rep)); !strings.HasSuffix(p.Summary(), "nothing to do; 1 row could not be seen, which is no pass") {
		t.Error(p.Summary())
	}
	if p = s.make(t, s.order(t, well)); p.Unseen() || p.Summary() != nothingToDo {
		t.Error(p.Summary())
	}
}

// Steps for one fault do not hide the words for another, of the same scope or of the next.
func TestWordsBesideSteps(t *testing.T) {
	s := newStage(t)
	rep := found("P1.3a", harden.Fail, want(harden.WantSysctl, "net.core.somaxconn", "4096"))
	rep.Rows[0].Results[0].Left, rep.Rows[0].Results[0].LeftFix = []string{"the other fault: so it is"}, "what a person does"
	rep.Rows[0].Results = append(rep.Rows[0].Results, harden.Result{Scope: "listener:a", State: harden.Warn, Summary: "of the second", Fix: "what helps the second"})
	p := s.make(t, s.order(t, rep))
	text := p.wholeText(t)
	for _, line := range []string{"node: as it is\n", "  also  listener:a: of the second\n", "  step 2  set net.core.somaxconn: 128 -> 4096", "  by hand  node: the other fault: so it is\n", "  by hand  what a person does\n", "  by hand  what helps the second\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("without %q:\n%s", line, text)
		}
	}
	if !p.Open() || strings.Contains(text, "do something") {
		t.Errorf("open %v\n%s", p.Open(), text)
	}
	for range 2 * alsoMost {
		rep.Rows[0].Results = append(rep.Rows[0].Results, harden.Result{Scope: "listener:b", State: harden.Warn, Summary: "x"})
	}
	if also := s.make(t, s.order(t, rep)).Rows[0].Also; len(also) != alsoMost+1 || !strings.HasPrefix(also[alsoMost], "and 9 more") {
		t.Errorf("%q", also)
	}
}

// What has its sockets from the start of the broker is not opened anew, and that is said.
func TestSocketsOfTheStart(t *testing.T) {
	s := newStage(t)
	late := want(harden.WantRestart, "metrics", "")
	p := s.make(t, s.order(t, found("P1.3a", harden.Warn, want(harden.WantSysctl, "net.core.somaxconn", "4096"), late)))
	if !p.Restarts() || p.Open() || p.Rows[0].Restart != "broker" || !strings.Contains(p.wholeText(t), "the sockets of metrics are not opened anew while the broker runs") {
		t.Errorf("%+v", p.Rows[0])
	}
	after := found("P1.3a", harden.Warn)
	if o := p.Outcomes(after); len(o) != 1 || !o[0].Restart || o[0].Open() {
		t.Errorf("%+v", o)
	}
	p = s.make(t, s.order(t, found("P1.3a", harden.Warn, late)))
	if len(p.Steps) != 0 || !p.Open() || !strings.Contains(p.wholeText(t), "by hand  start the broker again: it opens the sockets of metrics when it starts") {
		t.Errorf("%+v", p.Rows[0])
	}
}
