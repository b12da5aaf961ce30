package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

func keepIt(p *mqtt.Publish) { p.Retain = true }

// A retained message is one when it is applied: until then nobody finds it, and then
// everybody has it, also after a crash.
func TestARetainedMessageIsOneWhenApplied(t *testing.T) {
	for _, q := range []mqtt.QoS{0, 1, 2} {
		k := newKeptDesk(t, 2)
		live, kept, pub := k.join(0, "live", fleeting), k.join(0, "kept"), k.join(1, "pub")
		k.hears(live, "open/#", 2)
		k.hears(kept, "open/#", 2)
		pub.publish("open/r", "v1", q, 1, keepIt)
		k.turn()
		k.commit()
		k.news()
		k.turn()
		if n, _ := k.b.retained.Stats(); n != 0 {
			t.Errorf("QoS %d: it is retained before it is applied", q)
		}
		live.expect("")
		pub.expect("")
		k.rest()
		if n, _ := k.b.retained.Stats(); n != 1 {
			t.Errorf("QoS %d: it is not retained", q)
		}
		if l, m := live.words(), kept.words(); !strings.HasPrefix(l, fmt.Sprintf("v1 q%d", q)) || !strings.HasPrefix(m, fmt.Sprintf("v1 q%d", q)) {
			t.Errorf("QoS %d: %q live, %q kept", q, l, m)
		}
		k.crash()
		late := k.join(1, "late")
		late.wish("open/r", 0)
		k.rest()
		late.expect("SUBACK 00, v1 q0 retain")
		pub = k.back("pub")
		k.rest()
		pub.words()
		pub.publish("open/r", "", q, 2, keepIt)
		k.rest()
		k.crash()
		if n, _ := k.b.retained.Stats(); n != 0 {
			t.Errorf("QoS %d: it is still retained after it was removed", q)
		}
	}
}

// One who subscribes while retained messages are on their way ends with the newest,
// whatever comes first, on whichever home, with a session that outlives the process or
// without, and at each QoS.
func TestNobodyIsLeftWithAStaleValue(t *testing.T) {
	type setup struct {
		home    int // of the subscriber
		connect func(*mqtt.Connect)
		granted mqtt.QoS
		sent    mqtt.QoS
	}
	var all []setup
	for home := range 2 {
		for _, c := range []func(*mqtt.Connect){fleeting, func(*mqtt.Connect) {}} {
			for _, q := range []mqtt.QoS{0, 1, 2} {
				all = append(all, setup{home, c, q, q}, setup{home, c, 2, q})
			}
		}
	}
	for i, s := range all {
		k := newKeptDesk(t, 2)
		sub, pub := k.join(s.home, "sub", s.connect), k.join(1, "pub")
		step := []func(){func() { k.turn() }, func() { k.commit() }, func() { k.log.show() }, func() { k.news() }}
		acts := slices.Concat([]func(){nil}, step, []func(){nil}, step) // nil: a publish
		for at := range len(acts) + 1 {
			topic := fmt.Sprint("open/r", at) // its own, so that the desk can be used again
			for n := range acts {
				if n == at {
					sub.wish(topic, s.granted)
				}
				switch n {
				case 0:
					pub.publish(topic, "v1", s.sent, uint16(1+2*at), keepIt)
				case 5:
					pub.publish(topic, "v2", s.sent, uint16(2+2*at), keepIt)
				default:
					acts[n]()
				}
			}
			if at == len(acts) {
				sub.wish(topic, s.granted)
			}
			got := k.drink(sub)
			for id := range uint16(40) {
				pub.ack(mqtt.PUBREL, id)
			}
			k.rest()
			pub.words()
			if !strings.HasSuffix(got, "v2") {
				t.Errorf("setup %d %+v, subscribed at %d: received %q", i, s.home, at, got)
			}
		}
	}
}

// One that lags and subscribes while a retained message is on its way gets it, too.
func TestALaggingSubscriberGetsARetainedMessageOnItsWay(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub, other := k.join(0, "sub", window(1)), k.join(1, "pub"), k.join(1, "other")
	k.hears(sub, "open/x", 1)
	for i := range uint16(100) {
		other.publish("open/x", "x", 1, i+1)
		k.flush()
	}
	pub.publish("open/r", "v1", 1, 1, keepIt) // matched before the subscription
	sub.wish("open/r", 1)
	k.homes[0].Turn(k.now) // and applied after it
	k.turn()
	k.commit()
	k.apply()
	got := k.drink(sub)
	if !strings.HasSuffix(got, "v1") || strings.Count(got, "v1") > 2 {
		t.Errorf("received %q", got)
	}
	if n := len(sub.resident().look().replays); n != 0 {
		t.Errorf("%d replays are left", n)
	}
}

// Who has acknowledged as much as a crash may repeat has no room for retained messages until
// the log knows, and gets them then.
func TestReplayGoesOnWhenTheLogKnowsOfAcknowledgements(t *testing.T) {
	k := newKeptDesk(t, 1)
	sub, pub := k.join(0, "sub", window(16)), k.join(0, "pub")
	pub.publish("open/r", "kept", 1, 100, func(p *mqtt.Publish) { p.Retain = true })
	k.hears(sub, "open/a", 1)
	pub.words()
	k.say(pub, "open/a", 1, 16)
	sub.wish("open/r", 1)
	k.rest()
	sub.words()
	for id := range uint16(16) {
		sub.ack(mqtt.PUBACK, id+1)
	}
	k.rest()
	sub.expect("kept q1 #17 retain")
}

// A retained publish comes after a subscription in the log that was matched before it, and
// the power goes before the subscriber has it. It is not left with the older value.
func TestARetainedPublishThatASubscriptionOvertakes(t *testing.T) {
	for _, blocked := range []bool{false, true} { // the log takes nothing at that moment
		k := newKeptDesk(t, 2)
		sub, pub := k.join(1, "sub"), k.join(0, "pub")
		pub.publish("open/r", "v1", 1, 1, keepIt)
		k.rest()
		pub.words()

		pub.publish("open/r", "v2", 1, 2, keepIt)
		if blocked {
			k.log.most = 0
			k.homes[0].Turn(k.now)
			k.log.most = 1000
		}
		sub.wish("open/+", 1)
		k.homes[1].Turn(k.now)
		k.room()
		k.homes[0].Turn(k.now)
		k.commit()
		k.apply()
		pub.expect("PUBACK #2")
		k.crash()
		sub = k.back("sub")
		k.rest()
		if got := k.drink(sub); !strings.HasSuffix(got, "v2") {
			t.Errorf("blocked %v: the subscriber has %q", blocked, got)
		}
	}
}
