package harden

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// fakeRate is what the broker with good manners lets a client publish.
var fakeRate = Rate{Messages: 1000, Burst: 40}

// rates are what it says of that. The caller has the lock.
func (f *fake) rates() map[string]Rate {
	out := map[string]Rate{}
	for _, l := range f.listeners {
		if out[l.Name] = fakeRate; slices.Contains(f.flaws, unlimited) {
			out[l.Name] = Rate{}
		}
	}
	return out
}

// slow holds a client that is over the rate, and answers whether it may go on.
func (c *fakeConn) slow(now time.Time) bool {
	if c.f.has(noRate) || c.f.has(rateElsewhere) && c.protocol != "mqtts" {
		return true
	}
	c.spent.SetRate(now, fakeRate.Messages, fakeRate.Burst)
	c.spent.Charge(now, 1)
	wait := c.spent.Wait(now)
	if wait > 0 && c.f.has(overEnds) {
		c.cut(mqtt.MessageRateTooHigh)
		return false
	}
	<-time.After(wait)
	return true
}

// TestRatesAreProbedAtEachListener: by what comes of a flood, and not by what is said.
func TestRatesAreProbedAtEachListener(t *testing.T) {
	for _, row := range []struct {
		name string
		f    flaws
		want State
		says string
	}{
		{"stops reading", nil, Pass, ""},
		{"disconnects", flaws{overEnds}, Pass, ""},
		{"has no limit", flaws{unlimited}, Warn, "limits.publish_rate.messages is 0"},
		{"does not keep it", flaws{noRate}, Fail, "PINGRESP after"},
		{"keeps it at one listener only", flaws{rateElsewhere}, Fail, "PINGRESP after"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			fixture("P4.3", "the rate: "+row.name, row.want)
			f := newFake(t, row.f)
			f.listen("mqtts", "mqtts", "127.0.0.1:0")
			f.listen("wss", "wss", "127.0.0.1:0")
			r := examine(t, f.alone(f.env()), "P4.3").Rows[0]
			said := ""
			for i := range r.Results {
				said += observed(&r.Results[i])
			}
			if r.State() != row.want || !strings.Contains(said, row.says) {
				t.Errorf("%s, want %s %q\n%s", r.State(), row.want, row.says, said)
			}
			if row.name == "keeps it at one listener only" && (len(r.Results) != 2 || r.Results[0].State == r.Results[1].State) {
				t.Errorf("%+v", r.Results)
			}
		})
	}
}
