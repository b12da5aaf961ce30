package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

func flapping(s *Settings) {
	s.Flapping = Flapping{Connects: 5, Window: time.Minute, Ban: 5 * time.Minute}
}

// A client that connects too often is banned for a while, and then let in again.
func TestFlapping(t *testing.T) {
	d := newDesk(t, 1, flapping)
	who := from("192.0.2.1")
	for range 5 {
		if e := d.knocks("bob", who); e != nil {
			t.Fatal(e)
		}
		d.now = d.now.Add(time.Second)
	}
	for range 3 {
		if e := d.knocks("bob", who); e == nil || e.Reason != mqtt.Banned {
			t.Fatalf("one too many: %v", e)
		}
	}
	if d.metrics.Value(metrics.FlappingDetected) != 1 || d.metrics.Value(metrics.BansRefused.At(len(bans.Names))) != 3 {
		t.Error("it is not counted")
	}
	d.now = d.now.Add(5*time.Minute - time.Second)
	if e := d.knocks("bob", who); e == nil {
		t.Error("it is over too early")
	}
	d.now = d.now.Add(2 * time.Second)
	for i := range 5 {
		if e := d.knocks("bob", who); e != nil {
			t.Fatalf("afterwards, connect %d: %v", i, e)
		}
	}
	if e := d.knocks("bob", who); e == nil {
		t.Error("it is never banned again")
	}
}

// As often as is allowed is allowed for ever, and 0 is any number.
func TestNotFlapping(t *testing.T) {
	d := newDesk(t, 1, flapping)
	for i := range 100 {
		if e := d.knocks("bob", from("192.0.2.1")); e != nil {
			t.Fatalf("connect %d: %v", i, e)
		}
		d.now = d.now.Add(15 * time.Second)
	}
	d = newDesk(t, 1)
	for range 100 {
		if e := d.knocks("bob", from("192.0.2.1")); e != nil {
			t.Fatal(e)
		}
	}
}

// The victim is not banned, refused or disconnected by an attacker who has credentials of
// his own and uses its client identifier, from the same network or from elsewhere, nor by one
// who has its credentials and connects from elsewhere, nor over a socket without an address.
// One without credentials never gets here: see conn (A058).
func TestNobodyIsBannedByOthersFlapping(t *testing.T) {
	for name, attack := range map[string]func(d *desk) *mqtt.Error{
		"own credentials, same network":         func(d *desk) *mqtt.Error { return d.knocks("eve", from("192.0.2.1")) },
		"own credentials, elsewhere":            func(d *desk) *mqtt.Error { return d.knocks("eve", from("198.51.100.1")) },
		"other client of it, same network":      func(d *desk) *mqtt.Error { return d.knocks("victim", named("other"), from("192.0.2.1")) },
		"another user of the name, IPv6":        func(d *desk) *mqtt.Error { return d.knocks("eve", from("2001:db8::1")) },
		"its credentials, its client id, a net": func(d *desk) *mqtt.Error { return d.knocks("victim", named("third"), from("198.51.100.1")) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, flapping)
			victim := d.sit(0, "victim", from("192.0.2.1"))
			banned := false
			for range 20 {
				e := attack(d)
				banned = banned || e != nil && e.Reason == mqtt.Banned
			}
			if !banned {
				t.Fatal("the attacker is never banned; the test proves nothing")
			}
			if _, closed := d.wires[0].closed[victim.conn]; closed {
				t.Error("the victim is disconnected")
			}
			if e := d.knocks("victim", from("192.0.2.1")); e != nil {
				t.Errorf("the victim is refused: %v", e)
			}
		})
	}
	for name, attack := range map[string]func(d *desk) *mqtt.Error{
		"own credentials, same network":          func(d *desk) *mqtt.Error { return d.knocks("eve", from("192.0.2.1")) },
		"its credentials from elsewhere":         func(d *desk) *mqtt.Error { return d.knocks("victim", from("198.51.100.1")) },
		"another client of it, from where it is": func(d *desk) *mqtt.Error { return d.knocks("victim", named("other"), from("192.0.2.1")) },
	} {
		d := newDesk(t, 1, flapping)
		for range 4 { // not banned yet: nothing of it may count against the victim
			if e := attack(d); e != nil {
				t.Fatal(e)
			}
		}
		for range 3 {
			if e := d.knocks("victim", from("192.0.2.1")); e != nil {
				t.Errorf("%s counts against the victim: %v", name, e)
			}
		}
	}
	d := newDesk(t, 1, flapping)
	for range 20 {
		if e := d.knocks("victim"); e != nil {
			t.Fatalf("without an address, connects are counted by names alone: %v", e)
		}
	}
	for range 20 { // who has everything but the network takes the session over, and is banned where he is
		_ = d.knocks("victim", from("198.51.100.1"))
	}
	if e := d.knocks("victim", from("192.0.2.1")); e != nil {
		t.Errorf("the victim is refused where it is: %v", e)
	}
}

// An arrival that had to wait for the log is one connect, and so is a refused one.
func TestAnArrivalCountsOnce(t *testing.T) {
	d := newDesk(t, 1, flapping)
	by := principal("bob")
	from("192.0.2.1")(&by, nil)
	a := &Arrival{Conn: ConnRef{Slot: 9999, Gen: 1}, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, MaximumPacketSize: 5}, By: by}
	for range 20 {
		if _, e := d.homes[0].Open(d.now, a); e == nil || e.Reason != mqtt.PacketTooLarge {
			t.Fatal(e)
		}
	}
	for range 4 {
		if e := d.knocks("bob", from("192.0.2.1")); e != nil {
			t.Fatal(e)
		}
	}
	if e := d.knocks("bob", from("192.0.2.1")); e == nil {
		t.Error("a refused connect is not counted")
	}
}

// The memory is bounded, and comes back.
func TestFlapsAreBounded(t *testing.T) {
	d := newDesk(t, 1, flapping)
	h, set := d.homes[0], &d.b.Settings().Flapping
	f := &h.work.flaps
	for i := range 3 * flapsMax {
		d.now = d.now.Add(time.Microsecond)
		by := auth.Principal{Identity: "bob", ClientID: fmt.Sprint(i)}
		from("192.0.2.1")(&by, nil)
		f.over(d.now, d.b.flapKey(&by), set)
		if f.by.Len() > flapsMax || len(f.order) > flapsMax {
			t.Fatalf("%d clients, %d in order", f.by.Len(), len(f.order))
		}
	}
	for f.sweep(d.now.Sub(f.epoch)) {
	}
	if f.by.Room() != 0 || f.order != nil {
		t.Errorf("%d are left, in room for %d", f.by.Len(), f.by.Room())
	}
}

// Windows that have ended in a ban before they were over make no room for more than there may be.
func TestFlapsAreBoundedBesideThoseThatAreBanned(t *testing.T) {
	set := &Flapping{Connects: 1, Window: time.Hour}
	var f flaps
	now := time.Unix(1_700_000_000, 0)
	for i := range uint64(3 * flapsMax) {
		now = now.Add(time.Microsecond)
		key := (i + 1) * 0x9e3779b97f4a7c15 // spread as those of names are
		f.over(now, key, set)
		if i%3 == 0 && !f.over(now, key, set) {
			t.Fatal("it is not banned; the test proves nothing")
		}
		if f.by.Len() > flapsMax || len(f.order) > flapsMax {
			t.Fatalf("after %d: %d clients, %d in order", i, f.by.Len(), len(f.order))
		}
	}
}

// Against a list of all connects: who is banned has connected that often within a window,
// and who has connected twice as often is banned.
func TestFlapsAgainstAList(t *testing.T) {
	set := &Flapping{Connects: 3, Window: 10 * time.Second}
	var f flaps
	now := time.Unix(1_700_000_000, 0)
	var times []time.Time
	for i := range 2000 {
		now = now.Add(time.Duration(i*i%7) * time.Second)
		times = append(times, now)
		within := 0
		for _, at := range times {
			if now.Sub(at) < set.Window {
				within++
			}
		}
		over := f.over(now, 1, set)
		if over && within <= set.Connects {
			t.Fatalf("connect %d: banned with %d in a window", i, within)
		}
		if !over && within > 2*set.Connects {
			t.Fatalf("connect %d: not banned with %d in a window", i, within)
		}
		if over {
			times = times[:0]
		}
	}
}

// Who is refused because there is no room for anybody, and told to come again, is not
// banned for having come: else whoever brings the node to its limits has its clients banned
// for longer than that lasts (A058).
func TestWhoIsToldToComeAgainIsNotFlapping(t *testing.T) {
	for name, c := range map[string]struct {
		full, over func(d *desk)
		want       mqtt.ReasonCode
	}{
		"short of memory": {func(d *desk) { d.b.Press(load.Strangers, &Short{Of: load.OfMemory, Why: "full"}) }, func(d *desk) { d.b.Press(load.Fine, nil) }, mqtt.ServerBusy},
		"sessions_total":  {func(d *desk) { d.b.Settings().SessionsTotal = 0 }, func(d *desk) { d.b.Settings().SessionsTotal = 100 }, mqtt.QuotaExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, flapping)
			c.full(d)
			for range 20 {
				if e := d.knocks("bob", from("192.0.2.1")); e == nil || e.Reason != c.want {
					t.Fatalf("while there is no room: %v", e)
				}
			}
			c.over(d)
			for i := range 5 {
				if e := d.knocks("bob", from("192.0.2.1")); e != nil {
					t.Fatalf("connect %d afterwards: %v", i, e)
				}
			}
			if e := d.knocks("bob", from("192.0.2.1")); e == nil || e.Reason != mqtt.Banned {
				t.Errorf("one too many: %v", e)
			}
		})
	}
}
