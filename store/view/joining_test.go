package view

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/local"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// TestAGroupIsTheSameAfterARestart: what a session said of its messages before it joined
// decides what goes back when it leaves, whether or not the process was another one in
// between.
func TestAGroupIsTheSameAfterARestart(t *testing.T) {
	for _, c := range []struct {
		name    string
		batches [][]store.Record // before the restart
	}{
		{"said in an earlier batch", [][]store.Record{{claimOf(1, 1), claimOf(2, 1)}, {sentOf(1)}, {joinOf(1, 3), joinOf(2, 4)}}},
		{"said in the batch that joins", [][]store.Record{{claimOf(1, 1), claimOf(2, 1), sentOf(1), joinOf(1, 3), joinOf(2, 4)}}},
		{"said and ended before", [][]store.Record{{claimOf(1, 1), claimOf(2, 1)}, {sentOf(1)}, {recordOf(store.Expire, 1, 1, nil), claimOf(1, 1), joinOf(1, 3), joinOf(2, 4)}}},
	} {
		var got [2]Group
		for again := range got {
			dir, fs := faultfs.New(), crashable()
			l := openLog(t, dir, smallLog)
			v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
			for _, recs := range c.batches {
				put(t, l, recs...)
			}
			if again == 1 {
				v, l = reopened(t, v, l, dir, fs)
			}
			put(t, l, recordOf(store.Expire, 1, 1, nil))
			_, last, err := l.Bounds(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.CatchUp(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			got[again], _ = v.Group(1)
			_ = v.Close()
			_ = l.Close()
		}
		if len(got[0].Sources) != 2 {
			t.Fatalf("%s: %+v", c.name, got[0])
		}
		a, b := got[0].Sources[1], got[1].Sources[1]
		want := 1
		if c.name == "said and ended before" {
			want = 0
		}
		if a.After != b.After || len(a.Only) != want || len(b.Only) != want {
			t.Errorf("%s: without a restart %+v, with one %+v", c.name, a, b)
		}
	}
}

// reopened is the log and its view in another process.
func reopened(t *testing.T, v *View, l *local.Log, dir *faultfs.FS, fs *vfs.MemFS) (*View, *local.Log) {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, smallLog)
	return mustOpen(t, Options{Log: l, Folder: "index", FS: fs}), l
}

func recordOf(k store.Kind, sid byte, epoch uint64, body []byte) store.Record {
	return store.Record{Kind: k, SID: store.SID{sid}, Epoch: epoch, Body: body}
}

func claimOf(sid byte, epoch uint64) store.Record {
	return recordOf(store.Claim, sid, epoch, (&fact.Claim{Node: "n", Version: 5, ExpirySeconds: 100}).Append(nil))
}

// sentOf says that message 2, which member 3 was given, is not acknowledged.
func sentOf(sid byte) store.Record {
	o := fact.Outbox{Cursor: 3, Entries: []fact.Sent{{Seq: 2, ID: 1, QoS: 1, Share: 3}}}
	return recordOf(store.Inflight, sid, 1, o.Append(nil))
}

func joinOf(sid byte, member fact.FilterID) store.Record {
	return recordOf(store.ShareJoin, sid, 1, (&fact.Join{Group: 1, Member: member, Share: "g", Real: "a", Since: 1}).Append(nil))
}
