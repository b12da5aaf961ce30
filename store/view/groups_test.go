package view

import (
	"reflect"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// clerk is a judge of groups, and numbers.
type clerk struct {
	t   *testing.T
	j   judge
	seq store.Seq
}

func newClerk(t *testing.T, sids ...store.SID) *clerk {
	c := &clerk{t: t, j: newJudge(nobody, newGroups(), position{}, sizes{4, 1000}, func(string, error) {})}
	for _, sid := range sids {
		claim := fact.Claim{Node: "n"}
		c.say(store.Claim, sid, claim.Append(nil), Applied)
	}
	return c
}

// say has a record judged, and answers its number.
func (c *clerk) say(k store.Kind, sid store.SID, body []byte, want Outcome) store.Seq {
	c.t.Helper()
	c.seq++
	r := store.Record{Kind: k, SID: sid, Body: body}
	if sid != (store.SID{}) {
		r.Epoch = 1
	}
	if got := c.j.batch(c.seq, []store.Record{r})[0].Outcome; got != want {
		c.t.Errorf("record %d, %v: %v, want %v", c.seq, k, got, want)
	}
	return c.seq
}

func (c *clerk) join(sid store.SID, member fact.FilterID) store.Seq {
	j := fact.Join{Group: 1, Member: member, Share: "g", Real: "a"}
	return c.say(store.ShareJoin, sid, j.Append(nil), Applied)
}

func (c *clerk) message(ids ...fact.FilterID) store.Seq {
	m := fact.Message{Topic: []byte("a"), QoS: 1, Filters: ids}
	return c.say(store.Message, store.SID{}, m.Append(nil), Applied)
}

func (c *clerk) take(t fact.Take, sid store.SID, want Outcome) {
	c.t.Helper()
	if t.Group = 1; t.Member != 0 {
		m := fact.Message{Topic: []byte("a"), QoS: 1, Filters: []fact.FilterID{t.Member}}
		t.Body = m.Append(nil)
	}
	c.say(store.ShareAck, sid, t.Append(nil), want)
}

// Of two who take the same message one has it, and who has gone or is not a member takes
// nothing.
func TestATakeIsOnce(t *testing.T) {
	a, b, stranger := store.SID{1}, store.SID{2}, store.SID{3}
	c := newClerk(t, a, b, stranger)
	c.join(a, 11)
	c.join(b, 12)
	m, n := c.message(1), c.message(1)
	c.take(fact.Take{Source: 1, Seq: m, Member: 11}, b, Fenced)
	c.take(fact.Take{Source: 1, Seq: m, Member: 13}, stranger, Fenced)
	c.take(fact.Take{Source: 1, Seq: m, Member: 11}, a, Applied)
	c.take(fact.Take{Source: 1, Seq: m, Member: 12}, b, Refused)
	c.take(fact.Take{Source: 1, Seq: m}, store.SID{}, Refused)
	c.take(fact.Take{Source: 1, Seq: n, Below: n}, store.SID{}, Applied) // for a session that the log does not know
	c.take(fact.Take{Source: 1, Seq: n, Member: 12}, b, Refused)
	c.take(fact.Take{Source: 1, Seq: m, Member: 12}, b, Refused) // below
	leave := fact.Leave{Group: 1, Member: 12}
	c.say(store.ShareLeave, b, leave.Append(nil), Applied)
	c.take(fact.Take{Source: 1, Seq: c.message(1), Member: 12}, b, Fenced)
	c.take(fact.Take{Source: 1, Done: true}, store.SID{}, Refused) // what comes for the group has no end
}

// What a member gives back is what is later than its cursor, and with its session what it
// has not acknowledged at QoS 1.
func TestWhatAMemberGivesBack(t *testing.T) {
	a, b := store.SID{1}, store.SID{2}
	for _, how := range []leaving{stays, goes, ends} {
		c := newClerk(t, a, b)
		c.join(a, 11)
		c.join(b, 12)
		sent1, sent2, acked, unsent := c.message(11), c.message(11), c.message(11), c.message(11)
		other := c.message(12)
		out := fact.Outbox{Cursor: acked, Entries: []fact.Sent{{Seq: sent1, ID: 1, QoS: 1, State: 1, Share: 11}, {Seq: sent2, ID: 2, QoS: 2, State: 2, Share: 11}}}
		c.say(store.Ack, a, out.Append(nil), Applied)
		var part store.Seq
		switch how {
		case ends:
			part = c.say(store.Expire, a, nil, Applied)
		default:
			leave := fact.Leave{Group: 1, Member: 11, Stay: how == stays}
			part = c.say(store.ShareLeave, a, leave.Append(nil), Applied)
		}
		s := c.j.groups.byID[1].source(11, part)
		if s.Wants(sent1) != (how == ends) || s.Wants(sent2) || s.Wants(acked) || !s.Wants(unsent) || s.ID == 12 || s.Wants(other) != s.Wants(unsent) {
			t.Errorf("%d: %+v", how, s) // a number is wanted of those that stand under 11
		}
		if late := c.message(11); s.Wants(late) == (how == stays) {
			t.Errorf("%d: what was still given to it is lost, or its own: %+v", how, s)
		}
		c.take(fact.Take{Source: 11, Part: part, Seq: unsent, Member: 12}, b, Applied)
		c.take(fact.Take{Source: 11, Part: part, Seq: unsent, Member: 12}, b, Refused)
		c.take(fact.Take{Source: 11, Part: part, Done: true}, store.SID{}, Applied)
		if s := c.j.groups.byID[1].source(11, part); s != nil {
			t.Errorf("%d: %+v is left", how, s)
		}
		c.say(store.Expire, b, nil, Applied)
		if gr := c.j.groups.byID[1]; (gr == nil) == (how == stays) {
			t.Errorf("%d: with its last member a group ends: %+v", how, gr)
		}
	}
}

// However many members leave with something, the group has all of it, and the same after a
// start: nobody else has. One that stays a member keeps what a group with many parts does
// not take.
func TestAGroupTakesBackFromHoweverMany(t *testing.T) {
	a, sids := store.SID{1}, []store.SID{{1}}
	const leave = staysMax + 50
	for i := range leave {
		sids = append(sids, store.SID{2, byte(i >> 8), byte(i)})
	}
	c := newClerk(t, sids...)
	c.join(a, 11)
	given := make(map[store.Seq]fact.FilterID)
	for i, sid := range sids[1:] {
		of := fact.FilterID(100 + i)
		c.join(sid, of)
		m := c.message(of)
		given[c.say(store.Expire, sid, nil, Applied)] = of
		if s := c.j.groups.byID[1].source(of, c.seq); s == nil || !s.Wants(m) {
			t.Fatalf("what member %d had is lost: %+v", i, s)
		}
	}
	stay := fact.Leave{Group: 1, Member: 11, Stay: true}
	c.say(store.ShareLeave, a, stay.Append(nil), Refused)
	for part, of := range given { // and is the group's own when it says so
		c.take(fact.Take{Source: of, Part: part, Seq: part - 1, Member: 1}, store.SID{}, Applied)
		c.take(fact.Take{Source: of, Part: part, Seq: part - 1, Member: 1}, store.SID{}, Refused)
		if own := c.j.groups.byID[1].source(1, 0); !own.Wants(c.seq - 1) {
			t.Fatalf("%d is not the group's: %+v", c.seq-1, own)
		}
		c.take(fact.Take{Source: of, Part: part, Done: true}, store.SID{}, Applied)
	}
	if left := c.j.groups.byID[1].sources; len(left) != 1 {
		t.Errorf("%d parts are left", len(left))
	}
	c.say(store.ShareLeave, a, stay.Append(nil), Applied)
}

// What a member gives back when its session ends is the same for a node that was started
// anew since: what it had sent in an earlier membership is not of this one.
func TestWhatIsGivenBackDoesNotDependOnAStart(t *testing.T) {
	a, b := store.SID{1}, store.SID{2}
	var want []Source
	for _, again := range []bool{false, true} {
		dir, fs := faultfs.New(), vfs.NewMem()
		l := openLog(t, dir, smallLog)
		v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
		v.Run(newEar())
		say := func(k store.Kind, sid store.SID, body []byte) store.Seq {
			return put(t, l, store.Record{Kind: k, SID: sid, Epoch: 1, Body: body})
		}
		claim, leave := fact.Claim{Node: "n"}, fact.Leave{Group: 1, Member: 11}
		join := func(of fact.FilterID) []byte {
			return (&fact.Join{Group: 1, Member: of, Share: "g", Real: "a"}).Append(nil)
		}
		say(store.Claim, a, claim.Append(nil))
		say(store.Claim, b, claim.Append(nil))
		say(store.ShareJoin, a, join(11))
		say(store.ShareJoin, b, join(12))
		sent := put(t, l, message("x", 11))
		out := fact.Outbox{Cursor: sent, Entries: []fact.Sent{{Seq: sent, ID: 1, QoS: 1, State: 1, Share: 11}}}
		say(store.Ack, a, out.Append(nil))
		say(store.ShareLeave, a, leave.Append(nil))
		last := say(store.ShareJoin, a, join(11))
		if again {
			shutWhenApplied(t, v, l, last)
			l = openLog(t, dir, smallLog)
			v = mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
			v.Run(newEar())
		}
		for last = say(store.Expire, a, nil); v.Applied() < last; {
			runtime.Gosched()
		}
		g, _ := v.Group(1)
		if got := settled(g).Sources; !again {
			want = got
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("after a start it gives back\n     %+v\nwant %+v", got, want)
		}
		shut(t, v, l)
	}
}

// FuzzSource: whatever is in a row, decoding it does not panic, and a row that is read is
// written the same way.
func FuzzSource(f *testing.F) {
	f.Add((&Source{After: 1, Until: never, At: 3, Below: 4, Only: []store.Seq{1}, Taken: []store.Seq{5, 6}}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSource(b); err == nil && string(s.append(nil)) != string(b) {
			t.Errorf("%+v from %x", s, b)
		}
		_ = newGroups().row(b, b)
	})
}
