package broker

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// hearsBy subscribes with an identifier.
func (k *keptDesk) hearsBy(s seat, id uint32, filter string, q mqtt.QoS) {
	k.t.Helper()
	s.h().Subscribe(k.now, s.ref, &mqtt.Subscribe{PacketID: 1, SubscriptionID: id, Filters: []mqtt.Subscription{{Filter: filter, QoS: q}}})
	k.rest()
	s.words()
}

// ways are how a message comes from the log: as it is applied, and read later.
func ways(t *testing.T, k *keptDesk, user string, s seat, publish func()) map[string]string {
	t.Helper()
	got := make(map[string]string)
	publish()
	k.rest()
	got["at once"] = s.words()
	for s.resident().s.Inflight() > 0 {
		for id := range uint16(50) {
			s.ack(mqtt.PUBACK, id)
		}
	}
	s.cut()
	publish()
	k.rest()
	s = k.back(user)
	k.rest()
	got["later"] = s.words()
	for id := range uint16(50) {
		s.ack(mqtt.PUBACK, id)
	}
	s.cut()
	publish()
	k.rest()
	k.crash()
	s = k.back(user)
	k.rest()
	got["after a crash"] = s.words()
	return got
}

// Overlapping subscriptions make one delivery, at the highest QoS and with all their
// identifiers, also when one of them is of QoS 0; a message of QoS 0 comes by both live.
func TestOverlapsComeOnceFromTheLog(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub")
	k.hearsBy(sub, 3, "open/#", 1)
	k.hearsBy(sub, 5, "open/a", 0)
	k.hearsBy(sub, 7, "open/+", 1)
	k.hearsBy(sub, 9, "open/b", 0)
	id := uint16(0)
	for way, got := range ways(t, k, "sub", sub, func() {
		id++
		k.seat("pub", pub).publish("open/a", "m", 1, id)
	}) {
		if from, ok := strings.CutPrefix(got, "m q1 #"); !ok || from[1:] != " by 3 5 7" {
			t.Errorf("%s: %q", way, got)
		}
	}
	sub, pub = k.back("sub"), k.back("pub")
	k.rest()
	sub.words()
	pub.publish("open/b", "o", 0, 0)
	k.rest()
	sub.expect("o q0 by 3 7 9")
	pub.publish("open/b", "n", 1, 100)
	k.rest()
	if got := sub.words(); !strings.HasPrefix(got, "n q1 #") || !strings.HasSuffix(got, " by 3 7 9") {
		t.Errorf("then %q", got)
	}
}

// seat is the present connection of a user: s, or a new one after a crash.
func (k *keptDesk) seat(user string, s seat) seat {
	if s.d == k.desk {
		return s
	}
	return k.back(user)
}

// No Local and Retain As Published are kept with the subscription.
func TestOptionsOfASubscriptionHoldForTheLog(t *testing.T) {
	k := newKeptDesk(t, 2)
	c, other := k.join(0, "c"), k.join(1, "other")
	k.hears(c, "open/a", 1, func(s *mqtt.Subscription) { s.NoLocal = true })
	k.hears(c, "open/r/#", 1, func(s *mqtt.Subscription) { s.RetainAsPublished = true })
	keep := func(p *mqtt.Publish) { p.Retain = true }
	say := func() {
		me, them := k.seat("c", c), k.seat("other", other)
		if me.resident().s.Online() {
			me.publish("open/a", "mine", 1, 1)
		}
		them.publish("open/a", "theirs", 1, 1)
		them.publish("open/r/x", "kept", 1, 2, keep)
		k.rest()
		them.words()
	}
	say()
	c.expect("PUBACK #1, theirs q1 #1, kept q1 #2 retain")
	c.publish("open/a", "mine", 1, 2)
	k.turn() // on its way when the client goes
	c.cut()
	say()
	k.crash()
	c = k.back("c")
	k.rest()
	c.expect("theirs q1 #1 dup, kept q1 #2 dup retain, theirs q1 #3, kept q1 #4 retain")
}

// The rules are asked when a message is delivered: of a subscription that a deny
// overlaps, and when a right has gone while messages wait in the log (A051, A054).
func TestRulesHoldForTheLog(t *testing.T) {
	const all, deny = "  - {allow: all, topics: [\"open/#\"]}", "  - {deny: subscribe, topics: [\"open/secret\"]}\n  - {allow: all, topics: [\"open/#\"]}"
	for name, way := range map[string]func(k *keptDesk, s seat) seat{
		"online": func(_ *keptDesk, s seat) seat { return s },
		"lagging": func(k *keptDesk, s seat) seat {
			s.cut()
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeptDesk(t, 2)
			k.rules(deny)
			sub, pub := k.join(0, "sub"), k.join(1, "pub")
			k.hears(sub, "open/#", 1)
			sub = way(k, sub)
			pub.publish("open/secret", "s", 1, 1)
			pub.publish("open/a", "m", 1, 2)
			k.rest()
			if !sub.resident().s.Online() {
				sub = k.back("sub")
				k.rest()
			}
			sub.expect("m q1 #1")
		})
	}
	for name, text := range map[string]string{
		"a deny comes":          deny,
		"the subscription goes": "  - {allow: publish, topics: [\"open/#\"]}",
	} {
		for _, crash := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				k := newKeptDesk(t, 2)
				k.rules(all)
				sub, pub := k.join(0, "sub", window(1)), k.join(1, "pub")
				k.hears(sub, "open/secret", 1)
				for i := range uint16(4) {
					pub.publish("open/secret", "s", 1, i+1)
				}
				k.rest()
				sub.expect("s q1 #1")
				sub.cut()
				k.rest()
				if crash {
					k.crash()
				}
				k.rules(text)
				for _, h := range k.homes {
					h.PolicyChanged(k.now)
				}
				k.rest()
				sub = k.back("sub")
				k.rest()
				sub.expect("")
				if r := sub.resident(); r.s.Inflight() != 0 || r.log.lag.first != 0 || r.log.missing {
					t.Errorf("crash %v: %d under way, %+v, missing %v", crash, r.s.Inflight(), r.log.lag, r.log.missing)
				}
			})
		}
	}
}
