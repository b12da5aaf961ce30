package view

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// earlyLog puts sessions s0, s1 and so on into a log, each with a subscription.
func earlyLog(t *testing.T, l store.Log, n int) (sids []store.SID) {
	t.Helper()
	for i := range n {
		sid := store.SID{byte(i >> 8), byte(i), 1}
		sids = append(sids, sid)
		sub := fact.Subscription{QoS: 1, ID: fact.FilterID(i + 1), Filter: fmt.Sprint("f/", i), Real: fmt.Sprint("f/", i)}
		put(t, l, claimRecord(sid, 1), sessionRecord(store.Subscribe, sid, 1, sub.Append(nil)))
	}
	return sids
}

func sessionRecord(k store.Kind, sid store.SID, epoch uint64, body []byte) store.Record {
	r := recordOf(k, 0, epoch, body)
	r.SID = sid
	return r
}

func claimRecord(sid store.SID, epoch uint64) store.Record {
	return sessionRecord(store.Claim, sid, epoch, (&fact.Claim{Owner: fact.Owner{ClientID: fmt.Sprintf("c%x", sid[:2])}, Node: "n", Version: 4, ExpirySeconds: 100}).Append(nil))
}

// sessionsOf answers all sessions, as text and as they are.
func sessionsOf(t *testing.T, v *View) (text []string, all []*Session) {
	t.Helper()
	if err := v.Sessions(func(s *Session) error {
		text, all = append(text, fmt.Sprintf("%+v", *s)), append(all, s)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return text, all
}

// setEpoch writes it into a session's row past the view, which knows whether it has read the row.
func setEpoch(t *testing.T, v *View, sid store.SID, epoch uint64) {
	t.Helper()
	if err := v.rows.commit(); err != nil {
		t.Fatal(err)
	}
	g, _ := v.rows.guards.of(&sid)
	g.epoch = epoch
	if err := v.ix.db.Set(appendSessionKey(nil, &sid, partGuard), g.append(nil), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
}

// What Open came by is what Sessions answers, once: those that have changed since, also because
// the index was behind, are read again, those that are new are there, and those that have ended
// are not.
func TestSessionsAreThoseThatOpenCameBy(t *testing.T) {
	const n = 300
	dir, fs := faultfs.New(), vfs.NewMem()
	l := openLog(t, dir, smallLog)
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs})) // it makes the key
	sids := earlyLog(t, l, n)
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs}))

	fresh := store.SID{0, 7, 0} // between two of them
	more := fact.Subscription{QoS: 1, ID: 5000, Filter: "more", Real: "more"}
	expire := sessionRecord(store.Expire, sids[n-1], 1, nil)
	put(t, l, sessionRecord(store.Subscribe, sids[3], 1, more.Append(nil)), claimRecord(fresh, 1), claimRecord(sids[9], 2), expire)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	if came := v.rows.early.packed.sessions; came != n {
		t.Fatalf("Open came by %d sessions, want %d", came, n)
	}
	setEpoch(t, v, sids[20], 9)
	got, all := sessionsOf(t, v)
	if v.rows.early != nil {
		t.Error("what Open came by is kept after it was asked for")
	}
	setEpoch(t, v, sids[20], 1)
	want, _ := sessionsOf(t, v)
	if !slices.Equal(got, want) {
		t.Errorf("got %d sessions:\n%.2000v\nwant %d:\n%.2000v", len(got), got, len(want), want)
	}
	for _, s := range all {
		switch s.SID {
		case sids[3]:
			if len(s.Subs) != 2 {
				t.Errorf("%d subscriptions, want the one that was added, too", len(s.Subs))
			}
		case sids[9]:
			if s.Epoch != 2 {
				t.Errorf("epoch %d, want the one that it has now", s.Epoch)
			}
		case sids[n-1]:
			t.Error("a session that has ended is there")
		}
	}
	if len(all) != n {
		t.Errorf("%d sessions, want %d", len(all), n)
	}
	if !slices.IsSortedFunc(all, func(a, b *Session) int { return bytes.Compare(a.SID[:], b.SID[:]) }) {
		t.Error("they are not in order")
	}
	shut(t, v, l)
}

// Where most have changed, all are read again, and a row that says nothing known is no matter
// of Open's.
func TestSessionsThatAreOfNoUseAreReadAgain(t *testing.T) {
	dir, fs := faultfs.New(), vfs.NewMem()
	l := openLog(t, dir, smallLog)
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs}))
	sids := earlyLog(t, l, changedFew+10)
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs}))
	for _, sid := range sids {
		put(t, l, claimRecord(sid, 2))
	}
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	setEpoch(t, v, sids[6], 3)
	_, all := sessionsOf(t, v)
	for _, s := range all {
		want := uint64(2)
		if s.SID == sids[6] {
			want = 3
		}
		if s.Epoch != want {
			t.Fatalf("epoch %d, want %d: it is what Open came by", s.Epoch, want)
		}
	}
	if len(all) != len(sids) {
		t.Errorf("%d sessions, want %d", len(all), len(sids))
	}
	if err := v.ix.db.Set(appendSessionKey(nil, &sids[5], partOwner), []byte{77}, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	shutView(t, v)
	v = mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	if err := v.Sessions(func(*Session) error { return nil }); err == nil {
		t.Error("nobody is told of the row")
	}
	shut(t, v, l)
}

// Batches answers what Sessions does, in its order, whether Open came by it or not. A batch is
// whole until the one after it is over.
func TestBatchesAreTheSessions(t *testing.T) {
	for _, n := range []int{0, 1, batchSessions, 3*batchSessions + 7} {
		dir, fs := faultfs.New(), vfs.NewMem()
		l := openLog(t, dir, smallLog)
		shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs}))
		sids := earlyLog(t, l, n)
		shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs}))
		if n > 3 {
			more := fact.Subscription{QoS: 1, ID: 5000, Filter: "more", Real: "more"}
			put(t, l, sessionRecord(store.Subscribe, sids[3], 1, more.Append(nil)))
		}
		v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs, Sessions: true})
		for _, early := range []bool{true, false} {
			var got, was []string
			var before []*Session
			texts := func(list []*Session) (all []string) {
				for _, s := range list {
					all = append(all, fmt.Sprintf("%+v", *s))
				}
				return all
			}
			err := v.Batches(func(list []*Session) error {
				if len(list) == 0 || len(list) > batchSessions {
					t.Fatalf("%d at once", len(list))
				}
				if now := texts(before); !slices.Equal(now, was) {
					t.Fatalf("%d sessions: the batch before has changed", n)
				}
				before, was = slices.Clone(list), texts(list)
				got = append(got, was...)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := sessionsOf(t, v); !slices.Equal(got, want) || len(got) != n {
				t.Errorf("%d sessions, early %v: got %d, and others than Sessions says, %d", n, early, len(got), len(want))
			}
		}
		shut(t, v, l)
	}
}
