package conn

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// leased proves who has the right password, for a time that the test sets.
type leased struct{ until *atomic.Int64 } // Unix nanoseconds

func (leased) Name() string { return "leased" }
func (l leased) Authenticate(req *auth.Request, done func(auth.Result)) {
	passwords{}.Authenticate(req, func(r auth.Result) {
		if r.Outcome == auth.Allow && req.Username != "zoe" {
			r.Principal.Claims = &auth.Claims{Until: time.Unix(0, l.until.Load())}
		}
		done(r)
	})
}

// Whose credential ends is closed then, in the words of its version, and counted so; its
// will is sent, its session waits, and it has it again when it comes with another.
func TestAnExpiredCredentialClosesTheConnection(t *testing.T) {
	play := func(t *testing.T, r *rig) {
		until := new(atomic.Int64)
		until.Store(r.now().Add(20 * time.Second).UnixNano())
		r.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(leased{until})})
		check := r.bystander()
		watch := r.connect(mqtt.V5, "zoe/watch", patient)
		watch.subscribe("open/will", 0)
		var all []*client
		for _, v := range versions {
			c := r.connect(v, "alice/"+v.String(), patient, func(c *mqtt.Connect) {
				c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte(v.String())}
			})
			if rc := c.subscribe("own/alice/x", 1); rc != 1 {
				t.Fatal(rc)
			}
			all = append(all, c)
		}
		r.pass(18 * time.Second)
		for _, c := range all {
			c.pings()
		}
		r.pass(3 * time.Second)
		wills := map[string]bool{}
		for _, c := range all {
			c.closed(mqtt.NotAuthorized)
			wills[string(watch.message().Payload)] = true
		}
		if len(wills) != len(all) {
			t.Errorf("wills %v", wills)
		}
		r.becomes("closed for it", 3, r.counted(metrics.ConnectionsClosedExpired))
		if _, ack := r.tryConnect(mqtt.V5, "alice/5.0", patient); ack.Reason != mqtt.NotAuthorized {
			t.Errorf("it comes back with what is over: %v", ack.Reason)
		}
		until.Store(r.now().Add(time.Hour).UnixNano())
		other := r.connect(mqtt.V5, "alice/other")
		other.publish("own/alice/x", "meanwhile", 1, 1)
		other.acked(mqtt.PUBACK, 1)
		for _, v := range versions {
			c, ack := r.tryConnect(v, "alice/"+v.String(), patient)
			if ack.Reason != mqtt.Success || ack.SessionPresent != (v != mqtt.V31) {
				t.Errorf("%v: %+v", v, ack)
			}
			c.gets("own/alice/x", "meanwhile")
		}
		check()
	}
	t.Run("portable", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { play(t, newRig(t)) }) })
	t.Run("native", func(t *testing.T) { play(t, newRealRig(t, nil)) })
}
