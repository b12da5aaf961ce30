package conn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// silent is an authenticator that never answers.
type silent struct{}

func (silent) Name() string                                    { return "silent" }
func (silent) Authenticate(*auth.Request, func(r auth.Result)) {}

// Why a client was not let in is counted by what is true: who shows nothing is not one with
// a wrong password, and who waited for a verdict until the deadline is neither.
func TestWhyNobodyGotInIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		counts := func(what string, wrong, nothing, late int64) {
			t.Helper()
			synctest.Wait()
			got := [3]int64{r.metrics.Value(metrics.AuthnFailureCredentials), r.metrics.Value(metrics.AuthnFailureNoCredentials), r.metrics.Value(metrics.AuthnUnavailableTimeout)}
			if got != [3]int64{wrong, nothing, late} {
				t.Errorf("%s: %v", what, got)
			}
		}
		_, ack := r.tryConnect(mqtt.V5, "alice/1", func(c *mqtt.Connect) { c.Password = []byte("wrong") })
		counts("a wrong password: "+ack.Reason.String(), 1, 0, 0)
		r.tryConnect(mqtt.V5, "alice/1", func(c *mqtt.Connect) { c.HasPassword, c.Password = false, nil })
		counts("a name alone", 1, 1, 0)
		r.tryConnect(mqtt.V311, "/1", func(c *mqtt.Connect) { c.HasPassword, c.HasUsername, c.Password = false, false, nil })
		counts("nothing", 1, 2, 0)
		r.dial(mqtt.V5, "who says nothing")
		time.Sleep(11 * time.Second)
		counts("no CONNECT", 1, 2, 0)
		r.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(silent{})})
		c := r.dial(mqtt.V5, "alice")
		p := mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: "1", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 1}
		c.send(p.Append(nil, mqtt.V5, 0))
		time.Sleep(11 * time.Second)
		counts("no verdict", 1, 2, 1)
	})
}

// asks is an authenticator that lets everybody in and remembers whether each was known.
type asks struct{ known []bool }

func (*asks) Name() string { return "asks" }

func (a *asks) Authenticate(req *auth.Request, done func(auth.Result)) {
	a.known = append(a.known, req.Known)
	done(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: "alice", Username: "alice"}})
}

// An authenticator is told who has proved who he is lately, unless the known have no share.
func TestAnAuthenticatorKnowsTheKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		limits := listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ConnectDeadline: 10 * time.Second, KnownShare: 20}
		r.limits(limits)
		a := &asks{}
		r.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(a)})
		for range 2 {
			r.connectFrom("127.0.0.70", mqtt.V5, "alice/1")
		}
		limits.KnownShare = 0
		r.limits(limits)
		r.connectFrom("127.0.0.70", mqtt.V5, "alice/1")
		if len(a.known) != 3 || a.known[0] || !a.known[1] || a.known[2] {
			t.Errorf("known: %v", a.known)
		}
	})
}
