package broker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
)

// denied is a list of rules that takes open/secret from some users.
func denied(users ...string) string {
	text := ""
	if len(users) > 0 {
		text = fmt.Sprintf("  - {deny: subscribe, users: [%s], topics: [\"open/secret\"]}\n", strings.Join(users, ", "))
	}
	return text + "  - {allow: all, topics: [\"open/#\"]}"
}

// govern changes the rules and has everybody judged.
func (k *keptDesk) govern(rules string) {
	k.t.Helper()
	k.rules(rules)
	for _, h := range k.homes {
		h.PolicyChanged(k.now)
	}
}

const some = "$share/g/open/+"

// A member from which a rule takes a part of the filter is passed over by every strategy, and
// has its part of the rest.
func TestAMemberIsNotGivenWhatItMayNotHave(t *testing.T) {
	for _, strategy := range []router.Strategy{router.RoundRobin, router.Random, router.Sticky, router.HashClientID, router.HashTopic} {
		for _, q := range []mqtt.QoS{1, 2} {
			k := newKeptDesk(t, 2, func(s *Settings) { s.SharedStrategy = strategy })
			k.rules(denied("a", "c"))
			a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
			c := k.join(0, "c", fleeting)
			for _, s := range []seat{a, b, c} {
				k.hears(s, some, q)
			}
			k.sayQ(pub, "open/secret", q, 1, 20)
			once(t, fmt.Sprint(strategy, q), 1, 20, k.drinkAll(b)...)
			if got := k.drinkAll(a, c); len(got[0])+len(got[1]) > 0 {
				t.Errorf("%v, QoS %d: who may not have it has %v", strategy, q, got)
			}
			k.sayQ(pub, "open/other", q, 21, 50)
			got := k.drinkAll(a, b, c)
			once(t, fmt.Sprint(strategy, q), 21, 50, got...)
			if strategy == router.RoundRobin && (len(got[0]) != 10 || len(got[1]) != 10) {
				t.Errorf("QoS %d: parts of %d and %d", q, len(got[0]), len(got[1]))
			}
			if n := k.metrics.Value(metrics.DeliveryDenied); n != 0 {
				t.Errorf("%d counted as denied", n)
			}
			k.idle("at the end")
		}
	}
}

// The rules change while messages are on their way to a member, or wait in what it has read:
// another member has them, each once.
func TestARightGoesWhileAMessageIsOnItsWay(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		for _, when := range []string{"before the log has it", "before it is applied", "read ahead"} {
			what := fmt.Sprintf("QoS %d, %s", q, when)
			k := newKeptDesk(t, 2)
			k.rules(denied())
			a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
			k.hears(a, some, q)
			k.hears(a, "open/own/x", q)
			k.hears(b, some, q)
			if when == "read ahead" { // nothing is sent while there is no room
				a.resident().s.Congest()
			}
			for i := range uint16(8) {
				pub.publish("open/secret", fmt.Sprint("m", i+1), q, i+1)
			}
			k.turn()
			if when != "before the log has it" {
				k.commit()
			}
			if when == "read ahead" {
				k.apply()
			}
			k.govern(denied("a"))
			k.rest()
			pub.publish("open/own/x", "own", q, 100)
			k.rest()
			a.h().Writable(k.now, a.ref)
			got := k.drinkAll(a, b)
			pub.words()
			once(t, what, 1, 8, sortedM(got[1]))
			if !slices.Equal(got[0], []string{"own"}) {
				t.Errorf("%s: a has %v", what, got[0])
			}
			k.pass(11 * time.Second)
			k.idle(what)
			k.govern(denied("b")) // and the other way round
			k.sayQ(pub, "open/secret", q, 201, 204)
			once(t, what, 201, 204, k.drinkAll(a)...)
		}
	}
}

// sortedM has what came in the order of its numbers.
func sortedM(list []string) []string {
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	return list
}

// When nobody may have a message it is dropped and counted as denied, at once or when it is
// handed out.
func TestWhatNoMemberMayHave(t *testing.T) {
	k := newKeptDesk(t, 2)
	k.rules(denied())
	a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
	k.hears(a, some, 1)
	k.hears(b, some, 1)
	a.cut()
	b.cut()
	k.rest()
	count := func() int64 {
		return k.metrics.Value(metrics.DeliveryDenied)
	}
	k.sayQ(pub, "open/secret", 1, 1, 3)
	k.sayQ(pub, "open/other", 1, 4, 5)
	k.govern(denied("a", "b"))
	k.rest()
	a = k.back("a")
	once(t, "what waited", 4, 5, k.drinkAll(a)...)
	if n := count(); n != 3 {
		t.Errorf("%d counted", n)
	}
	k.sayQ(pub, "open/secret", 1, 6, 9)
	k.sayQ(pub, "open/other", 1, 10, 11)
	once(t, "what came", 10, 11, k.drinkAll(a)...)
	if n := count(); n != 7 {
		t.Errorf("%d counted", n)
	}
	k.pass(11 * time.Second)
	k.idle("at the end")
}

// What only a member may have who is away waits for it and holds nobody up, however much goes
// past it, also over a crash and a change of the rules.
func TestWhatOnlyAnAbsentMemberMayHave(t *testing.T) {
	for _, way := range []string{"it comes back", "a crash", "the rules change", "much goes past it"} {
		k := newKeptDesk(t, 2, func(s *Settings) { s.Session.MqueueMessages = 10_000 })
		k.rules(denied("a"))
		k.policy = denied("a")
		a, b, pub := k.join(0, "a", window(20)), k.join(1, "b"), k.join(1, "pub")
		k.hears(a, some, 1)
		k.hears(b, some, 1)
		a.cut()
		b.cut()
		k.rest()
		k.sayQ(pub, "open/secret", 1, 1, 2)
		k.sayQ(pub, "open/other", 1, 3, 6)
		k.sayQ(pub, "open/secret", 1, 7, 7)
		last := 8
		if way == "much goes past it" {
			last = 3 * takenMost
		}
		for i := 8; i <= last; i++ {
			pub.publish("open/other", fmt.Sprint("m", i), 1, uint16(i)) //nolint:gosec // small
			if i%20 == 0 {
				k.rest()
				pub.words()
			}
		}
		k.rest()
		pub.words()
		a = k.back("a", window(20))
		got := k.drinkAll(a)[0]
		if want := last - 3; len(got) != want || slices.Contains(got, "m1") || slices.Contains(got, "m7") {
			t.Fatalf("%s: a has %d, want %d", way, len(got), want)
		}
		if n := k.b.LineBehind().Groups.Messages; n != 3 {
			t.Errorf("%s: %d wait", way, n)
		}
		for _, l := range k.b.lines.all() {
			g, _ := k.view.Group(l.id)
			if n := len(g.Sources[0].Taken); n > takenMost+planMax+grabMax {
				t.Errorf("%s: %d takes are remembered", way, n)
			}
		}
		k.sayQ(pub, "open/other", 1, 30_001, 30_002)
		once(t, way, 30_001, 30_002, k.drinkAll(a)...)
		switch way {
		case "a crash":
			k.crash()
			k.rest()
			b = k.back("b")
		case "the rules change":
			k.govern(denied("b"))
			b = a
		default:
			b = k.back("b")
		}
		k.pass(stuckAgain)
		if got := k.drinkAll(b)[0]; !slices.Equal(got, []string{"m1", "m2", "m7"}) {
			t.Errorf("%s: who may have it has %v", way, got)
		}
		k.pass(11 * time.Second)
		k.idle(way)
	}
}

// The power goes at any step of giving back what a member may not have any more: the other
// has all of it, each message once.
func TestThePowerGoesWhileAMemberGivesBack(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		for steps := range 12 {
			what := fmt.Sprintf("QoS %d, %d steps", q, steps)
			k := newKeptDesk(t, 2)
			k.rules(denied())
			a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
			k.hears(a, some, q)
			k.hears(b, some, q)
			a.resident().s.Congest()
			for i := range uint16(8) {
				pub.publish("open/secret", fmt.Sprint("m", i+1), q, i+1)
			}
			k.flush()
			k.policy = denied("a")
			k.govern(k.policy)
			for i := range steps {
				switch i % 4 {
				case 0:
					k.turn()
				case 1:
					k.log.commit()
				case 2:
					k.apply()
				case 3:
					k.read()
					k.news()
				}
			}
			k.crash()
			for _, h := range k.homes {
				h.PolicyChanged(k.now)
			}
			k.rest()
			a, b = k.back("a"), k.back("b")
			k.rest()
			k.pass(stuckAgain) // only a may have had room at first
			got := k.drinkAll(a, b)
			once(t, what, 1, 8, sortedM(got[1]))
			if len(got[0]) > 0 {
				t.Errorf("%s: a has %v", what, got[0])
			}
			k.pass(11 * time.Second)
			k.idle(what)
		}
	}
}
