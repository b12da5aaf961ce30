package broker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/mqtt"
)

// top is who has how much of a measure.
func (d *desk) top(m top.Measure, by top.By) string {
	var list []string
	for _, r := range d.b.Top().Top(d.now, m, by, 100).Rows {
		name := r.Identity
		if by == top.ByNetwork {
			name = r.Network.String()
		}
		list = append(list, fmt.Sprintf("%s %d", name, r.AtLeast))
	}
	return strings.Join(list, ", ")
}

func (d *desk) tops(by top.By, want map[top.Measure]string) {
	d.t.Helper()
	for m, want := range want {
		if got := d.top(m, by); got != want {
			d.t.Errorf("%v by %v: %q, want %q", m, by, got, want)
		}
	}
}

// comesFrom is an address of a client.
func comesFrom(addr string) func(*auth.Principal, *mqtt.Connect) {
	return func(by *auth.Principal, _ *mqtt.Connect) { by.Addr = netip.MustParseAddr(addr) }
}

// Who sends, gets, is denied and is held back is known within seconds, on whichever loop he
// lives, and forgotten within a minute.
func TestTopTalkers(t *testing.T) {
	d := newDesk(t, 2, func(s *Settings) { s.PublishRate = PublishRate{Messages: 100, Burst: time.Second} })
	loud, quiet := d.sit(0, "loud", comesFrom("192.0.2.1")), d.sit(1, "quiet", comesFrom("192.0.2.2"))
	hears := d.sit(1, "hears", comesFrom("198.51.100.9"))
	hears.subscribe("open/x", 0)
	for range 150 {
		loud.publish("open/x", "12345", 0, 0)
	}
	quiet.publish("open/x", "1", 0, 0)
	quiet.publish("closed", "1", 0, 0)
	quiet.ask("closed/#", 0)
	d.turn()
	d.pass(3 * time.Second)
	d.tops(top.ByClient, map[top.Measure]string{
		top.Messages: "loud 150, quiet 2", top.Bytes: "loud 1650, quiet 14", top.Packets: "loud 150, quiet 3, hears 1", top.Out: "hears 151", top.OutBytes: "hears 1657",
		top.Connects: "hears 1, loud 1, quiet 1", top.Denied: "quiet 2", top.Throttled: "loud 50", top.Logins: "",
	})
	d.tops(top.ByUser, map[top.Measure]string{top.Messages: "loud 150, quiet 2"})
	d.tops(top.ByNetwork, map[top.Measure]string{top.Messages: "192.0.2.0/24 152", top.Out: "198.51.100.0/24 151"})
	for _, h := range d.homes {
		if n, next := len(h.work.talks.rows), h.nextTalk(); n != 0 || !next.IsZero() {
			t.Errorf("home %d has %d rows of clients that do nothing, and looks at them at %v", h.id, n, next)
		}
	}
	d.pass(2 * top.Span)
	d.tops(top.ByClient, map[top.Measure]string{top.Messages: "", top.Throttled: ""})
}

// What somebody did before his session ended, or before he came from elsewhere, is his, and
// from where he was.
func TestTopAfterTheEnd(t *testing.T) {
	d := newDesk(t, 1)
	gone := d.sit(0, "gone", comesFrom("192.0.2.1"), func(_ *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 })
	moves := d.sit(0, "moves", comesFrom("203.0.113.1"))
	stays := d.sit(0, "stays", comesFrom("198.51.100.1"))
	for i, s := range []seat{gone, gone, gone, moves, moves, stays} {
		s.publish("open/x", "", 0, uint16(i))
	}
	d.homes[0].Disconnect(d.now, gone.ref, &mqtt.Disconnect{})
	moves = d.sit(0, "moves", comesFrom("10.0.0.1"))
	moves.publish("open/x", "", 0, 0)
	stays.publish("open/x", "", 0, 0)
	d.pass(2 * time.Second)
	d.tops(top.ByClient, map[top.Measure]string{top.Messages: "gone 3, moves 3, stays 2"})
	d.tops(top.ByNetwork, map[top.Measure]string{top.Messages: "192.0.2.0/24 3, 198.51.100.0/24 2, 203.0.113.0/24 2, 10.0.0.0/24 1", top.Connects: "10.0.0.0/24 1, 192.0.2.0/24 1, 198.51.100.0/24 1, 203.0.113.0/24 1"})
}

// Very many clients that do something once take a bounded part of each turn, are all there in the
// end, and leave no memory behind.
func TestTopOfACrowd(t *testing.T) {
	const crowd = 5000
	d := newDesk(t, 1)
	d.wires[0].drop = true
	for i := range crowd {
		s := d.sit(0, fmt.Sprint("c", i), comesFrom("192.0.2.1"))
		s.publish("open/x", "", 0, 0)
	}
	h := d.homes[0]
	h.Turn(d.now)
	d.now = d.now.Add(talkEvery)
	h.Turn(d.now)
	told := d.b.Top().Top(d.now, top.Messages, top.ByNetwork, 1).Total
	if told == 0 || told > talkStep {
		t.Errorf("a turn took %d rows, want at most %d", told, talkStep)
	}
	if next := h.NextTick(); next.After(d.now) {
		t.Errorf("the others wait until %v", next.Sub(d.now))
	}
	d.pass(5 * time.Second)
	if told := d.b.Top().Top(d.now, top.Messages, top.ByNetwork, 1).Total; told != crowd {
		t.Errorf("%d messages, want %d", told, crowd)
	}
	d.pass(talkSeldom)
	if n := cap(h.work.talks.rows); n > talkStep {
		t.Errorf("%d rows are kept of nobody", n)
	}
}
