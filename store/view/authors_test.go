package view

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

func retainBy(topic string, by fact.AuthorID, payload string) store.Record {
	m := fact.Message{Topic: []byte(topic), Payload: []byte(payload), Retain: true, By: by}
	return store.Record{Kind: store.Retain, At: 1, Body: m.Append(nil)}
}

// Who has how many retained messages is known after a restart, of an index that did not
// know it, and of one that a program has gone on with that did not: what that wrote is of nobody.
func TestAuthorsOfRetainedMessages(t *testing.T) {
	l, fs := openLog(t, faultfs.New(), smallLog), vfs.NewMem()
	o := Options{Log: l, Folder: "index", FS: fs}
	v := mustOpen(t, o)
	for _, r := range []store.Record{
		retainBy("a", 7, "one"), retainBy("b", 7, "two"), retainBy("c", 8, "three"), retainBy("d", 0, "nobody's"),
		retainBy("b", 8, "replaced"), {Kind: store.Unretain, At: 1, Body: (&fact.Message{Topic: []byte("c"), Retain: true}).Append(nil)},
		retainBy("e", 9, "e"), {Kind: store.Unretain, At: 1, Body: (&fact.Message{Topic: []byte("e"), Retain: true}).Append(nil)},
	} {
		put(t, l, r)
	}
	judge := func(when string) {
		t.Helper()
		_, last, _ := l.Bounds(t.Context(), 0)
		if err := v.CatchUp(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		for by, want := range map[fact.AuthorID][2]int64{7: {1, int64(len(retainBy("a", 7, "one").Body))}, 8: {1, int64(len(retainBy("b", 8, "replaced").Body))}, 9: {}, 10: {}} {
			if n, sum := v.RetainedBy(by); int64(n) != want[0] || sum != want[1] {
				t.Errorf("%s: author %d has %d messages of %d bytes, want %v", when, by, n, sum, want)
			}
		}
	}
	judge("at once")
	shutView(t, v)
	v = mustOpen(t, o)
	judge("after a restart")
	shutView(t, v)
	change := func(fn func(db *pebble.DB) error) {
		t.Helper()
		db, err := pebble.Open("index", &pebble.Options{FS: fs, FormatMajorVersion: pebbleFormat})
		if err == nil {
			err = fn(db)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	change(func(db *pebble.DB) error {
		lower, upper := tableBounds(tableAuthors)
		_ = db.Set([]byte{tableFormat}, []byte{2}, pebble.Sync)
		return db.DeleteRange(lower, upper, pebble.Sync)
	})
	v = mustOpen(t, o)
	judge("of format 2")
	shutView(t, v)
	change(func(db *pebble.DB) error { // what it says is not of where the rows are
		_ = db.Set(appendAuthorsKey(nil, 7), make([]byte, authorBytes), pebble.Sync)
		_ = db.Set(appendAuthorsKey(nil, 100), []byte("0123456789012345"), pebble.Sync)
		return db.Set(appendAuthorsKey(nil, authorPlaces), make([]byte, 8), pebble.Sync)
	})
	v = mustOpen(t, o)
	judge("of another position")
	if n, _ := v.RetainedBy(100); n != 0 {
		t.Errorf("%d messages of nobody", n)
	}
	shutView(t, v)
	_ = l.Close()
}
