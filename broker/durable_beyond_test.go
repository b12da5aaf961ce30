package broker

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// store retained messages as another node would, many in a batch.
func (k *keptDesk) retainMany(n int, name func(i int) string) {
	k.t.Helper()
	var recs []store.Record
	for i := range n {
		m := fact.Message{Topic: []byte(name(i)), Payload: fmt.Append(nil, name(i), "=", 0), QoS: 2, Retain: true}
		recs = append(recs, store.Record{Kind: store.Retain, At: k.now.UnixMilli(), Body: m.Append(nil)})
		if len(recs) == 1000 || i == n-1 {
			if !k.log.Submit(0, recs, func(store.Seq, error) {}) {
				k.t.Fatal("the log took nothing")
			}
			k.rest()
			recs = recs[:0]
		}
	}
}

// A subscriber of everything who is slow gets all of it, each message once, while the
// store has a small part of it in memory, others are served, and messages change.
func TestASlowSubscriberOfEverythingGetsIt(t *testing.T) {
	const memory, value = 64 << 10, 150
	messages := testkit.Seeds(2000, 20_000)
	k := newKeptDeskWith(t, 2, retain.Options{MessagesMax: -1, BytesMax: -1, MemoryMax: memory})
	name := func(i int) string { return fmt.Sprintf("open/%03d/%d/state", i%200, i) }
	k.retainMany(messages, name)
	k.b.retained.Sweep(k.now, 1)
	pub, ping := k.patron(1, "pub"), k.join(0, "ping")
	pub.arrive()
	k.hears(ping, "open/ping", 1)
	sub := k.patron(0, "sub", window(20))
	sub.arrive()
	k.rest()
	last, times := make(map[string]string), make(map[string]int)
	sub.hear = func(topic, payload string, _ bool) {
		last[topic] = payload
		times[topic+payload]++
	}
	sub.subscribe("open/+/+/state", 2)
	truth := make(map[string]string)
	for i := range messages {
		truth[name(i)] = name(i) + "=0"
	}
	most, steps, touched := int64(0), 0, make(map[string]bool)
	for len(last) < messages-50 {
		for n := 0; n < 4 && sub.handle(); n++ {
		}
		k.turn()
		k.commit()
		k.apply()
		if steps%3 == 0 {
			k.read()
			k.news()
		}
		if steps++; steps%100 == 0 { // one that it had, will have, or is having
			topic, payload := name((steps*7919)%messages), fmt.Sprint("v", steps)
			if steps%300 == 0 {
				payload = ""
			}
			touched[topic] = true
			truth[topic] = payload
			pub.publish(topic, payload, 1, true)
			k.rest()
			for pub.handle() {
				k.rest()
			}
			pub.publish("open/ping", "p", 1, false)
			k.rest()
			for pub.handle() {
				k.rest()
			}
			if got := ping.payloads(); len(got) != 1 {
				t.Fatalf("somebody else got %q meanwhile", got)
			}
			for id := range uint16(100) {
				ping.ack(mqtt.PUBACK, id)
			}
		}
		if _, held, _ := k.b.retained.InMemory(); held > most {
			most = held
		}
		if held := k.account.Held(); held > 64<<10 {
			t.Fatalf("sessions hold %d bytes", held)
		}
		if steps > 100*messages {
			t.Fatalf("it does not end: %d of %d", len(last), messages)
		}
	}
	for range 3 {
		k.pass(300 * time.Millisecond)
		for sub.handle() {
			k.rest()
		}
	}
	if limit := int64(memory + 100<<10); most > limit { // a portion, and a batch whose rows are to come
		t.Errorf("%d bytes in memory, the limit is %d", most, memory)
	}
	for topic, is := range truth {
		if last[topic] != is {
			t.Errorf("%s is left with %q, retained is %q", topic, last[topic], is)
		}
	}
	for what, n := range times {
		if n > 1 {
			t.Errorf("%s came %d times", what, n)
		}
	}
	if len(sub.seat.resident().look().replays) > 0 || len(touched) < messages/400 {
		t.Errorf("%d replays are left, %d messages changed", len(sub.seat.resident().look().replays), len(touched))
	}
	sub.gone()
}

// What is on its way to a client when the power goes comes again, however much it is.
func TestLargeRetainedMessagesOnTheirWaySurvive(t *testing.T) {
	k := newKeptDeskWith(t, 1, retain.Options{MessagesMax: -1, BytesMax: -1, MemoryMax: 1})
	pub, sub := k.patron(0, "pub"), k.patron(0, "sub", window(30))
	pub.arrive()
	sub.arrive()
	for i := range 20 {
		pub.publishMore(fmt.Sprint("open/", i), fmt.Sprint("m", i), large, 2, true)
		k.rest()
		for pub.handle() {
			k.rest()
		}
	}
	sub.subscribe("open/#", 2)
	k.rest()
	if n := sub.seat.resident().s.Inflight(); n == 0 || n == 20 {
		t.Errorf("%d are on their way at once", n)
	}
	sub.gone() // it took none of them
	pub.gone()
	k.crash()
	sub.arrive()
	k.rest()
	for sub.handle() {
		k.rest()
	}
	if len(sub.got) != 20 {
		t.Errorf("%d came: %v", len(sub.got), sub.got)
	}
	sub.gone()
}

// Where the limit is reached a message may take the place of one that is only on disk,
// and no other is taken.
func TestTheLimitKnowsWhatIsOnDisk(t *testing.T) {
	k := newKeptDeskWith(t, 1, retain.Options{MessagesMax: 300, BytesMax: -1, MemoryMax: 1})
	k.retainMany(300, func(i int) string { return fmt.Sprint("open/", i) })
	pub := k.join(0, "pub")
	for i, c := range []struct{ topic, want string }{
		{"open/7", "PUBACK #1 10"}, {"open/new", "PUBACK #2 97"}, {"open/8", "PUBACK #3 10"}, {"open/7", "PUBACK #4 10"}, {"open/new", "PUBACK #5 97"},
	} {
		pub.publish(c.topic, "x", 1, uint16(i+1), keepIt) //nolint:gosec // small
		k.rest()
		if got := pub.words(); got != c.want && got != c.want[:len("PUBACK #1")] {
			t.Errorf("%s: %q, want %q", c.topic, got, c.want)
		}
	}
	pub.publish("open/9", "", 1, 10, keepIt) // there is room again
	pub.publish("open/new", "x", 1, 11, keepIt)
	pub.publish("open/newer", "x", 1, 12, keepIt)
	k.rest()
	if got := pub.words(); got != "PUBACK #10, PUBACK #11, PUBACK #12 97" {
		t.Errorf("after one was removed: %q", got)
	}
	if n, _ := k.b.retained.Stats(); n != 300 {
		t.Errorf("%d are retained", n)
	}
}

// What an operator clears is gone on disk as well, and what took the place of it is not.
func TestClearedRetainedMessagesStayAway(t *testing.T) {
	for _, memory := range []int64{1, 64 << 20} {
		k := newKeptDeskWith(t, 1, retain.Options{MessagesMax: -1, BytesMax: -1, MemoryMax: memory})
		k.retainMany(1200, func(i int) string { return fmt.Sprintf("open/%d/%d", i%2, i) })
		live := k.join(0, "live")
		k.hears(live, "open/new", 1)
		if memory > 1 {
			for range 2 {
				if _, err := k.b.retained.Refill(k.now, 10_000); err != nil {
					t.Fatal(err)
				}
			}
		}
		removed := 0
		var cur retain.Cursor
		for done := false; !done; {
			answered := make(chan error)
			go func() { // an operator waits for the log, which is in our hands
				n, over, err := k.b.Retained().Clear(context.Background(), k.now, "open/0/#", &cur, 500)
				removed, done = removed+n, over
				answered <- err
			}()
			for waits := true; waits; {
				select {
				case err := <-answered:
					if waits = false; err != nil {
						t.Fatal(err)
					}
				default:
					k.rest()
					runtime.Gosched()
				}
			}
		}
		if n, _ := k.b.retained.Stats(); n != 600 || removed != 600 {
			t.Errorf("%d removed, %d left", removed, n)
		}
		live.expect("")
		// A record for a message that has been replaced is for nothing.
		old := fact.Message{Topic: []byte("open/1/1"), Retain: true, Only: 1}
		k.log.Submit(0, []store.Record{{Kind: store.Unretain, Body: old.Append(nil)}}, func(store.Seq, error) {})
		k.rest()
		k.crash()
		late := k.join(0, "late")
		late.wish("open/#", 0)
		k.rest()
		if got := late.payloads(); len(got) != 600 {
			t.Errorf("%d after a crash", len(got))
		}
	}
}
