package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// laterDesk is a keptDesk that takes delayed messages.
func laterDesk(t testing.TB, homes int) *keptDesk {
	k := newKeptDesk(t, homes, func(s *Settings) { s.DelayMax = 3600 })
	k.b.delayed.SetMax(roomy)
	return k
}

// waits are the payloads of the delayed messages that the view has.
func (k *keptDesk) waits() string {
	k.t.Helper()
	var list []string
	if err := k.view.Delayed(func(d *view.Delayed) error { list = append(list, string(d.Message.Payload)); return nil }); err != nil {
		k.t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// held are the delayed messages in memory.
func (k *keptDesk) held() int {
	n, _ := k.b.delayed.Held()
	return n
}

// The answer to a delayed message waits for its record, in the order of the publishes; at
// QoS 0 it is in memory only.
func TestADelayedMessageIsAcknowledgedWhenApplied(t *testing.T) {
	k := laterDesk(t, 1)
	pub := k.join(0, "pub")
	from := k.log.next
	pub.publish("$delayed/5/open/a", "m1", 1, 1)
	pub.publish("open/nobody", "m2", 1, 2)
	pub.publish("$delayed/5/open/a", "m3", 2, 3)
	pub.publish("$delayed/5/open/a", "m4", 0, 0)
	pub.publish("$delayed/5/shut", "m5", 1, 4)
	k.turn()
	k.commit()
	k.news()
	pub.expect("")
	k.apply()
	pub.expect("PUBACK #1, PUBACK #2 10, PUBREC #3, PUBACK #4 87")
	if got := fmt.Sprint(k.log.kinds(from)); got != "[Delay Delay QoS2In]" {
		t.Errorf("records %s", got)
	}
	if got := k.waits(); got != "m1 m3" || k.held() != 3 || k.log.batches[len(k.log.batches)-1].first > from {
		t.Errorf("%q wait, %d in memory", got, k.held())
	}
}

// What the log refuses is refused to its publisher, and nothing of it is kept.
func TestADelayedMessageThatTheLogRefuses(t *testing.T) {
	k := laterDesk(t, 1)
	pub, old := k.join(0, "pub"), k.join(0, "old", v311)
	pub.publish("$delayed/5/open/a", "m1", 1, 1)
	pub.publish("$delayed/5/open/a", "m2", 2, 2)
	old.publish("$delayed/5/open/a", "m3", 1, 1)
	k.turn()
	k.log.fail(store.ErrFull, false)
	k.news()
	pub.expect("PUBACK #1 97, PUBREC #2 97")
	old.expect("")
	if _, closed := old.closed(); !closed {
		t.Error("a client of 3.1.1 was not closed")
	}
	k.b.SetFull(true)
	taken := k.log.taken
	pub.publish("$delayed/5/open/a", "m4", 1, 3)
	k.turn()
	pub.expect("PUBACK #3 97")
	k.b.SetFull(false)
	k.b.delayed.SetMax(delay.Limits{Messages: 1, Bytes: 1 << 20, OwnerMessages: 0, OwnerBytes: 1 << 20})
	pub.publish("$delayed/5/open/a", "m5", 2, 4)
	k.turn()
	pub.expect("PUBREC #4 97")
	if k.log.taken > taken+1 || k.held() != 0 { // one: that old has gone
		t.Errorf("%d batches, %d messages in memory", k.log.taken-taken, k.held())
	}
	k.rest()
	k.crash()
	if got := k.waits(); got != "" || k.held() != 0 {
		t.Errorf("%q wait", got)
	}
}

// The power goes at every point of delayed messages on their way: what was acknowledged
// reaches a subscriber exactly once, in order, retained or not, itself or by a share.
func TestADelayedMessageIsPublishedOnceOverACrash(t *testing.T) {
	for name, c := range map[string]struct {
		filter string
		retain bool
	}{"": {"open/#", false}, "retained": {"open/#", true}, "shared": {"$share/g/open/#", false}, "shared, retained": {"$share/g/open/#", true}} {
		t.Run(name, func(t *testing.T) {
			for point := 1; crashesAt(t, point, c.filter, c.retain); point += testkit.Seeds(5, 1) {
			}
		})
	}
}

// crashesAt has the power go after so many steps; false if there are not so many.
func crashesAt(t *testing.T, point int, filter string, retain bool) (crashed bool) {
	k := laterDesk(t, 2)
	defer func() {
		if err := k.view.Close(); err != nil {
			t.Error(err)
		}
	}()
	sub, pub := k.patron(0, "sub"), k.patron(1, "pub")
	sub.arrive()
	pub.arrive()
	sub.subscribe(filter, 2)
	k.rest()
	for sub.handle() {
	}
	for i := range 3 {
		pub.publish(fmt.Sprintf("$delayed/%d/open/a", 5+i/2), fmt.Sprint("m", i+1), 2, retain)
	}
	left, passed := point, false
	crashed = stepwise(k, sub, pub, &left)
	if !crashed {
		passed = true
		k.tick(10 * time.Second)
		crashed = stepwise(k, sub, pub, &left)
	}
	if crashed {
		sub.gone()
		pub.gone()
		k.crash()
		k.b.delayed.SetMax(roomy)
		sub.arrive()
		pub.arrive()
		left = -1
		stepwise(k, sub, pub, &left)
		k.tick(10 * time.Second)
		stepwise(k, sub, pub, &left)
	}
	if got := strings.Join(sub.got, " "); got != "m1 m2 m3" {
		t.Errorf("crash at %d, due %v: received %s", point, passed, got)
	}
	if got := k.waits(); got != "" || k.held() != 0 || len(pub.sending) > 0 {
		t.Errorf("crash at %d: %q wait, %d in memory, %v not settled", point, got, k.held(), pub.sending)
	}
	if !crashed && (point < 30 || k.metrics.Value(metrics.DelayedPublished) != 3) {
		t.Errorf("%d points, %d published", point, k.metrics.Value(metrics.DelayedPublished))
	}
	return crashed
}

// tick lets time go by, and no more.
func (k *keptDesk) tick(d time.Duration) {
	k.now = k.now.Add(d)
	for _, h := range k.homes {
		h.Tick(k.now)
	}
}

// What came due while nobody ran is published at the start, in bounded turns and in order.
func TestADelayedMessageThatIsDueWhileDown(t *testing.T) {
	k := laterDesk(t, 2)
	many := delay.Limits{Messages: 1000, Bytes: 1 << 30, OwnerMessages: 1000, OwnerBytes: 1 << 30}
	k.b.delayed.SetMax(many)
	sub, pub := k.join(0, "sub"), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	want := []string(nil)
	for i := range 2*duePerTurn + 9 {
		pub.publish("$delayed/100/open/a", fmt.Sprint(i), 1, uint16(i+1))
		want = append(want, fmt.Sprint(i))
		if i%30 == 29 { // its Receive Maximum
			k.rest()
		}
	}
	pub.publish("$delayed/5000000/open/a", "never", 1, 9999)
	pub.publish("$delayed/2000/open/a", "later", 1, 9998)
	k.rest()
	bytes := func() int64 { _, b := k.b.delayed.HeldBy("pub"); return b }
	held, size := k.held(), bytes()
	k.now = k.now.Add(1000 * time.Second)
	k.crash()
	if k.held() != held || bytes() != size {
		t.Errorf("%d messages of %d bytes are counted, were %d of %d", k.held(), bytes(), held, size)
	}
	for turns := 1; k.held() > 1 && turns < 9; turns++ {
		k.tick(0)
		if n := k.metrics.Value(metrics.DelayedPublished); n > int64(turns*duePerTurn) {
			t.Fatalf("%d published in %d turns", n, turns)
		}
		k.flush()
	}
	k.rest()
	if got := k.waits(); got != "later" || k.held() != 1 {
		t.Errorf("%q wait, %d in memory", got, k.held())
	}
	sub = k.back("sub")
	if got := strings.Fields(k.drink(sub)); !slices.Equal(got, want) {
		t.Errorf("%d arrived, %q first", len(got), got[:min(3, len(got))])
	}
}

// The expiry of a message counts from when it was published, also over a crash, and its
// sender is who it was: No Local holds for its session.
func TestADelayedMessageIsWhatItWas(t *testing.T) {
	k := laterDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	k.hears(pub, "open/+", 1, func(s *mqtt.Subscription) { s.NoLocal = true })
	pub.publish("$delayed/50/open/a", "short", 1, 1, func(p *mqtt.Publish) { p.HasMessageExpiry, p.MessageExpiry = true, 40 })
	pub.publish("$delayed/50/open/a", "long", 1, 2, func(p *mqtt.Publish) { p.HasMessageExpiry, p.MessageExpiry = true, 60 })
	k.rest()
	k.crash()
	sub, pub = k.back("sub"), k.back("pub")
	k.rest()
	k.pass(55 * time.Second)
	sub.expect("long q1 #1")
	pub.expect("")
	k.pass(time.Hour)
	if k.held() != 0 || k.waits() != "" {
		t.Errorf("%d in memory, %q wait", k.held(), k.waits())
	}
}

// The rules of the moment judge it, also after a crash, and what they refuse ends.
func TestADelayedMessageIsJudgedAfterACrash(t *testing.T) {
	k := laterDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	pub.publish("$delayed/5/open/a", "m1", 1, 1)
	k.rest()
	k.crash()
	k.rules(`  - {allow: subscribe, topics: ["open/#"]}`)
	sub = k.back("sub")
	k.pass(time.Minute)
	sub.expect("")
	if k.held() != 0 || k.waits() != "" {
		t.Errorf("%d in memory, %q wait", k.held(), k.waits())
	}
}

// What a deleted user had waiting ends in the log, whatever the log was doing with it.
func TestADeletedUserHasNothingDelayed(t *testing.T) {
	forget := func(k *keptDesk) { k.homes[0].Revoke(k.now, map[string]bool{"pub": true}) }
	for name, lose := range map[string]func(k *keptDesk){
		"it waits":   func(k *keptDesk) { k.rest(); forget(k) },
		"on its way": func(k *keptDesk) { k.turn(); k.commit(); forget(k) },
		"due":        func(k *keptDesk) { k.rest(); k.b.SetFull(true); k.pass(5 * time.Second); k.b.SetFull(false); forget(k) },
		"the log refuses it": func(k *keptDesk) {
			k.rest()
			forget(k)
			k.tick(0)
			k.turn()
			k.log.fail(store.ErrFull, false)
			k.news()
		},
		"its end is refused": func(k *keptDesk) {
			k.rest()
			k.tick(5 * time.Second)
			k.turn()
			forget(k)
			k.log.fail(store.ErrFull, false)
			k.news()
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := laterDesk(t, 1)
			sub, pub := k.join(0, "sub"), k.join(0, "pub")
			k.hears(sub, "open/#", 1)
			pub.publish("$delayed/5/open/a", "m1", 1, 1)
			lose(k)
			k.rest()
			k.pass(delayedRetry)
			if k.held() != 0 || k.waits() != "" {
				t.Errorf("%d in memory, %q wait", k.held(), k.waits())
			}
			sub.expect("")
			k.crash()
			sub = k.back("sub")
			k.pass(time.Minute)
			sub.expect("")
		})
	}
}

// When it is due and the log has no room it waits longer. Whoever is served live has it
// once, whatever the log refuses.
func TestADueMessageWaitsForRoom(t *testing.T) {
	for _, retain := range []bool{false, true} {
		k := laterDesk(t, 1)
		sub, live, share, pub := k.join(0, "sub"), k.join(0, "live", fleeting), k.join(0, "share", fleeting), k.join(0, "pub")
		k.hears(sub, "open/#", 1)
		k.hears(live, "open/#", 1)
		k.hears(share, "$share/g/open/#", 1)
		pub.publish("$delayed/5/open/a", "m1", 1, 1, func(p *mqtt.Publish) { p.Retain = retain })
		k.rest()
		k.b.SetFull(true)
		k.pass(5 * time.Second)
		k.b.SetFull(false)
		for range 2 {
			k.tick(delayedRetry)
			k.turn()
			k.log.fail(store.ErrFull, false)
			k.news()
		}
		if k.held() != 1 || k.waits() != "m1" {
			t.Errorf("retained %v: %d in memory, %q wait", retain, k.held(), k.waits())
		}
		k.pass(delayedRetry)
		sub.expect("m1 q1 #1")
		live.expect("m1 q1 #1")
		share.expect("m1 q1 #1")
		if k.held() != 0 || k.waits() != "" || k.metrics.Value(metrics.DelayedPublished) != 1 {
			t.Errorf("retained %v: %d in memory, %q wait, %d published", retain, k.held(), k.waits(), k.metrics.Value(metrics.DelayedPublished))
		}
	}
}

// A message that expires while it waits for room ends.
func TestADueMessageDoesNotWaitForEver(t *testing.T) {
	k := laterDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	pub.publish("$delayed/5/open/a", "m1", 1, 1, func(p *mqtt.Publish) { p.HasMessageExpiry, p.MessageExpiry = true, 12 })
	k.rest()
	k.b.SetFull(true)
	k.pass(5 * time.Second)
	if k.held() != 1 {
		t.Errorf("%d in memory", k.held())
	}
	k.pass(delayedRetry)
	sub.expect("")
	if k.held() != 0 || k.waits() != "" {
		t.Errorf("%d in memory, %q wait", k.held(), k.waits())
	}
}

// While the log takes nothing, nothing is published that it must hear of, and the home does
// not ask for turns.
func TestDueMessagesWaitForTheQueueOfTheLog(t *testing.T) {
	k := laterDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	pub.publish("$delayed/5/open/a", "m1", 1, 1)
	pub.publish("$delayed/5/open/a", "m2", 1, 2)
	k.rest()
	k.log.most = 0
	k.tick(5 * time.Second)
	k.turn()
	if next := k.homes[0].nextDelayed(); !next.IsZero() {
		t.Errorf("the home wants to wake at %v", next)
	}
	k.log.most = 1000
	k.rest()
	sub.expect("m1 q1 #1, m2 q1 #2")
}

// Of a log of several nodes each publishes what it took, and one node everything.
func TestADelayedMessageIsOfTheNodeThatTookIt(t *testing.T) {
	k := laterDesk(t, 1)
	list := []*view.Delayed{
		{Seq: 1, Delay: fact.Delay{Node: "n", Due: 1, Message: fact.Message{Topic: []byte("open/a"), QoS: 1}}},
		{Seq: 2, Delay: fact.Delay{Node: "other", Due: 1, Message: fact.Message{Topic: []byte("open/a"), QoS: 1}}},
	}
	k.homes[0].RestoreDelayed(list)
	if k.held() != 2 {
		t.Errorf("one node: %d", k.held())
	}
	k.homes[0].work.delayed.Clear()
	k.b.durable.Everywhere = func(store.Seq, func()) {}
	k.homes[0].RestoreDelayed(list)
	if got := k.homes[0].work.delayed.List(0, 9, nil); len(got) != 1 || got[0].By.seq != 1 {
		t.Errorf("several nodes: %d", len(got))
	}
	if home := k.b.HomeForDelayed(list[0]); home != k.b.HomeOf(session.Key{}) {
		t.Errorf("home %d", home)
	}
}
