package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
)

// A PUBACK waits for the record of a message that a session must have which outlives
// the process, at each of its steps.
func TestPubackComesWhenApplied(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub", fleeting)
	k.hears(sub, "open/#", 1)
	pub.publish("open/a", "m1", 1, 7)
	k.turn()
	k.commit()
	k.news()
	pub.expect("")
	sub.expect("")
	k.apply()
	pub.expect("PUBACK #7")
	sub.expect("m1 q1 #1")
}

// Answers come in the order of what they answer, whatever it needed: the log, nothing,
// or a refusal.
func TestAnswersKeepTheOrderOfThePublishes(t *testing.T) {
	k := newKeptDesk(t, 2)
	kept, live, pub := k.join(0, "kept"), k.join(0, "live", fleeting), k.join(1, "pub")
	k.hears(kept, "open/kept/#", 2)
	k.hears(live, "open/#", 2)
	pub.publish("open/kept/1", "a", 1, 1)
	pub.publish("open/live", "b", 1, 2)
	pub.publish("open/kept/2", "c", 2, 3)
	pub.publish("open/live", "d", 0, 0)
	pub.publish("shut", "e", 1, 4)
	pub.publish("open/live", "f", 2, 5)
	pub.expect("")
	k.turn()
	k.turn()
	live.expect("a q1 #1, b q1 #2, c q2 #3, d q0, f q2 #4") // what is only in memory waits for no disk
	k.commit()
	k.news()
	pub.expect("")
	k.apply()
	pub.expect("PUBACK #1, PUBACK #2, PUBREC #3, PUBACK #4 87, PUBREC #5")
	k.rest()
	kept.expect("a q1 #1, c q2 #2")
}

// A client may have many publishes under way: each is in the log before the one before
// it is applied, and is answered when it is itself.
func TestPublishesWaitInTheLogTogether(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	for i := range uint16(5) {
		pub.publish("open/a", fmt.Sprint("m", i+1), 1, i+1)
		k.turn()
	}
	for k.log.commit() {
	}
	for i := range 5 {
		pub.expect("")
		if !k.log.show() {
			t.Fatalf("only %d batches", i)
		}
		k.news()
		pub.expect(fmt.Sprintf("PUBACK #%d", i+1))
		sub.expect(fmt.Sprintf("m%d q1 #%d", i+1, i+1))
	}
}

// A retained message reaches subscribers when it is applied, so what its publisher says
// later waits behind it, unrouted, and is routed then.
func TestARetainedMessageBarsTheWay(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, live, pub := k.join(0, "sub"), k.join(0, "live", fleeting), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	k.hears(live, "open/#", 1)
	keep := func(p *mqtt.Publish) { p.Retain = true }
	pub.publish("open/a", "m1", 1, 1)
	pub.publish("open/a", "m2", 1, 2, keep)
	pub.publish("open/a", "m3", 1, 3)
	pub.publish("open/a", "m4", 0, 0)
	if !pub.w().paused[pub.conn] {
		t.Error("a publisher is read on whose messages are not routed")
	}
	k.turn()
	k.turn()
	live.expect("m1 q1 #1")
	k.commit()
	k.apply()
	k.turn()
	k.turn()
	pub.expect("PUBACK #1, PUBACK #2")
	live.expect("m2 q1 #2, m3 q1 #3, m4 q0")
	sub.expect("m1 q1 #1, m2 q1 #2, m4 q0")
	if pub.w().paused[pub.conn] {
		t.Error("the publisher still waits")
	}
	k.rest()
	pub.expect("PUBACK #3")
	sub.expect("m3 q1 #3")
}

// What the log refuses is refused to whoever said it, and to nobody else; the order of
// answers stays.
func TestWhatTheLogRefusesIsRefused(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	for i := range uint16(4) {
		pub.publish("open/a", fmt.Sprint("m", i+1), 1+mqtt.QoS(i%2), i+1)
		k.turn()
	}
	k.log.commit()
	k.log.fail(store.ErrFull, false)
	k.log.fail(store.ErrFull, false)
	k.log.commit()
	k.news()
	pub.expect("")
	k.apply()
	k.news()
	pub.expect("PUBACK #1, PUBREC #2 97, PUBACK #3 97, PUBREC #4")
	k.rest()
	sub.expect("m1 q1 #1, m4 q1 #2")
	pub.publish("open/a", "m5", 2, 2) // a refused identifier is free
	k.rest()
	pub.expect("PUBREC #2")
	sub.expect("m5 q1 #3")
}

// When the log does not know whether the disk has a message, QoS 1 is refused, and QoS 2
// ends the connection: its identifier may be taken after the next start.
func TestWhatMayBeThereIsNotRefused(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		k := newKeptDesk(t, 1)
		sub, pub := k.join(0, "sub"), k.join(0, "pub")
		k.hears(sub, "open/#", 1)
		pub.publish("open/a", "m1", q, 1)
		k.turn()
		k.log.fail(store.ErrFailed, false)
		k.news()
		if _, closed := pub.closed(); closed != (q == 2) {
			t.Errorf("QoS %d: closed: %v", q, closed)
		}
		if q == 1 {
			pub.expect("PUBACK #1 83")
		}
	}
}

// A client of 3.1.1 cannot be told, so its connection ends.
func TestAFailureClosesAClientOfV3(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		k := newKeptDesk(t, 1)
		sub, pub := k.join(0, "sub"), k.join(0, "pub", v311)
		k.hears(sub, "open/#", 1)
		pub.publish("open/a", "m1", q, 1)
		pub.publish("open/a", "m2", q, 2)
		k.turn()
		k.log.fail(store.ErrFull, false)
		k.news()
		if _, closed := pub.closed(); !closed {
			t.Errorf("QoS %d: still connected, sent %q", q, pub.words())
		}
		pub.expect("")
		k.rest()
		pub = k.back("pub", v311)
		pub.publish("open/a", "m1", q, 1)
		k.rest()
		if got := pub.words(); got != fmt.Sprintf("%s #1", map[mqtt.QoS]mqtt.Type{1: mqtt.PUBACK, 2: mqtt.PUBREC}[q]) {
			t.Errorf("QoS %d: the second time %q", q, got)
		}
		sub.expect("m1 q1 #1")
	}
}

// An end of a subscription that the log did not take would be back after a crash: v5 is
// told, and 3.1.1, which has no word for it, is closed.
func TestAnUnsubscribeThatFailedIsNotASuccess(t *testing.T) {
	for _, version := range []mqtt.Version{mqtt.V5, mqtt.V311} {
		k := newKeptDesk(t, 1)
		var how []func(*mqtt.Connect)
		if version == mqtt.V311 {
			how = append(how, v311)
		}
		c := k.join(0, "c", how...)
		k.hears(c, "open/#", 1)
		c.h().Unsubscribe(k.now, c.ref, &mqtt.Unsubscribe{PacketID: 1, Filters: []string{"open/#"}})
		k.turn()
		k.log.fail(store.ErrFull, false)
		k.news()
		_, closed := c.closed()
		if got := c.words(); version == mqtt.V5 && (got != "UNSUBACK 80" || closed) || version != mqtt.V5 && (got != "" || !closed) {
			t.Errorf("version %d: %q, closed %v", version, got, closed)
		}
	}
}

// SUBACK, UNSUBACK and PUBCOMP wait as well; a session that ends with the process waits
// for nothing.
func TestOtherAnswersWaitToo(t *testing.T) {
	k := newKeptDesk(t, 1)
	c, live := k.join(0, "c"), k.join(0, "live", fleeting)
	live.wish("open/a", 1)
	live.expect("SUBACK 01")
	steps := []struct {
		name, want string
		do         func()
	}{
		{"subscribe", "SUBACK 01", func() { c.wish("open/b", 1) }},
		{"the same again", "SUBACK 02", func() { c.wish("open/b", 2) }},
		{"publish for nobody", "PUBREC #5 10", func() { c.publish("open/nobody", "m", 2, 5) }},
		{"release", "PUBCOMP #5", func() { c.ack(mqtt.PUBREL, 5) }},
		{"unsubscribe", "UNSUBACK 00", func() {
			c.h().Unsubscribe(k.now, c.ref, &mqtt.Unsubscribe{PacketID: 1, Filters: []string{"open/b"}})
		}},
	}
	for _, s := range steps {
		s.do()
		k.turn()
		k.commit()
		k.news()
		if got := c.words(); got != "" {
			t.Errorf("%s: %q before it was applied", s.name, got)
		}
		k.apply()
		if got := c.words(); got != s.want {
			t.Errorf("%s: %q, want %q", s.name, got, s.want)
		}
	}
}

// A subscription that the log did not take is not there, and says so; one that it took
// is.
func TestASubscriptionThatFailedIsTakenBack(t *testing.T) {
	k := newKeptDesk(t, 1)
	c, pub := k.join(0, "c"), k.join(0, "pub")
	c.wish("open/#", 1)
	k.turn()
	k.log.fail(store.ErrFull, false)
	k.news()
	c.expect("SUBACK 97")
	k.rest()
	pub.publish("open/a", "m1", 1, 1)
	pub.expect("PUBACK #1 10")
	if n := len(c.resident().log.subs) + c.resident().s.Subscriptions() + len(k.b.filters.uses) + c.h().byFilter.len(); n != 0 {
		t.Errorf("%d traces are left", n)
	}
	k.hears(c, "open/#", 1)
	pub.publish("open/a", "m2", 1, 2)
	k.rest()
	c.expect("m2 q1 #1")
}

// What was published under a claim that the log did not take is refused, and what was
// published under the next one is not, although the home said both in one turn.
func TestARefusedPublishTakesNoneOfTheNextConnectionWithIt(t *testing.T) {
	k := newKeptDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 2)
	pub.cut()
	k.rest()
	pub = k.back("pub")
	k.turn()
	pub.publish("open/a", "m1", 2, 1)
	k.log.fail(store.ErrFull, false)
	k.news()
	if _, closed := pub.closed(); !closed {
		t.Fatal("the connection did not end with its claim")
	}
	pub = k.back("pub")
	pub.publish("open/a", "m2", 2, 2)
	k.rest()
	if got := pub.words(); !strings.HasSuffix(got, "PUBREC #2") {
		t.Errorf("m2 was answered %q", got)
	}
	sub.expect("m2 q2 #1")
}

// A client whose claim of its session the log did not take goes, and finds the session
// as it was when it comes back.
func TestAClaimThatFailedEndsTheConnection(t *testing.T) {
	k := newKeptDesk(t, 1)
	c, pub := k.join(0, "c"), k.join(0, "pub")
	k.hears(c, "open/#", 1)
	c.cut()
	k.rest()
	c = k.back("c")
	k.turn()
	k.log.fail(store.ErrFull, false)
	k.news()
	if why, closed := c.closed(); !closed || why != mqtt.QuotaExceeded {
		t.Fatalf("closed %v, %v", closed, why)
	}
	k.rest()
	pub.publish("open/a", "m1", 1, 1)
	k.rest()
	pub.expect("PUBACK #1")
	k.crash()
	c = k.back("c")
	k.rest()
	c.expect("m1 q1 #1")
}
