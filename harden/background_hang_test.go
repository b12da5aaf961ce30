package harden

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/metrics"
)

// hangs has the second row of a node wait as who asks for a file of a server that is gone does: whatever
// its context says.
func (p *patientNode) hangs() (release chan struct{}, begun *int) {
	release, begun = make(chan struct{}), new(int)
	c, was := p.o.Checks[1], p.o.Checks[1].Run
	c.Run = func(ctx context.Context, e *Env) []Result {
		p.mu.Lock()
		*begun++
		p.mu.Unlock()
		e.touch("/mnt/gone/server.key")
		<-release
		return was(ctx, e)
	}
	return release, begun
}

func (p *patientNode) alarmed(kind *alarm.Kind) string {
	for _, a := range p.alarms.Active() {
		if a.Kind == kind {
			return a.Why
		}
	}
	return ""
}

// A look that hangs is an alarm that says where, what was known is known no more, and nothing begins beside it.
func TestALookThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		m := metrics.New()
		p.Measure(m)
		p.start(t)
		pass(21 * time.Second)
		if p.Last() == nil || p.Hangs() != nil {
			t.Fatalf("%+v", p.Hangs())
		}
		seen := p.Last()
		p.mu.Lock()
		release, begun := p.hangs()
		p.mu.Unlock()
		today := config.DateOf(bubbleNow())
		p.conf.Waivers = []config.Waiver{{ID: "P2.2", Scope: "listeners.a", Reason: "r", Owner: "ann", Expires: today}}
		p.Changed(&p.conf)
		if pass(36 * time.Second); p.alarmed(alarm.HardeningHangs) != "" {
			t.Error("an alarm within its time")
		}
		pass(2 * time.Second)
		if why := p.alarmed(alarm.HardeningHangs); !strings.Contains(why, "it hangs at P4.1-p4.1, /mnt/gone/server.key") {
			t.Errorf("%q", why)
		}
		text := scrape(t, m)
		if strings.Contains(text, "redoubt_hardening_score ") || !strings.Contains(text, `id="P2.2",phase="2",scope="node",severity="high"} -1`) || !strings.Contains(text, "last_run_timestamp_seconds "+promNumber(seen.Started.Unix())) {
			t.Errorf("%s", hardeningLines(text))
		}
		for range 50 {
			p.Changed(&p.conf)
			pass(time.Hour)
		}
		p.mu.Lock()
		n := *begun
		p.mu.Unlock()
		if n != 1 || p.Last() != seen || strings.Count(p.text(), `"alarm":"hardening_hangs"`) != 1 {
			t.Errorf("%d looks at once\n%s", n, p.text())
		}
		if !p.logged("waiver_expired") {
			t.Error("a waiver does not end while a look hangs")
		}
		close(release)
		pass(3 * time.Second)
		if p.Hangs() != nil || p.alarmed(alarm.HardeningHangs) != "" || p.Last() == seen || !p.Last().Started.After(seen.Started.Add(40*time.Hour)) {
			t.Errorf("after it: %+v, %v", p.Hangs(), p.alarms.Active())
		}
		if text := scrape(t, m); !strings.Contains(text, "redoubt_hardening_score ") {
			t.Errorf("%s", hardeningLines(text))
		}
	})
}

// A broker stops although a look hangs.
func TestAStopLeavesALookThatHangs(t *testing.T) {
	for _, after := range []time.Duration{25 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			p := newPatient()
			release, _ := p.hangs()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				p.Run(ctx)
			}()
			pass(after)
			cancel()
			began := bubbleNow()
			<-done
			if took := bubbleNow().Sub(began); took > stopWithin {
				t.Errorf("it took %v", took)
			}
			close(release)
		})
	}
}
