package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

const jobs = "$share/g/open/jobs"

// drinkAll acknowledges what several clients are sent, in turns, until nothing more
// comes, and answers what each had.
func (k *keptDesk) drinkAll(seats ...seat) [][]string {
	k.t.Helper()
	got := make([][]string, len(seats))
	for any := true; any; {
		any = false
		for i, s := range seats {
			k.rest()
			for _, o := range s.take() {
				any = true
				switch {
				case o.Kind == session.OutPublish:
					got[i] = append(got[i], string(o.Frame.Payload()))
					if o.QoS() > 0 {
						s.ack(map[mqtt.QoS]mqtt.Type{1: mqtt.PUBACK, 2: mqtt.PUBREC}[o.QoS()], o.ID)
					}
				case o.Kind == session.OutAck && o.Ack == mqtt.PUBREL:
					s.ack(mqtt.PUBCOMP, o.ID)
				}
				o.Done()
			}
		}
		if !any {
			k.pass(300 * time.Millisecond)
			for _, s := range seats {
				any = any || len(s.w().sent[s.conn]) > 0
			}
		}
	}
	return got
}

// sayQ publishes m<from> to m<to> at a QoS, each when the one before is answered.
func (k *keptDesk) sayQ(pub seat, name string, q mqtt.QoS, from, to int) {
	k.t.Helper()
	for i := from; i <= to; i++ {
		pub.publish(name, fmt.Sprint("m", i), q, uint16(i))
		k.rest()
		want := fmt.Sprintf("PUBACK #%d", i)
		if q == 2 {
			want = fmt.Sprintf("PUBREC #%d", i)
		}
		pub.expect(want)
		if q == 2 {
			pub.ack(mqtt.PUBREL, uint16(i))
			k.rest()
			pub.expect(fmt.Sprintf("PUBCOMP #%d", i))
		}
	}
}

// once looks whether all clients together had m<from> to m<to>, each once, and each
// client what it had in order.
func once(t *testing.T, what string, from, to int, got ...[]string) {
	t.Helper()
	var all []string
	for i, list := range got {
		last := 0
		for _, m := range list {
			n := 0
			if _, err := fmt.Sscanf(m, "m%d", &n); err != nil {
				t.Fatal(m)
			}
			if n < last {
				t.Errorf("%s: client %d had %s after m%d", what, i, m, last)
			}
			last = n
		}
		all = append(all, list...)
	}
	var want []string
	if from <= to {
		want = strings.Split(series(from, to), " ")
	}
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("%s: had %d of %d: %v", what, len(all), len(want), got)
	}
}

// idle looks whether a group has nothing left that anybody would still look for.
func (k *keptDesk) idle(what string) {
	k.t.Helper()
	for _, l := range k.b.lines.all() {
		if l.coming.Load() != 0 || l.owed.first != 0 || l.giving != 0 {
			k.t.Errorf("%s: %s has %+v, %d coming, %d giving", what, l.real, l.owed, l.coming.Load(), l.giving)
		}
		if g, ok := k.view.Group(l.id); ok && len(g.Sources) != 1 {
			k.t.Errorf("%s: %s is left with %+v", what, l.real, g.Sources)
		}
	}
	if b := k.b.LineBehind(); b.Oldest != 0 || b.Groups.Messages != 0 {
		k.t.Errorf("%s: %+v", what, b)
	}
}

// With all members away what is published waits for the group: whoever comes first has
// all of it, at both QoS, in order, also over a crash.
func TestAGroupsBacklogIsWhoevers(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		for _, crash := range []bool{false, true} {
			for _, who := range []string{"a", "b", "c"} {
				what := fmt.Sprintf("QoS %d, crash %v, %s", q, crash, who)
				k := newKeptDesk(t, 2)
				a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
				k.hears(a, jobs, q)
				k.hears(b, jobs, q)
				a.cut()
				b.cut()
				k.rest()
				k.sayQ(pub, "open/jobs", q, 1, 150)
				if behind := k.b.LineBehind(); behind.Groups.Messages != 150 || behind.Groups.Sessions != 1 || behind.Holder.ClientID != jobs || behind.Oldest == 0 {
					t.Errorf("%s: %+v", what, behind)
				}
				if crash {
					k.crash()
					k.rest()
					if behind := k.b.LineBehind(); behind.Groups.Messages != 150 {
						t.Errorf("%s: after it %+v", what, behind)
					}
				}
				var s seat
				if who == "c" { // a new member, of a session that ends with its connection
					s = k.join(0, "c", fleeting)
					s.wish(jobs, q)
				} else {
					s = k.back(who, window(7))
				}
				got := k.drinkAll(s)
				once(t, what, 1, 150, got[0])
				k.pass(11 * time.Second)
				k.idle(what)
			}
		}
	}
}

// Members that come share a backlog, by how fast they are.
func TestMembersShareABacklog(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		k := newKeptDesk(t, 2)
		a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
		k.hears(a, jobs, q)
		k.hears(b, jobs, q)
		a.cut()
		b.cut()
		k.rest()
		k.sayQ(pub, "open/jobs", q, 1, 200)
		a, b = k.back("a", window(5)), k.back("b", window(5))
		got := k.drinkAll(a, b)
		once(t, fmt.Sprint("QoS ", q), 1, 200, got...)
		if len(got[0]) < 60 || len(got[1]) < 60 {
			t.Errorf("QoS %d: %d and %d", q, len(got[0]), len(got[1]))
		}
		k.idle("shared")
		a.cut() // and then one of them is enough
		k.rest()
		k.sayQ(pub, "open/jobs", q, 201, 240)
		once(t, "the other", 201, 240, k.drinkAll(b)...)
	}
}

// A member that takes no more does not hold what the other can have, and who is away is
// given nothing.
func TestASlowMemberHoldsNothingUp(t *testing.T) {
	k := newKeptDesk(t, 2)
	slow, fast, away, pub := k.join(0, "slow", window(5)), k.join(1, "fast", window(5)), k.join(0, "away"), k.join(1, "pub")
	for _, s := range []seat{slow, fast, away} {
		k.hears(s, jobs, 1)
	}
	away.cut()
	k.rest()
	for i := range uint16(30) { // in one breath
		pub.publish("open/jobs", fmt.Sprint("m", i+1), 1, i+1)
	}
	got := k.drinkAll(fast)
	once(t, "fast and slow", 1, 30, got[0], strings.Split(slow.got(1), " "))
	if n := len(strings.Split(slow.got(1), " ")); n != 5 {
		t.Errorf("the slow one has %d", n)
	}
	k.idle("at the end")
	away = k.back("away")
	k.rest()
	away.expect("")
	k.pass(11 * time.Second)
	k.idle("later")
}

// Who is killed in the middle keeps what it has not acknowledged and loses the rest to the
// others; at QoS 2 nothing comes twice.
func TestAMemberIsKilledInTheMiddle(t *testing.T) {
	for _, q := range []mqtt.QoS{1, 2} {
		for _, crash := range []bool{false, true} {
			what := fmt.Sprintf("QoS %d, crash %v", q, crash)
			k := newKeptDesk(t, 2)
			a, b, pub := k.join(0, "a", window(4)), k.join(1, "b", window(4)), k.join(1, "pub")
			k.hears(a, jobs, q)
			k.hears(b, jobs, q)
			a.cut()
			b.cut()
			k.rest()
			k.sayQ(pub, "open/jobs", q, 1, 50)
			a = k.back("a", window(4))
			k.rest()
			first := strings.Split(a.got(q), " ")
			if len(first) != 4 {
				t.Fatalf("%s: %v", what, first)
			}
			a.take()
			a.cut()
			k.rest()
			if crash {
				k.crash()
			}
			b = k.back("b", window(4))
			rest := k.drinkAll(b)[0]
			once(t, what, 5, 50, rest)
			a = k.back("a", window(4))
			if got := k.drinkAll(a)[0]; !slices.Equal(got, first) {
				t.Errorf("%s: a is back and has %v, had %v", what, got, first)
			}
			k.pass(11 * time.Second)
			k.idle(what)
		}
	}
}

// When a member's session ends, what it has not acknowledged at QoS 1 and what it has not
// sent goes to another member; QoS 2 that was sent dies with it [MQTT-4.8.2-5].
func TestASessionEndsAndItsGroupHasWhatItHad(t *testing.T) {
	ends := map[string]func(k *keptDesk, a seat){
		"it expires": func(k *keptDesk, a seat) {
			a.cut()
			k.pass(1001 * time.Second)
		},
		"it expires after a crash": func(k *keptDesk, a seat) {
			a.cut()
			k.rest()
			k.crash()
			k.pass(1001 * time.Second)
		},
		"an operator ends it": func(_ *keptDesk, a seat) { a.h().End(a.d.now, a.ref) },
		"clean start": func(k *keptDesk, a seat) {
			a.cut()
			k.arrive("a", cleanSeat)
		},
	}
	for name, end := range ends {
		for _, q := range []mqtt.QoS{1, 2} {
			what := fmt.Sprintf("%s, QoS %d", name, q)
			k := newKeptDesk(t, 2)
			a, b, pub := k.join(0, "a", window(4)), k.join(1, "b", window(4), func(c *mqtt.Connect) { c.SessionExpiry = 3000 }), k.join(1, "pub", func(c *mqtt.Connect) { c.SessionExpiry = 3000 })
			k.hears(a, jobs, q)
			k.hears(b, jobs, q)
			b.cut()
			k.rest()
			k.sayQ(pub, "open/jobs", q, 1, 20)
			sent := strings.Split(a.got(q), " ")
			if len(sent) != 4 {
				t.Fatalf("%s: %v", what, sent)
			}
			a.take()
			end(k, a)
			k.rest()
			b = k.back("b", window(4))
			k.rest()
			from := 1
			if q == 2 {
				from = 5
			}
			got := k.drinkAll(b)[0]
			if len(got) != 21-from {
				t.Errorf("%s: %v", what, got)
			}
			slices.Sort(got)
			if len(slices.Compact(got)) != 21-from {
				t.Errorf("%s: %v", what, got)
			}
			k.pass(11 * time.Second)
			k.idle(what)
		}
	}
}

// Who unsubscribes keeps what it was sent and gives back the rest.
func TestAMemberUnsubscribes(t *testing.T) {
	for _, replace := range []bool{false, true} {
		k := newKeptDesk(t, 2)
		a, b, pub := k.join(0, "a", window(4)), k.join(1, "b"), k.join(1, "pub")
		k.hears(a, jobs, 1)
		k.hears(a, "open/other", 1)
		k.hears(b, jobs, 1)
		b.cut()
		k.rest()
		k.sayQ(pub, "open/jobs", 1, 1, 20)
		if replace {
			a.wish(jobs, 0)
		} else {
			a.h().Unsubscribe(k.now, a.ref, &mqtt.Unsubscribe{PacketID: 9, Filters: []string{jobs}})
		}
		k.rest()
		pub.publish("open/other", "o", 1, 100)
		k.rest()
		b = k.back("b")
		got := k.drinkAll(a, b)
		want := "m1 m2 m3 m4 o"
		if replace { // it is a member still, and has its part at QoS 0
			got[0] = slices.DeleteFunc(got[0], func(m string) bool {
				return m != "o" && len(m) > 2 || m == "m5" || m == "m6" || m == "m7" || m == "m8" || m == "m9"
			})
		} else {
			once(t, "b", 5, 20, got[1])
		}
		if strings.Join(got[0], " ") != want {
			t.Errorf("replaced %v: a had %v, b %v", replace, got[0], got[1])
		}
		k.pass(11 * time.Second)
		k.idle("at the end")
	}
}

// With the last member that outlives the process the queue ends, and what waited is
// counted.
func TestTheLastMemberLeaves(t *testing.T) {
	k := newKeptDesk(t, 2)
	a, pub := k.join(0, "a"), k.join(1, "pub")
	k.hears(a, jobs, 1)
	a.cut()
	k.rest()
	k.sayQ(pub, "open/jobs", 1, 1, 30)
	before := k.metrics.Value(metrics.MessagesDroppedNoSession)
	a = k.back("a", window(5))
	a.h().Unsubscribe(k.now, a.ref, &mqtt.Unsubscribe{PacketID: 9, Filters: []string{jobs}})
	k.rest()
	if n := k.metrics.Value(metrics.MessagesDroppedNoSession) - before; n != 30 {
		t.Errorf("%d were counted", n)
	}
	k.idle("without members")
	a.words()
	k.hears(a, jobs, 1) // and begins anew with the next
	k.sayQ(pub, "open/jobs", 1, 31, 40)
	once(t, "anew", 31, 40, k.drinkAll(a)...)
}

// The queue of a group has the limits of a session's: the oldest go, counted, and what
// waited too long is not sent.
func TestAGroupsQueueHasLimits(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newKeptDesk(t, 2, func(s *Settings) { s.Session.MqueueMessages, s.Session.WaitMax = 100, time.Hour })
		a, pub := k.join(0, "a"), k.join(1, "pub")
		k.hears(a, jobs, 1)
		a.cut()
		k.rest()
		k.sayQ(pub, "open/jobs", 1, 1, 250)
		if crash {
			k.crash()
		}
		a = k.back("a", window(5))
		once(t, "the newest", 151, 250, k.drinkAll(a)...)
		if n := k.metrics.Value(metrics.MessagesDroppedQueueFull); n != 150 {
			t.Errorf("crash %v: %d were counted", crash, n)
		}
		k.idle("full")
	}
	k := newKeptDesk(t, 2, func(s *Settings) { s.Session.WaitMax = time.Minute })
	a, pub := k.join(0, "a"), k.join(1, "pub")
	k.hears(a, jobs, 1)
	a.cut()
	k.rest()
	k.sayQ(pub, "open/jobs", 1, 1, 3)
	k.pass(2 * time.Minute)
	k.sayQ(pub, "open/jobs", 1, 4, 5)
	a = k.back("a")
	once(t, "not too old", 4, 5, k.drinkAll(a)...)
	k.idle("old")
}

// The queue of a group whose members stay away has its limits before anybody reads it: to
// look for what waits must not take the memory that all of a log would.
func TestAGroupsQueueHasLimitsWhileNobodyReads(t *testing.T) {
	k := newKeptDesk(t, 2, func(s *Settings) { s.Session.MqueueMessages = 10 })
	a, pub := k.join(0, "a"), k.join(1, "pub")
	k.hears(a, jobs, 1)
	a.cut()
	k.rest()
	for i := 1; i <= 300; i += 50 {
		k.sayQ(pub, "open/jobs", 1, i, i+49)
		if b := k.b.LineBehind(); b.Groups.Messages > 2*10+grabMax {
			t.Errorf("%d wait after %d", b.Groups.Messages, i+49)
		}
	}
	a = k.back("a", window(5))
	once(t, "the newest", 291, 300, k.drinkAll(a)...)
	if n := k.metrics.Value(metrics.MessagesDroppedQueueFull); n != 290 {
		t.Errorf("%d were counted", n)
	}
	k.idle("full")
}

// Nothing is left of a group whose last member's session ends while something waits.
func TestNothingIsLeftOfAGroup(t *testing.T) {
	k := newKeptDesk(t, 2)
	pub := k.join(1, "pub")
	for i := range 4 { // so that both homes have lines
		filter := fmt.Sprintf("$share/g%d/open/jobs", i)
		a := k.join(0, "a")
		k.hears(a, filter, 1)
		a.cut()
		k.rest()
		k.sayQ(pub, "open/jobs", 1, 1, 1)
		k.pass(24 * time.Hour)
		k.rest()
		if n := len(k.b.lines.all()); n != 0 {
			t.Fatalf("%d lines are left", n)
		}
	}
	for _, h := range k.homes {
		if len(h.queues) != 0 {
			t.Errorf("home %d is left with %d queues", h.id, len(h.queues))
		}
	}
}

// What too many filters want waits for a group as well.
func TestABroadMessageWaitsForAGroup(t *testing.T) {
	k := newKeptDesk(t, 2)
	a, pub := k.join(0, "a"), k.join(1, "pub")
	name := "open/a/b/c/d/x/y"
	k.hears(a, "$share/g/"+name, 1)
	a.cut()
	for i := range 5 {
		m := k.join(0, fmt.Sprint("many", i))
		for j := range 10 {
			n, f := i*10+j+1, "open"
			for b, l := range []string{"/a", "/b", "/c", "/d", "/x", "/y"} {
				if n>>b&1 == 1 {
					l = "/+"
				}
				f += l
			}
			k.hears(m, f, 1)
		}
		m.cut()
	}
	k.rest()
	k.sayQ(pub, name, 1, 1, 20)
	k.crash()
	a = k.back("a", window(3))
	once(t, "broad", 1, 20, k.drinkAll(a)...)
	k.idle("broad")
}

// What is published before the log knows of a member is not given to it: if its
// subscription is refused, nobody would have it.
func TestAMemberTheLogDoesNotKnow(t *testing.T) {
	k := newKeptDesk(t, 2)
	a, b, pub := k.join(0, "a"), k.join(1, "b"), k.join(1, "pub")
	k.hears(a, jobs, 1)
	a.cut()
	k.rest()
	b.wish(jobs, 1)
	pub.publish("open/jobs", "m1", 1, 1)
	b.h().Turn(k.now)
	if !k.log.fail(store.ErrFull, false) { // the subscription, and the message with it
		t.Fatal("nothing was said")
	}
	k.rest()
	b.wish(jobs, 1)
	k.turn()
	pub.publish("open/jobs", "m2", 1, 2)
	k.log.commit() // the subscription
	k.rest()
	c, other := k.join(0, "c"), k.join(0, "other")
	c.wish(jobs, 1) // its record is on its way, and is refused
	other.publish("open/jobs", "m3", 1, 3)
	pub.publish("open/jobs", "m4", 1, 4)
	c.h().Turn(k.now)
	k.log.fail(store.ErrFull, false)
	k.rest()
	got := k.drinkAll(b)[0]
	for _, p := range []seat{pub, other} {
		for _, o := range p.take() {
			if o.Kind == session.OutAck && o.Reason < 0x80 && !slices.Contains(got, fmt.Sprint("m", o.ID)) {
				t.Errorf("m%d was acknowledged, and b had %v", o.ID, got)
			}
		}
	}
	k.idle("at the end")
}

// A log of a broker that had no groups in it: members are those who subscribed, and what
// names them goes to them or to whoever comes instead.
func TestAGroupOfAnOlderLog(t *testing.T) {
	for _, who := range []string{"a", "b"} {
		k := newKeptDesk(t, 2)
		key := k.view.Key()
		old := func(recs ...store.Record) {
			if !k.log.Submit(0, recs, func(store.Seq, error) {}) {
				t.Fatal("nothing is taken")
			}
			k.commit()
			k.apply()
		}
		ids := make(map[string]fact.FilterID)
		for i, user := range []string{"a", "b"} {
			by := principal(user)
			place, _ := k.b.Place(&by, "c")
			sid := key.SID(place.Mountpoint, place.Identity, place.ClientID)
			k.lives[user], ids[user] = i, key.FilterID("\x00"+string(sid[:])+jobs)
			claim := fact.Claim{Owner: fact.Owner{Mountpoint: place.Mountpoint, Identity: place.Identity, ClientID: "c", Username: by.Username}, Node: "n", Version: 5, ExpirySeconds: 3600}
			sub := fact.Subscription{Filter: jobs, Real: place.Mountpoint + "open/jobs", ID: ids[user], QoS: 1}
			release := fact.Release{ExpirySeconds: 3600}
			old(store.Record{Kind: store.Claim, SID: sid, Epoch: 5, At: k.now.UnixMilli(), Body: claim.Append(nil)},
				store.Record{Kind: store.Subscribe, SID: sid, Epoch: 5, Body: sub.Append(nil)},
				store.Record{Kind: store.Release, SID: sid, Epoch: 5, At: k.now.UnixMilli(), Body: release.Append(nil)})
		}
		for i := range 40 {
			m := fact.Message{Topic: []byte("open/jobs"), Payload: []byte(fmt.Sprint("m", i+1)), QoS: 1, Filters: []fact.FilterID{ids["a"]}}
			old(store.Record{Kind: store.Message, At: k.now.UnixMilli(), Body: m.Append(nil)})
		}
		k.crash()
		k.rest()
		pub := k.join(1, "pub")
		k.sayQ(pub, "open/jobs", 1, 41, 50)
		once(t, who, 1, 50, k.drinkAll(k.back(who, window(6)))...)
		k.idle(who)
	}
}
