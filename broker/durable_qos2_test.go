package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
)

// Nothing of QoS 2 is sent before the log has what must not be forgotten: the PUBLISH
// waits for its entry, and PUBREL for what PUBREC changed.
func TestQoS2WaitsForTheLogAtEachStep(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub", fleeting)
	k.hears(sub, "open/#", 2)
	step := func(what, want string) {
		t.Helper()
		k.turn()
		k.commit()
		k.news()
		if got := sub.words(); got != "" {
			t.Errorf("%s: %q before it was applied", what, got)
		}
		k.apply()
		if got := sub.words(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	pub.publish("open/a", "m1", 2, 1)
	step("the message", "")
	step("the entry", "m1 q2 #1")
	sub.ack(mqtt.PUBREC, 1)
	step("PUBREC", "PUBREL #1")
	sub.ack(mqtt.PUBCOMP, 1)
	if n := sub.resident().s.Inflight(); n != 0 {
		t.Errorf("%d under way", n)
	}
}

// A connection that ends between the steps leaves nothing out and repeats nothing new.
func TestQoS2OverReconnects(t *testing.T) {
	k := newKeptDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub", fleeting)
	k.hears(sub, "open/#", 2)
	again := func() {
		sub.cut()
		sub = k.back("sub")
	}
	pub.publish("open/a", "m1", 2, 1)
	k.flush()
	again() // before its entry is said
	k.rest()
	sub.expect("m1 q2 #1")
	again()
	k.rest()
	sub.expect("m1 q2 #1 dup")
	sub.ack(mqtt.PUBREC, 1)
	again() // before the log has heard of it
	sub.expect("")
	k.rest()
	sub.expect("PUBREL #1")
	again()
	k.rest()
	sub.expect("PUBREL #1")
	sub.ack(mqtt.PUBCOMP, 1)
	again()
	k.rest()
	sub.expect("")
}

// The power goes at every point of three QoS 2 messages on their way from one client to
// another, and both keep their state: each message arrives exactly once, in order.
func TestQoS2IsExactlyOnceOverACrash(t *testing.T) {
	const messages = 3
	for point := 1; ; point += testkit.Seeds(5, 1) {
		k := newKeptDesk(t, 2)
		sub, pub := k.patron(0, "sub"), k.patron(1, "pub")
		sub.arrive()
		pub.arrive()
		sub.subscribe("open/#", 2)
		k.rest()
		for sub.handle() {
		}
		for i := range messages {
			pub.publish("open/a", fmt.Sprint("m", i+1), 2, false)
		}
		left := point
		crashed := stepwise(k, sub, pub, &left)
		if crashed {
			sub.gone()
			pub.gone()
			k.crash()
			sub.arrive()
			pub.arrive()
			left = -1
			stepwise(k, sub, pub, &left)
		}
		if got := strings.Join(sub.got, " "); got != "m1 m2 m3" {
			t.Errorf("crash at %d: received %s", point, got)
		}
		if len(pub.sending) > 0 || len(sub.having) > 0 {
			t.Errorf("crash at %d: %v is not settled, %v not released", point, pub.sending, sub.having)
		}
		if in := k.seatOf("pub").s.AwaitingRel() + k.seatOf("sub").s.Inflight(); in != 0 {
			t.Errorf("crash at %d: %d identifiers are left", point, in)
		}
		if err := k.view.Close(); err != nil {
			t.Error(err)
		}
		if !crashed {
			if point < 30 {
				t.Errorf("only %d points", point)
			}
			return
		}
	}
}

// stepwise does one small thing after the other until nothing is left to do, or left things
// are done.
func stepwise(k *keptDesk, sub, pub *patron, left *int) (stopped bool) {
	quiet := 0
	do := []func() bool{
		func() bool { k.turn(); return false },
		k.log.commit, k.log.show, k.news, k.read, k.news, sub.handle, pub.handle,
	}
	for i := 0; quiet < 2*len(do); i++ {
		if quiet++; do[i%len(do)]() {
			quiet = 0
			if *left--; *left == 0 {
				return true
			}
		}
	}
	return *left == 0
}

// seatOf is the session of a user.
func (k *keptDesk) seatOf(user string) *resident {
	h := k.homes[k.lives[user]]
	for _, r := range h.slots {
		if r != nil && r.by.Identity == user {
			return r
		}
	}
	k.t.Fatalf("%s has no session", user)
	return nil
}

// An identifier that a client released is free when it was told so, and not before: what
// comes under it then is new, also after a crash.
func TestAReleasedIdentifierIsFree(t *testing.T) {
	for name, lose := range map[string]func(k *keptDesk){
		"the log refuses": func(k *keptDesk) { k.log.fail(store.ErrFull, false); k.news() },
		"it waits":        func(*keptDesk) {},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeptDesk(t, 1)
			sub, pub := k.join(0, "sub"), k.join(0, "pub")
			k.hears(sub, "open/#", 1)
			pub.publish("open/a", "m1", 2, 5)
			k.rest()
			pub.expect("PUBREC #5")
			pub.ack(mqtt.PUBREL, 5)
			k.turn()
			lose(k)
			pub.expect("")
			pub.cut()
			pub = k.back("pub")
			pub.ack(mqtt.PUBREL, 5)
			k.turn()
			if got := pub.words(); got != "" {
				k.crash()
				pub = k.back("pub")
				pub.publish("open/a", "m2", 2, 5)
				k.rest()
				sub = k.back("sub")
				if got := k.drink(sub); !strings.HasSuffix(got, "m2") {
					t.Errorf("PUBCOMP was sent; the next message under the identifier is lost: received %q", got)
				}
				return
			}
			k.rest()
			if got := pub.words(); !strings.HasPrefix(got, "PUBCOMP #5") {
				t.Errorf("then %q", got)
			}
		})
	}
}
