package harden

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// What no want helps is kept beside those that do, with its words; what one helps is not said twice.
func TestWhatWantsLeave(t *testing.T) {
	e := &Env{Clock: clock.System{}, Config: &config.Config{}}
	c := row("P2.2", High, 8, Kernel)
	c.Fix = "the words of the row"
	run := func(more func(*inquiry)) Result {
		c.Run = func(context.Context, *Env) []Result {
			q := e.inquire("files")
			q.finding("key", "closed", "/k", "/k is open: chmod 0600 /k", Want{Kind: WantMode, Name: "/k", Clear: 0o077, Owner: -1})
			q.see(ReadKernel, "net.core.somaxconn", "4096", "128", Warn)
			q.set("net.core.somaxconn", 4096)
			more(q)
			return []Result{q.result(Kernel, "")}
		}
		return judge(t.Context(), e, c)[0]
	}
	if r := run(func(*inquiry) {}); len(r.Wants) != 2 || len(r.Left) != 0 || r.LeftFix != "" || !strings.HasPrefix(r.Fix, "chmod 0600 /k && printf ") {
		t.Errorf("all of it is wanted: %+v", r)
	}
	r := run(func(q *inquiry) { q.finding("socket", "a socket", "/s", "/s is not a socket") })
	if !slices.Equal(r.Left, []string{"socket: /s is not a socket"}) || r.LeftFix != "the words of the row" {
		t.Errorf("a finding without words: %+v", r)
	}
	r = run(func(q *inquiry) { q.finding("dir", "closed", "/d", "/d is open: chmod 0700 /d") })
	if !slices.Equal(r.Left, []string{"dir: /d is open: chmod 0700 /d"}) || r.LeftFix != "chmod 0700 /d" {
		t.Errorf("one with words: %+v", r)
	}
	r = run(func(q *inquiry) {
		for range 2 * leftMost {
			q.finding("f", "closed", "/f", "open")
		}
	})
	if len(r.Left) != leftMost+1 || !strings.HasPrefix(r.Left[leftMost], "and 8 more") {
		t.Errorf("many: %q", r.Left)
	}
}

// The limits that a program can lower do not push out the words for the one it cannot.
func TestCeilingsLeaveTheRate(t *testing.T) {
	e := &Env{Clock: clock.System{}, Config: &config.Config{}}
	q := e.inquire("node")
	q.see(API, "messages of a client in a second", "a bound", "none", Warn)
	q.fixes = append(q.fixes, "set limits.publish_rate.messages to what a client needs")
	q.ceilings(&Limits{TopicLevels: 128, Inflight: 65535})
	r := q.result(Behavioural, "")
	if len(r.Wants) != 2 || len(r.Left) != 1 || r.LeftFix != "set limits.publish_rate.messages to what a client needs" || !strings.Contains(r.Fix, "limits.topic_levels") || !strings.Contains(r.Fix, "limits.inflight") {
		t.Errorf("%+v", r)
	}
}

// The sockets of listeners can be opened anew. Those of metrics and enrolment cannot.
func TestSocketsOfABacklog(t *testing.T) {
	e := &Env{Clock: clock.System{}, Config: &config.Config{}}
	for key, want := range map[string]WantKind{"listeners.metrics": WantListener, "metrics": WantRestart, "enroll": WantRestart, "": ""} {
		s := &socket{key: key, name: strings.TrimPrefix(key, "listeners."), addr: netip.MustParseAddrPort("127.0.0.1:1"), network: "tcp", inode: 7}
		seen := []Listening{{Inode: 7, Backlog: 128, Counted: true}}
		r := e.judgeBacklog(s, seen, seen)
		got := WantKind("")
		for _, w := range r.Wants {
			if w.Kind != WantSysctl {
				got += w.Kind
			}
		}
		if got != want {
			t.Errorf("%s: %+v", key, r.Wants)
		}
	}
}
