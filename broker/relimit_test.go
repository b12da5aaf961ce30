package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// relimit changes limits of sessions for those that are there.
func (d *desk) relimit(inflight, messages, awaiting int) {
	set := *d.b.Settings()
	lim := *set.Session
	lim.InflightMax, lim.ReceiveMaximum, lim.MqueueMessages, lim.AwaitingRelMax = inflight, inflight, messages, awaiting
	set.Session = &lim
	d.b.Apply(&set)
	for _, h := range d.homes {
		h.SettingsChanged(d.now)
	}
}

// A larger window and queue are a live session's at once; smaller ones take nothing away
// that is under way or waits, and hold from the next message on.
func TestLimitsChangeForLiveSessions(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Session.InflightMax, s.Session.MqueueMessages = 2, 4 })
	sub, pub := d.sit(0, "sub"), d.sit(0, "pub")
	sub.subscribe("open/#", 1)
	n := 0
	say := func(count int) {
		for range count {
			n++
			pub.publish("open/a", fmt.Sprint("m", n), 1, uint16(n))
			d.turn()
		}
		pub.take()
	}
	say(6)
	sub.expect("m1 q1 #1, m2 q1 #2")
	d.relimit(4, 6, 100) // two more go out, four wait
	sub.expect("m3 q1 #3, m4 q1 #4")
	say(4)
	sub.expect("")
	if q, _ := sub.resident().s.Queued(); q != 6 {
		t.Fatalf("%d wait", q)
	}
	d.relimit(1, 3, 100)
	if q, _ := sub.resident().s.Queued(); q != 6 || sub.resident().s.Inflight() != 4 {
		t.Errorf("%d wait, %d are under way after the limits became less", q, sub.resident().s.Inflight())
	}
	for i := range uint16(3) {
		sub.ack(mqtt.PUBACK, i+1)
		sub.expect("") // the window is full
	}
	sub.ack(mqtt.PUBACK, 4)
	sub.expect("m5 q1 #5")
	say(1) // drops the oldest, as a full queue does
	for i, want := range []string{"m9 q1 #6", "m10 q1 #7", "m11 q1 #8", ""} {
		id := uint16(5 + i)
		sub.ack(mqtt.PUBACK, id)
		sub.expect(want)
	}
	if drops := sub.resident().info().Dropped.QueueFull; drops != 3 {
		t.Errorf("%d were dropped", drops)
	}
}

// A version 5 client may go on with what CONNACK told it, and with QoS 2 messages that it
// has under way; who was told nothing has what there is now, and no connection ends for a
// limit that became less while it does not go beyond.
func TestWhatAClientWasToldStays(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
		d := newDesk(t, 1, func(s *Settings) { s.Session.ReceiveMaximum, s.Session.AwaitingRelMax = 3, 3 })
		c := d.sit(0, "c", func(_ *auth.Principal, p *mqtt.Connect) { p.Version = v })
		c.publish("open/a", "m", 2, 1)
		c.publish("open/a", "m", 2, 2)
		d.relimit(1, 1000, 1)
		c.publish("open/a", "m", 2, 2) // again
		if _, closed := c.closed(); closed {
			t.Errorf("%v: closed for what was under way", v)
		}
		c.publish("open/a", "m", 2, 3)
		if _, closed := c.closed(); closed != (v == mqtt.V311) {
			t.Errorf("%v: closed for the third: %v", v, closed)
		}
		if v == mqtt.V311 {
			continue
		}
		c.publish("open/a", "m", 2, 4)
		if why, closed := c.closed(); !closed || why != mqtt.ReceiveMaximumExceeded {
			t.Errorf("the fourth: %v, %v", why, closed)
		}
	}
}

// Many sessions have new limits in parts, each turn one.
func TestLimitsReachAllSessions(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.SessionsTotal = 100_000 })
	const many = relimitsPerTurn + 100
	for i := range many {
		d.opens(fmt.Sprint("u/", i))
	}
	d.relimit(7, 1000, 100)
	reached := func() (n int) {
		for _, r := range d.homes[0].slots {
			if r.info().Flow.AwaitingRelMax == 100 && r.info().Flow.InflightMax == 7 {
				n++
			}
		}
		return n
	}
	if n := reached(); n != relimitsPerTurn {
		t.Errorf("%d at once", n)
	}
	d.turn()
	if n := reached(); n != many {
		t.Errorf("%d in all", n)
	}
}
