package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
)

// retains publishes a retained message and answers the reason code in PUBACK.
func (k *keptDesk) retains(s seat, topic, payload string) string {
	k.t.Helper()
	s.words()
	s.publish(topic, payload, 1, 1, keepIt)
	k.rest()
	if rc := strings.TrimPrefix(s.words(), "PUBACK #1"); rc != " 10" {
		return rc
	}
	return "" // nobody subscribes
}

// One user with however many clients gets three quarters of the retained messages there may
// be, and the last quarter is for others: also after a restart (A066). What it has it may
// replace and remove, and then it is like all others.
func TestNobodyHasAllRetainedMessages(t *testing.T) {
	for _, bytes := range []bool{false, true} {
		most := retain.Options{MessagesMax: 40, BytesMax: 64 << 20, MemoryMax: 64 << 20}
		payload := "v"
		if bytes { // 40 of them
			most.MessagesMax, payload = 10_000, strings.Repeat("v", 4000)
			f := mqtt.NewFrame([]byte("open/eve/10"), nil, []byte(payload))
			most.BytesMax = 40*(int64(f.Size())+100) + 2000
			f.Release()
		}
		k := newKeptDeskWith(t, 1, most, func(s *Settings) { s.IdentityShare = 25 })
		eve, eve2 := k.join(0, "eve", fleeting), k.sit(0, "eve", named("2"))
		got := 0
		for i := range 40 {
			by := eve
			if i%2 == 1 {
				by = eve2
			}
			if rc := k.retains(by, fmt.Sprint("open/eve/", 10+i), payload); rc == "" {
				got++
			} else if rc != " 97" {
				t.Fatalf("answered %q", rc)
			}
		}
		if got < 29 || got > 31 {
			t.Errorf("bytes %v: eve has %d of 40", bytes, got)
		}
		if n := k.metrics.Value(metrics.RetainedHoarded); n != int64(40-got) {
			t.Errorf("bytes %v: %d refused", bytes, n)
		}
		k.crash()
		eve = k.join(0, "eve", fleeting, cleanSeat)
		if rc := k.retains(eve, "open/eve/more", payload); rc != " 97" {
			t.Errorf("bytes %v: after a restart: %q", bytes, rc)
		}
		alice := k.join(0, "alice", fleeting)
		for i := range 8 {
			if rc := k.retains(alice, fmt.Sprint("open/alice/", i), payload); rc != "" {
				t.Errorf("bytes %v: message %d of alice: %q", bytes, i, rc)
			}
		}
		if rc := k.retains(eve, "open/eve/10", payload); rc != "" {
			t.Errorf("bytes %v: one in the place of another: %q", bytes, rc)
		}
		if rc := k.retains(eve, "open/eve/10", payload+strings.Repeat("x", 4000)); rc != " 97" {
			t.Errorf("bytes %v: one that is larger: %q", bytes, rc)
		}
		for i := range 25 {
			if rc := k.retains(eve, fmt.Sprint("open/eve/", 10+i), ""); rc != "" {
				t.Fatalf("bytes %v: removing: %q", bytes, rc)
			}
		}
		if rc := k.retains(eve, "open/eve/more", payload); rc != "" {
			t.Errorf("bytes %v: who has let go of most: %q", bytes, rc)
		}
		if has := k.homes[0].belongings("", "eve"); has.RetainedMessages != got-25+1 {
			t.Errorf("bytes %v: eve is said to have %+v", bytes, has)
		}
	}
}

// What is retained of before there were authors is nobody's, a will and the last word of a
// user who is gone are counted like all others, and without a limit nobody is.
func TestWhoseRetainedMessagesAre(t *testing.T) {
	k := newKeptDesk(t, 1)
	c := k.join(0, "c", will(mqtt.Will{Topic: "open/will", Payload: []byte("w"), QoS: 1, Retain: true}), fleeting)
	c.cut()
	k.rest()
	d := k.join(0, "d", fleeting)
	k.retains(d, "open/d", "v")
	k.retains(d, "open/will", "now d's")
	for user, want := range map[string]int{"c": 0, "d": 2, "e": 0} {
		if has := k.homes[0].belongings("", user); has.RetainedMessages != want {
			t.Errorf("%s has %+v", user, has)
		}
	}
	if has := k.homes[0].belongings("other/", "d"); has.RetainedMessages != 0 {
		t.Errorf("who has the name elsewhere has %+v", has)
	}
}

// A store that is full still takes what makes room, and nothing that does not.
func TestAFullStoreTakesWhatMakesRoom(t *testing.T) {
	k := newKeptDesk(t, 1)
	c := k.join(0, "c")
	k.retains(c, "open/a", "v")
	k.b.SetFull(true)
	for i, q := range []struct{ topic, payload, want string }{
		{"open/b", "v", " 97"}, {"open/a", "w", " 97"}, {"open/b", "", " 97"}, {"open/a", "", ""}, {"open/a", "", " 97"},
	} {
		if rc := k.retains(c, q.topic, q.payload); rc != q.want {
			t.Errorf("%d: %q", i, rc)
		}
	}
	k.crash()
	if n, _ := k.b.retained.Stats(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// Removals are no way to fill a store that is full: neither of what memory does not know,
// which may not be there at all, nor with much beside the nothing.
func TestRemovalsDoNotFillAFullStore(t *testing.T) {
	k := newKeptDeskWith(t, 1, retain.Options{MessagesMax: 1000, BytesMax: 64 << 20, MemoryMax: 1})
	c := k.join(0, "c")
	for i := range 3 {
		k.retains(c, fmt.Sprint("open/", i), "v")
	}
	if _, _, all := k.b.retained.InMemory(); all {
		t.Fatal("all of it is in memory")
	}
	k.b.SetFull(true)
	most := freeMost / 60_000
	taken, beside := 0, func(p *mqtt.Publish) {
		p.Retain, p.Props = true, append([]byte{0x03, 0xEA, 0x60}, strings.Repeat("x", 60_000)...) // a content type
	}
	for i := range most + 20 {
		c.words()
		c.publish(fmt.Sprint("open/none/", i), "", 1, 1, beside)
		k.rest()
		if !strings.Contains(c.words(), " 97") {
			taken++
		}
	}
	if taken < 10 || taken > most {
		t.Errorf("%d of %d were taken", taken, most+20)
	}
	k.b.SetFull(false)
	k.b.SetFull(true)
	if rc := k.retains(c, "open/0", ""); rc != "" {
		t.Errorf("after there was room again: %q", rc)
	}
}

// Sessions of one user, each within its limits, do not fill the store for all others: where
// they have more than their share they lose the oldest, and nobody else loses anything (A067). What many of
// them wait for counts once.
func TestSessionsOfOneUserDoNotFillTheStore(t *testing.T) {
	k := newRescueDesk(t, 2, func(s *Settings) { s.IdentityShare = 25 })
	payload := strings.Repeat("x", 1000)
	pub := k.join(1, "pub")
	say := func(topic string, n int) {
		t.Helper()
		for i := range n {
			pub.publish(topic, fmt.Sprint(payload, i), 1, uint16(1+i))
			k.flush()
			pub.words()
		}
	}
	away := func(user, id, filter string) {
		s := k.sit(0, user, named(id))
		k.hears(s, filter, 1)
		s.cut()
		k.rest()
	}
	for i := range 4 {
		away("eve", fmt.Sprint(i), fmt.Sprint("open/eve/", i))
		away("fleet", fmt.Sprint(i), "open/fleet")
	}
	away("alice", "c", "open/alice")
	for i := range 4 {
		say(fmt.Sprint("open/eve/", i), 10)
	}
	say("open/fleet", 12)
	say("open/alice", 12)
	k.rest()
	below := k.b.Told() + 1
	hoards, err := FindHoards(k.each, k.view, below, 20_000)
	if err != nil || len(hoards) != 1 || hoards[Hoarder{"", "eve"}] != 5000 {
		t.Fatalf("%v, %v", hoards, err)
	}
	if none, err := FindHoards(k.each, k.view, below, 60_000); err != nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	dropped, err := Enforce(k.each, k.view, below, hoards)
	if err != nil || dropped != 20 { // half of each stays
		t.Errorf("%d dropped, %v", dropped, err)
	}
	k.rest()
	k.crash()
	for user, want := range map[string]int{"eve": 5, "fleet": 12, "alice": 12} {
		id := "0"
		if user == "alice" {
			id = "c"
		}
		s := k.sit(0, user, named(id))
		k.rest()
		got := strings.Fields(k.drink(s))
		if len(got) != want || !strings.HasSuffix(got[len(got)-1], "x11") && !strings.HasSuffix(got[len(got)-1], "x9") {
			t.Errorf("%s received %d", user, len(got))
		}
	}
}

// Who has published more than a share of what the store keeps for those who do not come is
// refused while that is scarce, and others are not: also after a restart. What nobody keeps is taken from him, too.
func TestOneUsersPublishesDoNotFillTheStore(t *testing.T) {
	k := newRescueDesk(t, 2, func(s *Settings) { s.IdentityShare = 25 })
	sub, eve, alice := k.join(0, "sub"), k.join(1, "eve"), k.join(1, "alice")
	k.hears(sub, "open/#", 1)
	sub.leave()
	payload := strings.Repeat("x", 1000)
	answers := func(s seat, want string) {
		t.Helper()
		s.words()
		s.publish("open/a", payload, 1, 1)
		k.rest()
		if got := s.words(); got != want {
			t.Errorf("answered %q, want %q", got, want)
		}
	}
	for range 10 {
		answers(eve, "PUBACK #1")
	}
	answers(alice, "PUBACK #1")
	if _, rescued := k.shed(); rescued != 11 {
		t.Fatalf("%d rescued", rescued)
	}
	answers(eve, "PUBACK #1") // it is not scarce
	for _, crash := range []bool{false, true} {
		if crash {
			k.crash()
			eve, alice = k.back("eve"), k.back("alice")
			k.rest()
		}
		k.b.SetStored(5000)
		answers(eve, "PUBACK #1 97")
		answers(alice, "PUBACK #1")
		eve.publish("elsewhere", payload, 0, 0)
		if has := k.homes[1].belongings("", "eve"); has.StoredBytes < 10_000 || has.StoredBytes > 13_000 {
			t.Errorf("crash %v: eve has %+v", crash, has)
		}
	}
	if n := k.metrics.Value(metrics.StoreHoarded); n != 1 {
		t.Errorf("%d refused in this process", n)
	}
	sub = k.back("sub")
	k.drink(sub)
	if left := k.forget(); left != 0 {
		t.Fatalf("%d are kept", left)
	}
	answers(eve, "PUBACK #1")
}

// A share is never nothing, and of a hundred percent nobody has too much.
func TestShares(t *testing.T) {
	k := newKeptDesk(t, 1)
	for _, c := range []struct {
		percent    int
		most, want int64
	}{{25, 1000, 250}, {25, 3, 1}, {1, 1 << 60, 1 << 60 / 100}, {100, 1000, 0}, {0, 1000, 0}, {30, 250, 75}} {
		set := *k.b.Settings()
		set.IdentityShare = c.percent
		k.b.Apply(&set)
		if got := k.b.Share(c.most); got != c.want {
			t.Errorf("%d%% of %d: %d, want %d", c.percent, c.most, got, c.want)
		}
	}
}
