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
	early := slices.Clone(v.rows.early.list)
	if len(early) != n {
		t.Fatalf("Open came by %d sessions, want %d", len(early), n)
	}
	got, all := sessionsOf(t, v)
	if v.rows.early != nil {
		t.Error("what Open came by is kept after it was asked for")
	}
	want, _ := sessionsOf(t, v)
	if !slices.Equal(got, want) {
		t.Errorf("got %d sessions:\n%.2000v\nwant %d:\n%.2000v", len(got), got, len(want), want)
	}
	again := 0
	for _, s := range all {
		if !slices.Contains(early, s) {
			again++
		}
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
	if again != 3 || len(all) != n {
		t.Errorf("%d of %d sessions were read again, want the 3 that have changed and are there", again, len(all))
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
	early := slices.Clone(v.rows.early.list)
	_, all := sessionsOf(t, v)
	for _, s := range all {
		if s.Epoch != 2 || slices.Contains(early, s) {
			t.Fatalf("epoch %d, of what Open came by: %v", s.Epoch, slices.Contains(early, s))
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
