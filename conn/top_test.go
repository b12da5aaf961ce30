package conn

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/mqtt"
)

// top is who has how much of a measure.
func (r *rig) top(m top.Measure, by top.By) (s string) {
	l := r.broker.Top().Top(r.now(), m, by, 10)
	for _, row := range l.Rows {
		s += fmt.Sprintf("%s/%s at %s: %d of %d; ", row.Identity, row.ClientID, row.Listener, row.AtLeast, l.Total)
	}
	return s
}

// Nobody comes upon the list of those who do most because a stranger uses his name: who has not
// proved who he is is counted by the network he comes from, whatever he calls himself.
func TestTopHasNoNamesOfStrangers(t *testing.T) {
	play(t, func(r *rig) {
		r.connect(mqtt.V5, "alice/phone")
		for range 3 {
			c, ack := r.tryConnect(mqtt.V5, "alice/phone", func(p *mqtt.Connect) { p.Password = []byte("guess") })
			if ack.Reason != mqtt.BadUserNameOrPassword {
				t.Fatalf("a wrong password: %v", ack.Reason)
			}
			c.closed(noPacket)
		}
		c, ack := r.tryConnect(mqtt.V5, "bob/laptop") // who has proved it, and finds no room
		if ack.Reason != mqtt.QuotaExceeded {
			t.Fatalf("one client too many: %v", ack.Reason)
		}
		c.closed(noPacket)
		for _, by := range []top.By{top.ByClient, top.ByUser} {
			want := map[top.By]string{top.ByClient: "bob/laptop at test: 1 of 4; ", top.ByUser: "bob/ at test: 1 of 4; "}[by]
			if got := r.top(top.Logins, by); got != want {
				t.Errorf("logins by %v: %q, want %q", by, got, want)
			}
		}
		if got, want := r.top(top.Logins, top.ByNetwork), "/ at test: 4 of 4; "; got != want {
			t.Errorf("logins by network: %q, want %q", got, want)
		}
	}, func(r *rig) { r.set.SessionsTotal = 1 })
}

// Who comes and goes before there was a CONNECT is counted, and so is every packet of who
// is in.
func TestTopCountsWhatIsNoMessage(t *testing.T) {
	play(t, func(r *rig) {
		c := r.connect(mqtt.V5, "alice/phone")
		for range 2 {
			s := r.dial(mqtt.V5, "nobody")
			r.settle()
			_ = s.nc.Close()
		}
		r.becomes("connections", 1, r.connections)
		for range 5 {
			c.send([]byte{0xc0, 0})
			c.expect(mqtt.PINGRESP)
		}
		r.pass(3e9)
		if got, want := r.top(top.Packets, top.ByClient), "alice/phone at test: 5 of 5; "; got != want {
			t.Errorf("packets: %q, want %q", got, want)
		}
		if got, want := r.top(top.Connects, top.ByClient), "alice/phone at test: 1 of 1; "; got != want {
			t.Errorf("connects: %q, want %q", got, want)
		}
		if got, want := r.top(top.Refused, top.ByNetwork), "/ at test: 2 of 2; "; got != want {
			t.Errorf("refused: %q, want %q", got, want)
		}
	})
}
