package harden

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/metrics"
)

// patientNode is a broker that looks at itself, whose rows say what a test says.
type patientNode struct {
	*Background
	alarms *alarm.Alarms

	mu   sync.Mutex // guards everything below
	log  bytes.Buffer
	conf config.Config
	runs []time.Time
	says map[string]Result
	took time.Duration

	named string // who answers; "": nobody
}

// Write implements io.Writer, for the log.
func (p *patientNode) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *patientNode) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *patientNode) logged(word string) bool { return strings.Contains(p.text(), word) }

func (p *patientNode) say(id string, s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says[id] = Result{Scope: "node", State: s, Confidence: External, Summary: "seen as " + string(s), Key: "listeners.a"}
}

func (p *patientNode) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.runs)
}

// newPatient has a row of each severity that passes. The first row counts runs.
func newPatient() *patientNode {
	p := &patientNode{says: map[string]Result{}}
	var checks []*Check
	for i, c := range []*Check{row("P2.2", High, 8, Kernel), row("P4.1", Critical, 10, Effective), row("P5.8", Low, 3, Kernel)} {
		p.say(c.ID, Pass)
		c.Run = func(context.Context, *Env) []Result {
			p.mu.Lock()
			if i == 0 {
				p.runs = append(p.runs, bubbleNow())
			}
			took, r := p.took, p.says[c.ID]
			p.mu.Unlock()
			if r.Scope == "bug" {
				panic("a bug")
			}
			<-time.After(took)
			return []Result{r}
		}
		checks = append(checks, c)
	}
	log := slog.New(slog.NewJSONHandler(p, nil))
	p.alarms = alarm.New(log)
	p.Background = NewBackground(BackgroundOptions{Clock: clock.System{}, Log: log, Alarms: p.alarms, Checks: checks, Env: func() *Env {
		p.mu.Lock()
		defer p.mu.Unlock()
		c := p.conf
		e := &Env{Clock: clock.System{}, Config: &c}
		if p.named != "" {
			e.Broker = account{BrokerReport: BrokerReport{Node: p.named}}
		}
		return e
	}})
	return p
}

// start runs it in the bubble of a test, which ends it.
func (p *patientNode) start(t *testing.T) {
	p.Changed(&p.conf) // what a broker starts with
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// It looks soon after the start, every hour or so, and soon after a change, but never more often
// than costs a hundredth.
func TestWhenABrokerLooksAtItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.start(t)
		if pass(9 * time.Second); p.count() != 0 {
			t.Error("it looks at once")
		}
		if pass(12 * time.Second); p.count() != 1 {
			t.Errorf("%d runs after the start", p.count())
		}
		if pass(53 * time.Minute); p.count() != 1 {
			t.Errorf("%d runs within the hour", p.count())
		}
		if pass(13 * time.Minute); p.count() != 2 {
			t.Errorf("%d runs after an hour", p.count())
		}
		if pass(24 * time.Hour); p.count() < 2+21 || p.count() > 2+27 {
			t.Errorf("%d runs after a day more", p.count())
		}
		n := p.count()
		p.Changed(&p.conf)
		if pass(900 * time.Millisecond); p.count() != n {
			t.Error("it looks at once after a change")
		}
		if pass(1200 * time.Millisecond); p.count() != n+1 {
			t.Errorf("%d runs after a change", p.count()-n)
		}
		p.mu.Lock()
		p.took = 100 * time.Millisecond // a row, of three
		p.mu.Unlock()
		n = p.count()
		for range 600 {
			p.Changed(&p.conf)
			pass(time.Second)
		}
		if got := p.count() - n; got < 15 || got > 21 { // 300 ms of each 30 s
			t.Errorf("%d runs in ten minutes of changes", got)
		}
	})
}

// A broker that stops ends the run that is under way, and has nothing to say about it.
func TestAStopEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.took = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.Run(ctx)
		}()
		for p.count() == 0 {
			pass(100 * time.Millisecond)
		}
		cancel()
		began := bubbleNow()
		<-done
		if took := bubbleNow().Sub(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if p.Last() != nil || p.logged("hardening") {
			t.Error("a run that was broken off is a verdict")
		}
	})
}

// What changes is in the log, in the gauges and in alarms, which end by themselves.
func TestARowThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		m := metrics.New()
		p.Measure(m)
		if text := scrape(t, m); strings.Contains(text, "redoubt_hardening_score") || strings.Contains(text, "redoubt_hardening_check{") {
			t.Errorf("a score before the first look:\n%s", text)
		}
		p.start(t)
		pass(21 * time.Second)
		if !p.logged(`"event":"hardening_first","score":100`) || len(p.alarms.Active()) != 0 {
			t.Errorf("%v\n%s", p.alarms.Active(), p.text())
		}
		for _, want := range []string{`redoubt_hardening_score 100`, `redoubt_hardening_check{id="P2.2",phase="2",scope="node",severity="high"} 1`, `redoubt_hardening_waivers{state="active"} 0`,
			fmt.Sprintf("redoubt_hardening_last_run_timestamp_seconds %s", promNumber(p.Last().Started.Unix()))} {
			if text := scrape(t, m); !strings.Contains(text, want) {
				t.Errorf("%s is not in\n%s", want, hardeningLines(text))
			}
		}
		p.mu.Lock()
		p.took = 1500 * time.Microsecond
		p.mu.Unlock()
		p.say("P2.2", Fail)
		p.say("P5.8", Unknown)
		p.Changed(&p.conf)
		pass(3 * time.Second)
		for _, want := range []string{
			`"level":"ERROR","msg":"hardening row changed","event":"hardening_row","id":"P2.2-p2.2","severity":"high","scope":"node","from":"pass","to":"fail","why":"seen as fail"`,
			`"level":"WARN","msg":"hardening row changed","event":"hardening_row","id":"P5.8-p5.8","severity":"low","scope":"node","from":"pass","to":"unknown"`,
			`"event":"hardening_score","from":100,"to":47,"cap":79`,
		} {
			if !p.logged(want) {
				t.Errorf("%s is not in\n%s", want, p.text())
			}
		}
		why := map[string]string{}
		for _, a := range p.alarms.Active() {
			why[a.Kind.Name] = a.Why
		}
		if !strings.HasPrefix(why["hardening_failed"], "P2.2-p2.2 (high, node)") || !strings.Contains(why["hardening_score"], "47, and it was 100") ||
			!strings.HasSuffix(why["hardening_score"], "P2.2-p2.2 fail, P5.8-p5.8 unknown") || len(why) != 2 {
			t.Errorf("%v", why)
		}
		if text := scrape(t, m); !strings.Contains(text, `redoubt_hardening_check{id="P2.2",phase="2",scope="node",severity="high"} 0`) || !strings.Contains(text, `redoubt_hardening_check{id="P5.8",phase="5",scope="node",severity="low"} -1`) ||
			!strings.Contains(text, `redoubt_hardening_probe_duration_seconds{id="P2.2"} 0.0015`) {
			t.Errorf("%s", hardeningLines(text))
		}
		p.say("P2.2", Pass)
		p.say("P5.8", NotApplicable)
		p.Changed(&p.conf)
		pass(3 * time.Second)
		if a := p.alarms.Active(); len(a) != 0 || !p.logged(`"from":"fail","to":"pass"`) {
			t.Errorf("%v\n%s", a, p.text())
		}
		if text := scrape(t, m); strings.Contains(text, `redoubt_hardening_check{id="P5.8"`) {
			t.Errorf("what does not apply has a series:\n%s", hardeningLines(text))
		}
	})
}

// A lower score is news for a day; a row of high severity that fails stays an alarm.
func TestALowerScoreIsNewsForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.start(t)
		pass(21 * time.Second)
		p.say("P5.8", Fail)
		p.say("P4.1", Fail)
		p.Changed(&p.conf)
		pass(22 * time.Hour)
		if n := len(p.alarms.Active()); n != 2 {
			t.Errorf("%d alarms: %v", n, p.alarms.Active())
		}
		pass(4 * time.Hour)
		if a := p.alarms.Active(); len(a) != 1 || a[0].Kind != alarm.HardeningFailed {
			t.Errorf("%v", a)
		}
		if n := strings.Count(p.text(), `"alarm":"hardening_failed"`); n != 1 {
			t.Errorf("the same alarm is told %d times", n)
		}
	})
}

// A waiver is in the log from its beginning to its end, and what it was for fails again when it
// ends, without anybody doing anything.
func TestAWaiverEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		m := metrics.New()
		p.Measure(m)
		today := config.DateOf(bubbleNow())
		p.say("P2.2", Fail)
		p.conf.Waivers = []config.Waiver{{ID: "P2.2", Scope: "listeners.a", Reason: "old devices", Owner: "ann", Expires: today.AddDays(16)}}
		p.start(t)
		pass(21 * time.Second)
		state := func() State { return p.Last().Rows[0].State() }
		if state() != Waived || !p.logged(`"msg":"waiver in force","event":"waiver_in_force","id":"P2.2","scope":"listeners.a","owner":"ann","reason":"old devices"`) || len(p.alarms.Active()) != 0 {
			t.Errorf("%s, %v\n%s", state(), p.alarms.Active(), p.text())
		}
		if text := scrape(t, m); !strings.Contains(text, `waivers{state="active"} 1`) || !strings.Contains(text, `id="P2.2",phase="2",scope="node",severity="high"} 1`) {
			t.Errorf("%s", hardeningLines(text))
		}
		pass(4 * 24 * time.Hour)
		if text := scrape(t, m); !strings.Contains(text, `waivers{state="expiring"} 1`) || !strings.Contains(text, `waivers{state="active"} 0`) {
			t.Errorf("%s", hardeningLines(text))
		}
		end := p.conf.Waivers[0].Expires.End()
		pass(end.Sub(bubbleNow()) - time.Second)
		if state() != Waived || p.logged("waiver_expired") {
			t.Errorf("%s before the end", state())
		}
		pass(5 * time.Second)
		if state() != Fail || !p.logged(`"event":"waiver_expired","id":"P2.2"`) || !p.logged(`"from":"waived","to":"fail"`) {
			t.Errorf("%s after the end\n%s", state(), p.text())
		}
		if text := scrape(t, m); !strings.Contains(text, `waivers{state="expired"} 1`) || !strings.Contains(text, `id="P2.2",phase="2",scope="node",severity="high"} 0`) {
			t.Errorf("%s", hardeningLines(text))
		}
		if a := p.alarms.Active(); len(a) == 0 || a[0].Kind != alarm.HardeningFailed {
			t.Errorf("%v", a)
		}
		pass(3 * time.Hour)
		if n := strings.Count(p.text(), "waiver_expired"); n != 1 {
			t.Errorf("its end is told %d times", n)
		}
		w := p.conf.Waivers[0]
		w.Expires = w.Expires.AddDays(30)
		p.change(w, config.Waiver{ID: "P4.1", Scope: "listeners.a", Reason: "a test", Owner: "joe", Expires: w.Expires})
		if !p.logged(`"event":"waiver_changed","id":"P2.2"`) || !p.logged(`"event":"waiver_created","id":"P4.1"`) || strings.Count(p.text(), "waiver_in_force") != 1 {
			t.Errorf("%s", p.text())
		}
		pass(3 * time.Second)
		if state() != Waived {
			t.Errorf("%s", state())
		}
		p.change()
		if strings.Count(p.text(), `"event":"waiver_removed"`) != 2 {
			t.Errorf("%s", p.text())
		}
	})
}

func (p *patientNode) change(ws ...config.Waiver) {
	p.mu.Lock()
	p.conf.Waivers = ws
	c := p.conf
	p.mu.Unlock()
	p.Changed(&c)
}

// A bug in a check costs its row.
func TestABugInACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.mu.Lock()
		p.says["P4.1"] = Result{Scope: "bug"}
		p.mu.Unlock()
		p.start(t)
		pass(21 * time.Second)
		rep := p.Last()
		if rep == nil || rep.Rows[0].State() != Pass || rep.Rows[1].State() != Unknown || rep.Rows[2].State() != Pass || !p.logged(`"event":"hardening_bug","id":"P4.1-p4.1"`) {
			t.Errorf("%+v\n%s", rep, p.text())
		}
	})
}

// What a broker looks at by itself connects to nothing and starts no program.
func TestTheBackgroundOnlyLooks(t *testing.T) {
	b := NewBackground(BackgroundOptions{})
	if len(b.o.Checks) < 30 {
		t.Errorf("%d rows", len(b.o.Checks))
	}
	for _, c := range b.o.Checks {
		if c.Phase == 3 || c.ID == "P4.1" || c.ID == "P4.2" || c.ID == "P4.3" || c.ID == "P4.4" || c.ID == "P5.7" {
			t.Errorf("%s has probes", c.ID)
		}
	}
	h := (&Env{Quiet: true}).host()
	if _, err := h.Unit(t.Context(), "x"); err != errNoProgram {
		t.Error(err)
	}
	if _, err := h.Ruleset(t.Context()); err != errNoProgram {
		t.Error(err)
	}
	// Where a socket says TLS, nobody is asked, and nobody's word is taken for it.
	for _, id := range []string{"P1.4", "P5.1"} {
		m := newAdministered(t)
		m.report.Listeners = []ListenerReport{{"mqtts", "[::]:8883", "mqtts"}}
		if _, row := m.examine(id); id == "P1.4" && !row.Untried() || id == "P5.1" && row.State() != NotApplicable {
			t.Errorf("%s is %s: %+v", id, row.State(), row.Results)
		}
	}
}

// What nobody tried is shown as unknown and never as pass, and is no alarm, no warning and not in
// the score; what else is wrong with the row is.
func TestWhatIsNotTriedIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		m := metrics.New()
		p.Measure(m)
		p.start(t)
		pass(21 * time.Second)
		untried := Result{Scope: "node", State: Unknown, Confidence: Kernel, Summary: "not tried", Untried: true}
		say := func(r Result) {
			p.mu.Lock()
			p.says["P2.2"] = r
			p.mu.Unlock()
			p.Changed(&p.conf)
			pass(3 * time.Second)
		}
		say(untried)
		const series = `redoubt_hardening_check{id="P2.2",phase="2",scope="node",severity="high"} `
		if text := scrape(t, m); !strings.Contains(text, series+"-1\n") || !strings.Contains(text, "redoubt_hardening_score 100\n") {
			t.Errorf("%s", hardeningLines(text))
		}
		if p.logged("hardening_row") || p.logged(`"level":"WARN"`) || len(p.alarms.Active()) != 0 {
			t.Errorf("%v\n%s", p.alarms.Active(), p.text())
		}
		if rep := p.Last(); fmt.Sprint(rep.rowsIn(Unknown), rep.rowsUntried()) != "[] [P2.2]" {
			t.Errorf("unknown %v, untried %v", rep.rowsIn(Unknown), rep.rowsUntried())
		}
		say(Result{Scope: "node", State: Fail, Confidence: Kernel, Summary: "bad"})
		if !p.logged(`"level":"ERROR","msg":"hardening row changed"`) || !p.logged(`"from":"unknown","to":"fail"`) || len(p.alarms.Active()) != 2 {
			t.Errorf("%v\n%s", p.alarms.Active(), p.text())
		}
		say(untried)
		if p.logged(`"level":"WARN","msg":"hardening row changed"`) || !p.logged(`"level":"INFO","msg":"hardening row changed","event":"hardening_row","id":"P2.2-p2.2","severity":"high","scope":"node","from":"fail","to":"unknown"`) || len(p.alarms.Active()) != 0 {
			t.Errorf("%v\n%s", p.alarms.Active(), p.text())
		}
		untried.Untried = false
		say(untried)
		if text := scrape(t, m); strings.Contains(text, "redoubt_hardening_score 100\n") || len(p.alarms.Active()) != 1 {
			t.Errorf("what was tried and not seen is left out: %v\n%s", p.alarms.Active(), hardeningLines(text))
		}
	})
	for rest, want := range map[State]int{Pass: 100, Warn: 75, Unknown: 50, Fail: 50, Waived: 100, NotApplicable: 100} {
		two := []*Check{row("P1.4", Low, 5, Kernel, Result{State: Unknown, Untried: true}, Result{State: rest, Confidence: Kernel}), row("P5.8", Low, 5, Kernel, Result{State: Pass, Confidence: Kernel})}
		rep := run(nil, two...)
		if got := rep.Score().Points; got != want {
			t.Errorf("with %s beside it: score %d, want %d", rest, got, want)
		}
		if s := rep.Rows[0].State(); s == Pass || s == Waived {
			t.Errorf("with %s beside it the row is %s", rest, s)
		}
	}
}

func scrape(t *testing.T, m *metrics.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func hardeningLines(text string) string {
	var out []string
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "redoubt_hardening") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "")
}

// promNumber is how the text format writes a large number.
func promNumber(n int64) string { return strconv.FormatFloat(float64(n), 'g', -1, 64) }

// bubbleNow is the time in the bubble of a test.
func bubbleNow() time.Time { return clock.System{}.Now() }
