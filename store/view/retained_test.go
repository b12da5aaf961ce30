package view

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

func retainOf(topic, payload string, at, expires int64) store.Record {
	m := fact.Message{Topic: []byte(topic), Payload: []byte(payload), Retain: true, ExpiresAt: expires}
	k := store.Retain
	if payload == "" {
		k = store.Unretain
	}
	return store.Record{Kind: k, At: at, Body: m.Append(nil)}
}

// names are the topics of a walk from a name on, in which skip says where to go on.
func names(t *testing.T, v *View, from string, skip map[string]string) string {
	t.Helper()
	var got []string
	_, err := v.RetainedFrom(context.Background(), 0, []byte(from), func(row *RetainedRow) ([]byte, bool, error) {
		name := string(row.Name())
		seq, at, err := row.Load()
		if err != nil || string(row.Message.Topic) != name || seq == 0 || at == 0 {
			t.Errorf("%s: %d %d %s, %v", name, seq, at, row.Message.Topic, err)
		}
		got = append(got, name)
		if to, ok := skip[name]; ok {
			return []byte(to), to == "", nil
		}
		return nil, false, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

func TestRetainedFromWalksInTheOrderOfLevels(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	var last store.Seq
	for _, topic := range []string{"b", "a!", "a/b/c", "a", "a/b", "a//", "a/bb"} {
		last = put(t, l, retainOf(topic, "x", 1, 0))
	}
	if err := v.CatchUp(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from string
		skip map[string]string
		want string
	}{
		{"", nil, "a a// a/b a/b/c a/bb a! b"},
		{"a/b", nil, "a/b a/b/c a/bb a! b"},
		{"a/b/", nil, "a/b/c a/bb a! b"},
		{"", map[string]string{"a": "a/bb", "a!": "a"}, "a a/bb a! b"}, // never back
		{"", map[string]string{"a//": ""}, "a a//"},
		{"c", nil, ""},
	} {
		if got := names(t, v, c.from, c.skip); got != c.want {
			t.Errorf("from %q: %q, want %q", c.from, got, c.want)
		}
	}
	if v.Reached() != last {
		t.Errorf("reached %d, want %d", v.Reached(), last)
	}
	shutView(t, v)
	_ = l.Close()
}

// Expired messages go when a later record says that it is later, with their expiries, and
// not by the clock of a record that ran ahead and is over.
func TestExpiredRetainedMessagesGo(t *testing.T) {
	l, fs := openLog(t, faultfs.New(), smallLog), vfs.NewMem()
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	var last store.Seq
	for i := range 300 {
		last = put(t, l, retainOf(fmt.Sprint("short/", i), "x", 10, 20))
	}
	put(t, l, retainOf("longer", "x", 10, 20), retainOf("longer", "x", 10, 2000))
	put(t, l, retainOf("for ever", "x", 10, 20), retainOf("for ever", "x", 10, 0))
	put(t, l, retainOf("gone", "x", 10, 20), retainOf("gone", "", 10, 0))
	pass := func(at int64) {
		for range 130 {
			last = put(t, l, store.Record{Kind: store.Hash, At: at, Body: (&fact.Mark{}).Append(nil)})
		}
		if err := v.CatchUp(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	pass(19)
	if n, _ := v.RetainedCount(); n != 302 {
		t.Errorf("%d before their time", n)
	}
	pass(20)
	if got := names(t, v, "", nil); got != "for ever longer" {
		t.Errorf("what is left: %s", got)
	}
	shutView(t, v) // and the index of another start says the same
	v = mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	put(t, l, retainOf("later", "x", 10, 1500))
	pass(1999)
	if got := names(t, v, "", nil); got != "for ever longer" {
		t.Errorf("what is left: %s", got)
	}
	pass(2000)
	if got := names(t, v, "", nil); got != "for ever" {
		t.Errorf("what is left: %s", got)
	}
	lower, upper := tableBounds(tableExpiry)
	if err := v.ix.scan(lower, upper, func(key, _ []byte) error { return fmt.Errorf("an expiry is left: %q", key) }); err != nil {
		t.Error(err)
	}
	shutView(t, v)
	_ = l.Close()
}

// An index of format 1 is taken over: its rows stay, and the counts and expiries that it
// lacks are made.
func TestAnIndexOfFormatOneIsTakenOver(t *testing.T) {
	l, fs := openLog(t, faultfs.New(), smallLog), vfs.NewMem()
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	last := store.Seq(0)
	for i := range 100 {
		last = put(t, l, retainOf(fmt.Sprint("t/", i), "payload", 10, int64(i%2*20)))
	}
	if err := v.CatchUp(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	n, sum := v.RetainedCount()
	shutView(t, v)
	db, err := pebble.Open("index", &pebble.Options{FS: fs, FormatMajorVersion: pebbleFormat})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []byte{tableCounts, tableExpiry, tableAuthors} { // what that version did not write
		lower, upper := tableBounds(table)
		if err := db.DeleteRange(lower, upper, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Set([]byte{tableFormat}, []byte{1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	v = mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	if n2, sum2 := v.RetainedCount(); n2 != n || sum2 != sum || n != 100 {
		t.Errorf("%d of %d bytes, were %d of %d", n2, sum2, n, sum)
	}
	for range 70 {
		last = put(t, l, store.Record{Kind: store.Hash, At: 21, Body: (&fact.Mark{}).Append(nil)})
	}
	if err := v.CatchUp(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if n, _ := v.RetainedCount(); n != 50 {
		t.Errorf("%d are left", n)
	}
	format, closer, err := v.ix.db.Get([]byte{tableFormat})
	if err != nil || !slices.Equal(format, []byte{formatVersion}) {
		t.Errorf("format %x, %v", format, err)
	}
	_ = closer.Close()
	shutView(t, v)
	_ = l.Close()
}
