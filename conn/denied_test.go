package conn

import (
	"testing"
	"testing/synctest"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A v5 client is told by which reference the operator finds why it was refused: if it asks
// for such texts [MQTT-3.1.2-29], and can take them [MQTT-3.4.2-2] [MQTT-3.5.2-2]
// [MQTT-3.9.2-1].
func TestDenialsHaveAReference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		wants := func(c *mqtt.Connect) { c.RequestProblemInformation = true }
		texts := func(c *client) (out []string) {
			var a mqtt.Ack
			for i, q := range []mqtt.QoS{1, 2} {
				ack := []mqtt.Type{mqtt.PUBACK, mqtt.PUBREC}[i]
				c.publish("own/alice/x", "no", q, uint16(5+i)) //nolint:gosec // small
				p := c.expect(ack)
				if err := mqtt.DecodeAck(p.body, p.h, c.v, mqtt.Limits{}, &a); err != nil || a.Reason != mqtt.NotAuthorized {
					t.Fatal(err, a.Reason)
				}
				out = append(out, a.ReasonString)
			}
			s := mqtt.Subscribe{PacketID: 7, Filters: []mqtt.Subscription{{Filter: "own/bob/#"}, {Filter: "own/alice/#"}}}
			c.send(s.Append(nil, c.v, 0))
			p := c.expect(mqtt.SUBACK)
			var sub mqtt.Suback
			if err := mqtt.DecodeSuback(p.body, p.h, c.v, mqtt.Limits{}, &sub); err != nil || sub.Reasons[0] != 0 || sub.Reasons[1] != mqtt.NotAuthorized {
				t.Fatal(err, sub.Reasons)
			}
			return append(out, sub.ReasonString)
		}
		for _, text := range texts(r.connect(mqtt.V5, "bob/5", wants)) {
			ref, err := audit.ParseRef(text[max(0, len(text)-8):])
			if err != nil {
				t.Fatalf("%q has no reference", text)
			}
			if list := r.server.broker.Log().Recent().List(audit.Wanted{Ref: ref}, 2); len(list) != 1 || list[0].ClientID != "5" || list[0].Rule == "" {
				t.Errorf("%q stands for %+v", text, list)
			}
		}
		for name, c := range map[string]*client{
			"does not want it": r.connect(mqtt.V5, "bob/6", func(c *mqtt.Connect) { c.RequestProblemInformation = false }),
			"cannot take it":   r.connect(mqtt.V5, "bob/7", wants, func(c *mqtt.Connect) { c.MaximumPacketSize = 60 }),
		} {
			for _, text := range texts(c) {
				if text != "" {
					t.Errorf("who %s is told %q", name, text)
				}
			}
		}
	})
}
