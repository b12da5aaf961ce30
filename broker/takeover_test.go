package broker

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Two that have one client identifier do not throw each other out for ever, whether
// their session outlives its connection or is made anew each time (A057).
func TestTakeoversAreLimited(t *testing.T) {
	for name, clean := range map[string]bool{"resumed": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, func(s *Settings) { s.Takeovers = 3 })
			bystander := d.sit(0, "other")
			conn := uint32(100)
			connect := func() (ConnRef, *mqtt.Error) {
				conn++
				c := ConnRef{conn, 1}
				_, refusal := d.homes[0].Open(d.now, &Arrival{Conn: c, By: principal("bob"), Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", CleanStart: clean, ReceiveMaximum: 10}})
				return c, refusal
			}
			var has ConnRef
			for i := range 4 { // the first is no takeover
				c, refusal := connect()
				if refusal != nil {
					t.Fatalf("connection %d: %v", i, refusal)
				}
				has = c
			}
			for range 10 {
				if _, refusal := connect(); refusal == nil || refusal.Reason != mqtt.ConnectionRateExceeded {
					t.Fatalf("one too many: %v", refusal)
				}
			}
			if _, closed := d.wires[0].closed[has]; closed {
				t.Error("who has the session lost it to one who was refused")
			}
			d.now = d.now.Add(time.Second)
			if _, refusal := connect(); refusal != nil {
				t.Errorf("a second later: %v", refusal)
			}
			if _, refusal := connect(); refusal == nil {
				t.Error("more than one a second")
			}
			if bystander.h().at(bystander.ref) == nil {
				t.Error("the bystander's session has gone")
			}
		})
	}
}
