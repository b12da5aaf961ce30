package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// say publishes messages m<from> to m<to> at QoS 1, each as soon as the one before is
// answered.
func (k *keptDesk) say(pub seat, topic string, from, to int) {
	k.t.Helper()
	for i := from; i <= to; i++ {
		pub.publish(topic, fmt.Sprint("m", i), 1, uint16(i))
		k.flush()
		pub.expect(fmt.Sprintf("PUBACK #%d", i))
	}
}

// series is m<from> to m<to>.
func series(from, to int) string {
	var b []string
	for i := from; i <= to; i++ {
		b = append(b, fmt.Sprint("m", i))
	}
	return strings.Join(b, " ")
}

// drink acknowledges all that a client is sent until nothing more comes, and answers the
// payloads.
func (k *keptDesk) drink(s seat) string {
	k.t.Helper()
	var b []string
	for k.rest(); ; k.rest() {
		sent := s.take()
		if len(sent) == 0 {
			return strings.Join(b, " ")
		}
		for _, o := range sent {
			switch {
			case o.Kind == session.OutPublish:
				b = append(b, string(o.Frame.Payload()))
				if o.QoS() > 0 {
					s.ack(map[mqtt.QoS]mqtt.Type{1: mqtt.PUBACK, 2: mqtt.PUBREC}[o.QoS()], o.ID)
				}
			case o.Kind == session.OutAck && o.Ack == mqtt.PUBREL:
				s.ack(mqtt.PUBCOMP, o.ID)
			}
			o.Done()
		}
	}
}

// A client that acknowledges slowly has a window of messages under way, a read-ahead in
// memory, and the rest in the log, from where it comes in order, nothing twice.
func TestAWindowThenAReadAheadThenTheLog(t *testing.T) {
	const all = 300
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub", window(5)), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	k.say(pub, "open/a", 1, all)
	if got := sub.got(1); got != series(1, 5) {
		t.Errorf("sent %s with a window of 5", got)
	}
	s := sub.resident()
	if n, _ := s.s.Queued(); n != session.AheadMessages {
		t.Errorf("%d messages are read ahead", n)
	}
	if n := s.log.lag.messages; n != all-5-session.AheadMessages {
		t.Errorf("%d messages are said to be in the log", n)
	}
	if got := k.drink(sub); got != series(1, all) {
		t.Errorf("received %s", got)
	}
	if s.log.lag != (lag{}) || s.s.Needs() != 0 {
		t.Errorf("something is left: %+v", s.log.lag)
	}
	k.say(pub, "open/a", all+1, all+3) // and now it comes at once again
	if got := sub.got(1); got != series(all+1, all+3) {
		t.Errorf("then %s", got)
	}
}

// Who was away gets what came meanwhile, in order, before what comes now; also over a
// crash, however often.
func TestAwayAndBack(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newKeptDesk(t, 2)
		sub, pub := k.join(0, "sub", window(10)), k.join(1, "pub")
		k.hears(sub, "open/#", 1)
		k.say(pub, "open/a", 1, 15)
		if got := sub.words(); !strings.HasPrefix(got, "m1 q1 #1, m2 q1 #2") {
			t.Fatal(got)
		}
		sub.ack(mqtt.PUBACK, 1)
		sub.cut()
		k.say(pub, "open/a", 16, 30)
		k.rest()
		if crash {
			k.crash()
			pub = k.back("pub")
			k.rest()
		}
		sub = k.back("sub", window(10))
		k.rest()
		if got := sub.got(1); got != series(2, 11) { // m11 was sent when m1 was acknowledged
			t.Errorf("crash %v: began with %s", crash, got)
		}
		for _, o := range sub.w().sent[sub.conn] {
			if o.Flags&session.FlagDup == 0 {
				t.Errorf("crash %v: %s was sent before", crash, wordsOf(&o))
			}
		}
		k.say(pub, "open/a", 31, 33)
		if got := k.drink(sub); got != series(2, 33) {
			t.Errorf("crash %v: received %s", crash, got)
		}
	}
}

// Over the limits of a session the newest stay: the others are dropped when it reads, and
// counted, also if it does not take all of what was read.
func TestTheOldestOfABacklogIsDropped(t *testing.T) {
	for _, online := range []bool{false, true} {
		k := newKeptDesk(t, 2, func(s *Settings) { s.Session.MqueueMessages = 100 })
		sub, pub := k.join(0, "sub", window(3)), k.join(1, "pub")
		k.hears(sub, "open/#", 1)
		if !online {
			sub.cut()
		}
		k.say(pub, "open/a", 1, 250)
		want, dropped := series(151, 250), int64(150)
		if online {
			want, dropped = series(1, 3+session.AheadMessages)+" "+want, 150-3-session.AheadMessages
		} else {
			sub = k.back("sub", window(3))
		}
		if got := k.drink(sub); got != want {
			t.Errorf("online %v: received %s", online, got)
		}
		sub.h().countDrops(sub.resident())
		if n := k.metrics.Value(metrics.MessagesDroppedQueueFull); n != dropped {
			t.Errorf("online %v: %d were counted, %d dropped", online, n, dropped)
		}
	}
}

// A message that waited longer than it may is not sent when it is read.
func TestABacklogGetsOld(t *testing.T) {
	k := newKeptDesk(t, 2, func(s *Settings) { s.Session.WaitMax = time.Minute })
	sub, pub := k.join(0, "sub"), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	sub.cut()
	k.say(pub, "open/a", 1, 3)
	k.pass(2 * time.Minute)
	k.say(pub, "open/a", 4, 5)
	sub = k.back("sub")
	if got := k.drink(sub); got != series(4, 5) {
		t.Errorf("received %s", got)
	}
}

// A client that takes nothing costs no reads: what could not be given to it is read again
// when it can.
func TestASlowClientIsNotReadForAgainAndAgain(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub", window(1)), k.join(1, "pub")
	k.hears(sub, "open/#", 1)
	sub.cut()
	big := strings.Repeat("x", 100<<10)
	for i := range uint16(20) {
		pub.publish("open/a", fmt.Sprint(i, " ", big), 1, i+1)
		k.rest()
	}
	sub = k.back("sub", window(1))
	reads := 0
	for range 100 {
		k.turn()
		reads += len(k.reads)
		k.read()
		k.news()
	}
	if reads > 3 {
		t.Errorf("%d reads for a client that acknowledges nothing", reads)
	}
	k.reads = nil
	var got []string
	for _, p := range strings.Split(k.drink(sub), " ") {
		if len(p) < 10 {
			got = append(got, p)
		}
	}
	if len(got) != 20 || got[0] != "0" || got[19] != "19" {
		t.Errorf("received %v", got)
	}
}

// The same when it is the memory of all sessions that is full: it is read again some time
// later.
func TestAFullNodeIsNotReadForAgainAndAgain(t *testing.T) {
	k := newKeptDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	sub.cut()
	k.say(pub, "open/a", 1, 3)
	sub = k.back("sub")
	k.account.Reserve(1<<30 - 10)
	reads := 0
	for range 100 {
		k.turn()
		reads += len(k.reads)
		k.read()
		k.flush()
	}
	if reads > 3 {
		t.Errorf("%d reads for a node that has no room", reads)
	}
	k.account.Release(1<<30 - 10)
	for range 10 {
		k.pass(time.Second)
	}
	if got := k.drink(sub); got != series(1, 3) {
		t.Errorf("received %q", got)
	}
}

// What was read knows only of the subscriptions there were: one that came meanwhile must
// not lose by it.
func TestASubscriptionThatComesWhileTheLogIsRead(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub")
	k.hears(sub, "open/a", 1)
	sub.cut()
	k.say(pub, "open/a", 1, 3)
	sub = k.back("sub")
	k.flush()
	if len(k.reads) != 1 {
		t.Fatalf("%d reads", len(k.reads))
	}
	sub.wish("open/b", 1)
	k.flush()
	sub.expect("SUBACK 01")
	k.say(pub, "open/b", 4, 5)
	if got := k.drink(sub); got != series(1, 5) {
		t.Errorf("received %s", got)
	}
}

// A client that publishes to its own subscription without waiting for SUBACK gets the
// message: it was said after it.
func TestSubscribeAndPublishInOneBreath(t *testing.T) {
	k := newKeptDesk(t, 1)
	c := k.join(0, "c")
	c.wish("open/a", 1)
	c.publish("open/a", "m1", 1, 1)
	k.rest()
	c.expect("SUBACK 01, PUBACK #1, m1 q1 #1")
}
