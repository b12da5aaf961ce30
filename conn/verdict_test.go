package conn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth"
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
