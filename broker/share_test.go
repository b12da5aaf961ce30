package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// Every message goes to one member, whichever home it lives on, and plain
// subscriptions beside it get their own copy.
func TestSharedGoesToOneMember(t *testing.T) {
	d := newDesk(t, 2)
	pub := d.sit(0, "pub")
	workers := []seat{d.sit(0, "w0"), d.sit(1, "w1"), d.sit(1, "w2")}
	for i, w := range workers {
		w.subscribe("$share/g/open/+", mqtt.QoS(i))
	}
	workers[0].subscribe("open/x", 0)
	got := make([][]string, 3)
	for i := range 9 {
		pub.publish("open/x", fmt.Sprint(i), 2, uint16(i+1))
		d.turn()
		d.turn()
		for j, w := range workers {
			for _, o := range w.take() {
				if o.Kind == session.OutPublish {
					got[j] = append(got[j], fmt.Sprint(string(o.Frame.Payload()), " at ", o.QoS()))
				}
				o.Done()
			}
		}
	}
	plain := 0
	for _, m := range got[0] {
		if m[2:] == "at 0" {
			plain++
		}
	}
	if plain != 12 || len(got[0]) != 12 || len(got[1]) != 3 || len(got[2]) != 3 {
		t.Fatalf("got %q", got)
	}
	for j := 1; j < 3; j++ { // each at the QoS it was granted [MQTT-4.8.2-3]
		for _, m := range got[j] {
			if m[2:] != fmt.Sprint("at ", j) {
				t.Errorf("member %d got %s", j, m)
			}
		}
	}
}

// What one publisher sends to a group whose members are all busy waits together, 16 messages with one member;
// what comes of another publisher, or for another group, waits with the next one.
func TestSharedWaitsTogether(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Session.InflightMax = 1 })
	p, q, a, b := d.sit(0, "p"), d.sit(0, "q"), d.sit(0, "a"), d.sit(0, "b")
	waiting := func() (both [2]int) {
		for i, w := range []seat{a, b} {
			both[i], _ = w.h().at(w.ref).s.Queued()
		}
		return both
	}
	for _, w := range []seat{a, b} {
		w.subscribe("$share/g/open/+", 1)
	}
	id := uint16(0)
	publish := func(by seat, topic string, n int) {
		for range n {
			id++
			by.publish(topic, "m", 1, id)
			by.take()
		}
	}
	step := func(want [2]int) {
		t.Helper()
		if got := waiting(); got != want {
			t.Fatalf("after %d messages a and b have %v waiting, want %v", id, got, want)
		}
	}
	publish(p, "open/x", 2) // one each, which fills their windows
	step([2]int{0, 0})
	publish(q, "open/x", 1)
	step([2]int{1, 0})
	publish(p, "open/x", 17)
	step([2]int{2, 16})
	publish(q, "open/y", 3)
	step([2]int{2, 19})
	for _, w := range []seat{a, b} {
		w.subscribe("$share/h/open/y", 1)
	}
	publish(p, "open/y", 4) // for g and for h in turns
	if got := waiting(); got[0]+got[1] != 2+19+8 || got[0]-2 < 4 || got[1]-19 < 4 {
		t.Fatalf("a and b have %v waiting", got)
	}
}

// A member whose window is full is passed over; when its connection goes, another
// gets what it has not acknowledged at QoS 1, and nobody what it was sent at QoS 2
// [MQTT-4.8.2-4] [MQTT-4.8.2-5].
func TestSharedMovesWithoutItsMember(t *testing.T) {
	d := newDesk(t, 2, func(s *Settings) { s.Session.InflightMax = 2 })
	pub, a, b := d.sit(0, "pub"), d.sit(0, "a"), d.sit(1, "b")
	a.subscribe("$share/g/open/x", 2)
	pub.publish("open/x", "one", 1, 1)
	pub.publish("open/x", "two", 2, 2)
	pub.publish("open/x", "three", 1, 3) // over a's window
	if got := a.payloads(); !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("a got %q", got)
	}
	b.subscribe("$share/g/open/x", 2)
	pub.publish("open/x", "four", 1, 4)
	d.turn()
	d.turn()
	if got := b.payloads(); !slices.Equal(got, []string{"four"}) {
		t.Fatalf("b, who has room, got %q", got)
	}
	a.h().Gone(d.now, a.ref)
	d.turn()
	d.turn()
	if got := b.payloads(); !slices.Equal(got, []string{"three"}) {
		t.Fatalf("b got %q of a's, with room for one", got)
	}
	b.h().Ack(d.now, b.ref, &mqtt.Ack{Type: mqtt.PUBACK, PacketID: 1})
	if got := b.payloads(); !slices.Equal(got, []string{"one"}) {
		t.Fatalf("b got %q of a's", got)
	}
	r := a.h().at(a.ref)
	if n := r.s.Inflight(); n != 1 {
		t.Errorf("a has %d messages unacknowledged, want the one of QoS 2", n)
	}
}

// With nobody connected the message waits in a session that can; who has
// unsubscribed keeps what it was sent and no more.
func TestSharedWithoutAnybody(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Session.InflightMax = 1 })
	pub, a, b := d.sit(0, "pub"), d.sit(0, "a"), d.sit(0, "b")
	a.subscribe("$share/g/open/x", 1)
	a.h().Gone(d.now, a.ref)
	pub.publish("open/x", "waits", 1, 1)
	if n, _ := a.h().at(a.ref).s.Queued(); n != 1 {
		t.Fatalf("%d messages wait for the only member", n)
	}
	b.subscribe("$share/g/open/x", 1)
	pub.publish("open/x", "b1", 1, 2)
	pub.publish("open/x", "b2", 1, 3) // b's window is full, a is away: b's queue is nearer
	if got := b.payloads(); !slices.Equal(got, []string{"b1"}) {
		t.Fatalf("b got %q", got)
	}
	b.h().Unsubscribe(d.now, b.ref, &mqtt.Unsubscribe{PacketID: 9, Filters: []string{"$share/g/open/x"}})
	b.h().Ack(d.now, b.ref, &mqtt.Ack{Type: mqtt.PUBACK, PacketID: 1})
	if got := b.payloads(); len(got) != 0 {
		t.Errorf("b got %q after it unsubscribed", got)
	}
	if n, _ := a.h().at(a.ref).s.Queued(); n != 2 {
		t.Errorf("%d messages wait for a, want its own and b's", n)
	}
	pub.publish("open/x", "last", 1, 4)
	a.h().evict(d.now, a.h().at(a.ref))
	if groups, members := d.b.groups.Stats(); groups != 0 || members != 0 {
		t.Errorf("%d groups with %d members are left", groups, members)
	}
	if n := d.b.index.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscriptions are left in the index", n)
	}
}

// A member that may not have this one message is passed over: the message is not
// lost to those who may.
func TestSharedPassesADenial(t *testing.T) {
	d := newDesk(t, 1)
	d.rules(`
  - {deny: subscribe, users: [a], topics: ["open/secret"]}
  - {allow: all, topics: ["open/#"]}`)
	pub, a, b := d.sit(0, "pub"), d.sit(0, "a"), d.sit(0, "b")
	a.subscribe("$share/g/open/+", 0)
	b.subscribe("$share/g/open/+", 0)
	for i := range 6 {
		pub.publish("open/secret", fmt.Sprint(i), 0, 0)
	}
	if got := a.payloads(); len(got) != 0 {
		t.Errorf("a got %q (A086)", got)
	}
	if got := b.payloads(); len(got) != 6 {
		t.Errorf("b got %q", got)
	}
}

// A group is entered with the right to what is inside it, and by nobody with a
// deny rule about the group (A085, A086).
func TestSharedNeedsTheRight(t *testing.T) {
	d := newDesk(t, 1)
	d.rules(`
  - {deny: subscribe, topics: ["$share/closed/#"]}
  - {allow: all, topics: ["open/#"]}`)
	a := d.sit(0, "a")
	for filter, want := range map[string]mqtt.ReasonCode{
		"$share/g/open/x": 1, "$share/g/shut/x": mqtt.NotAuthorized, "$share/closed/open/x": mqtt.NotAuthorized,
		"$share//open/x": mqtt.TopicFilterInvalid, "$share/g": mqtt.TopicFilterInvalid, "$share/g+/open/x": mqtt.TopicFilterInvalid,
		"$queue/open/x": mqtt.NotAuthorized, "$exclusive/open/x": mqtt.TopicFilterInvalid,
	} {
		if got := a.ask(filter, 1); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	d.rules("  - {allow: all, topics: [\"shut/#\"]}")
	d.homes[0].PolicyChanged(d.now)
	if groups, _ := d.b.groups.Stats(); groups != 0 {
		t.Error("a member stays in a group after its right is gone")
	}
}

// Whatever the strategy, everything arrives once.
func TestSharedStrategies(t *testing.T) {
	for _, s := range []router.Strategy{router.RoundRobin, router.Random, router.Sticky, router.HashClientID, router.HashTopic} {
		d := newDesk(t, 2, func(set *Settings) { set.SharedStrategy = s })
		pub, a, b := d.sit(0, "pub"), d.sit(0, "a"), d.sit(1, "b")
		a.subscribe("$share/g/open/#", 0)
		b.subscribe("$share/g/open/#", 0)
		for i := range 64 {
			pub.publish(fmt.Sprint("open/", i%16), "x", 0, 0)
		}
		d.turn()
		d.turn()
		na, nb := len(a.payloads()), len(b.payloads())
		one := na == 0 || nb == 0
		if na+nb != 64 || one != (s == router.Sticky || s == router.HashClientID) {
			t.Errorf("strategy %d: %d and %d messages", s, na, nb)
		}
	}
}

func TestExclusiveIsOneAtATime(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Exclusive = true })
	pub, a, b := d.sit(0, "pub"), d.sit(0, "a"), d.sit(0, "b")
	if rc := a.ask("$exclusive/open/x", 1); rc != 1 {
		t.Fatalf("a: %v", rc)
	}
	if rc := b.ask("$exclusive/open/x", 1); rc != mqtt.QuotaExceeded {
		t.Fatalf("b: %v", rc)
	}
	if rc := b.ask("$exclusive/shut/x", 1); rc != mqtt.NotAuthorized {
		t.Fatalf("b, where it may not: %v", rc)
	}
	pub.publish("open/x", "1", 0, 0)
	if got := a.payloads(); len(got) != 1 {
		t.Errorf("a got %q", got)
	}
	if rc := a.ask("$exclusive/open/x", 0); rc != 0 {
		t.Errorf("a again: %v", rc)
	}
	a.h().evict(d.now, a.h().at(a.ref))
	if rc := b.ask("$exclusive/open/x", 1); rc != 1 {
		t.Errorf("b after a has gone: %v", rc)
	}
}

// A message that was on its way to a member on another loop when its connection
// went goes on to one who is connected, and does not wait for it to come back.
func TestSharedOvertakesALeaver(t *testing.T) {
	d := newDesk(t, 2)
	pub, a, b := d.sit(0, "pub"), d.sit(1, "a"), d.sit(0, "b")
	a.subscribe("$share/g/open/x", 1)
	pub.publish("open/x", "one", 1, 1) // in the lane to a
	b.subscribe("$share/g/open/x", 1)
	a.h().Gone(d.now, a.ref)
	d.turn()
	d.turn()
	d.turn()
	if got := b.payloads(); !slices.Equal(got, []string{"one"}) {
		n, _ := a.h().at(a.ref).s.Queued()
		t.Errorf("b got %q, %d messages wait for a", got, n)
	}
}
