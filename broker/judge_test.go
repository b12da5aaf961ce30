package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAClientHearsThatItsSubscriptionHasEnded: where a denial ends the connection of a version
// 5 client, so does a change of the rules that ends one of its subscriptions; where it does
// not, and in version 3, the subscription alone ends. Who keeps his rights keeps all.
func TestAClientHearsThatItsSubscriptionHasEnded(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		for _, disconnect := range []bool{false, true} {
			t.Run(fmt.Sprint(v, " ", disconnect), func(t *testing.T) {
				d := newDesk(t, 1, func(s *Settings) { s.DenyDisconnect = disconnect })
				version := func(_ *auth.Principal, c *mqtt.Connect) { c.Version = v }
				loses, keeps, pub := d.sit(0, "loses", version), d.sit(0, "keeps", version), d.sit(0, "pub")
				loses.subscribe("open/a", 1)
				keeps.subscribe("open/b", 1)
				p, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n  - {allow: subscribe, topics: [\"open/b\"]}\n  - {allow: publish, topics: [\"open/#\"]}\n"))
				if err != nil {
					t.Fatal(err)
				}
				d.b.authz.Swap(p)
				d.homes[0].PolicyChanged(d.now)
				why, closed := d.wires[0].closed[loses.conn]
				if want := disconnect && v == mqtt.V5; closed != want || want && why != mqtt.NotAuthorized {
					t.Errorf("closed %v, %v", closed, why)
				}
				if _, closed := d.wires[0].closed[keeps.conn]; closed {
					t.Error("who may still has been closed")
				}
				pub.publish("open/a", "x", 0, 0)
				pub.publish("open/b", "x", 0, 0)
				if got := loses.payloads(); got != nil {
					t.Errorf("%v came to a subscription that has ended", got)
				}
				if got := keeps.payloads(); len(got) != 1 {
					t.Errorf("%v came to one that has not", got)
				}
			})
		}
	}
}
