package view

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/local"
)

// formatOne copies a store that the last program with format 1 of the rows has written:
// see ../testdata/format1/README.md.
func formatOne(t *testing.T, name string) (log, index string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(to, os.DirFS(filepath.Join("..", "testdata", "format1", name))); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{to, filepath.Join(to, "log"), filepath.Join(to, "view")} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(to, "log"), filepath.Join(to, "view")
}

// A store of the format before is opened as it is, has everything, and goes on: also one
// whose log no longer has what the index was made from.
func TestFormatOneIsRead(t *testing.T) {
	for _, name := range []string{"whole", "trimmed"} {
		t.Run(name, func(t *testing.T) {
			logFolder, index := formatOne(t, name)
			l, _, err := local.Open(logFolder, smallLog)
			if err != nil {
				t.Fatal(err)
			}
			var heard alarms
			o := Options{Log: l, Folder: index, Alarm: heard.hear}
			v := mustOpen(t, o)
			first, known := readAll(t, l)
			if trimmed := first > 1; trimmed != (name == "trimmed") {
				t.Fatalf("the log begins with %d", first)
			}
			if name == "whole" {
				if err := compare(v, newTwin(known), 0); err != nil {
					t.Error(err)
				}
			}
			judgeFormatOne(t, v, known)
			if len(heard.list) > 0 {
				t.Error(heard.list)
			}
			ear := newEar()
			v.Run(ear)
			last := put(t, l, message("new", 1))
			ear.wait(t, last)
			settle(t, v)
			shutView(t, v)
			v = mustOpen(t, o)
			judgeFormatOne(t, v, known)
			if list, _, err := v.Pending(&Query{Filters: []Interest{{ID: 1}}}, nil); err != nil || len(list) != 1 || list[0].Seq != last {
				t.Errorf("what came since: %v, %v", list, err)
			}
			shut(t, v, l)
		})
	}
}

// judgeFormatOne looks for what README.md says is there.
func judgeFormatOne(t *testing.T, v *View, known []numbered) {
	t.Helper()
	waiting := make(map[string]int)
	var away *Session
	err := v.Sessions(func(s *Session) error {
		q := Query{After: s.Out.Cursor, Broad: true}
		for _, sub := range s.Subs {
			if sub.QoS > 0 {
				q.Filters = append(q.Filters, Interest{sub.ID, sub.Start})
			}
		}
		list, _, err := v.Pending(&q, nil)
		var seqs []store.Seq
		for _, p := range list {
			seqs = append(seqs, p.Seq)
		}
		lost, rerr := v.Read(t.Context(), seqs, func(store.Seq, *store.Record, *fact.Message) error { return nil })
		if waiting[s.ClientID] = len(list) - lost; s.ClientID == "away" {
			away = s
		}
		if err == nil {
			err = rerr
		}
		return err
	})
	if err != nil || len(waiting) != 4 || waiting["away"] != 10 || waiting["old"] != 13 || waiting["willing"] != 0 || waiting["pub"] != 0 {
		t.Errorf("sessions and how many messages wait: %v, %v", waiting, err)
	}
	if away == nil || len(away.Subs) != 1 || away.Subs[0].SubID != 7 || !away.Subs[0].RetainAsPublished || len(away.Out.Entries) != 3 || away.Out.Entries[2].QoS != 2 {
		t.Errorf("the session that was away: %+v", away)
	}
	var retained []string
	if err := v.Retained(func(_ store.Seq, _ int64, m *fact.Message) error {
		retained = append(retained, string(m.Payload))
		return nil
	}); err != nil || !slices.Equal(retained, []string{"one", "three"}) {
		t.Errorf("retained %q, %v", retained, err)
	}
	var users []string
	if err := v.Values(store.User, func(name string, _ []byte) error {
		users = append(users, name)
		return nil
	}); err != nil || !slices.Equal(users, []string{"dev1", "second"}) {
		t.Errorf("users %q, %v", users, err)
	}
	if s := v.Stats(); s.Sessions != 4 || s.Subscriptions != 3 || s.Retained != 2 {
		t.Errorf("%+v", s)
	}
	if len(known) == 0 {
		t.Error("the log is empty")
	}
}

// Postings that a program of format 1 wrote by blocks are found, trimmed with the others,
// and those it was about to write again are not found twice.
func TestBlocksOfFormatOne(t *testing.T) {
	fs := vfs.NewMem()
	l := &fakeLog{batch: func(store.Seq) []store.Record { return []store.Record{message("x", 5)} }}
	o := Options{Log: l, Folder: "index", FS: fs, blockBits: 3}
	v := mustOpen(t, o)
	l.last = 40
	for v.Applied() < l.last {
		if err := v.applyUntil(t.Context(), v.Applied()+1, l.last); err != nil {
			t.Fatal(err)
		}
	}
	age(t, v)
	v = mustOpen(t, o)
	ask := func(want, from store.Seq) {
		t.Helper()
		list, _, err := v.Pending(&Query{Filters: []Interest{{ID: 5}}}, nil)
		n := 0
		perr := v.Postings(func(id fact.FilterID, _ Posting) error {
			if id == 5 {
				n++
			}
			return nil
		})
		if err != nil || perr != nil || store.Seq(len(list)) != want || store.Seq(n) != want || list[0].Seq != from {
			t.Errorf("%d and %d postings from %v, %v, %v; want %d from %d", len(list), n, list[:1], err, perr, want, from)
		}
	}
	ask(39, 2)
	l.last = 60
	if err := v.applyUntil(t.Context(), v.Applied()+1, l.last); err != nil {
		t.Fatal(err)
	}
	ask(59, 2)
	v.o.Log = trimmable{l}
	if below, err := v.Trim(t.Context(), 20); err != nil || below != 20 {
		t.Fatal(below, err)
	}
	ask(41, 20)
	if below, err := v.Trim(t.Context(), 50); err != nil || below != 50 {
		t.Fatal(below, err)
	}
	ask(11, 50)
	lower, upper := tableBounds(tablePosting)
	if err := v.ix.scan(lower, upper, func(key, _ []byte) error { t.Errorf("a row of a block is left: %x", key); return nil }); err != nil {
		t.Error(err)
	}
	shutView(t, v)
}

type trimmable struct{ *fakeLog }

func (trimmable) Trim(context.Context, store.ShardID, store.Seq) error { return nil }

// age makes an index what the program of format 1 would have left, which closed blocks and
// had written one more than its position says.
func age(t *testing.T, v *View) {
	t.Helper()
	if err := v.rows.commit(); err != nil {
		t.Fatal(err)
	}
	b := v.ix.db.NewBatch()
	lower, upper := tableBounds(tablePart)
	err := v.ix.scan(lower, upper, func(key, value []byte) error {
		first, id, err := splitPostingKey(key)
		if err == nil {
			err = b.Set(appendPostingKey(nil, first>>v.open.bits, id), value, nil)
		}
		return err
	})
	at := v.rows.at
	stale := &block{lists: make(map[fact.FilterID]list)}
	stale.add(5, 0, 1)
	for _, err := range []error{
		err, b.DeleteRange(lower, upper, nil), b.Delete(appendTable(nil, tableKept), nil), b.Set([]byte{tableFormat}, []byte{formatOldest}, nil),
		b.Set(appendPostingKey(nil, uint64(at.part.first)>>v.open.bits, 5), stale.appendRow(nil, 5), nil),
		b.Set(appendTable(nil, tableApplied), at.append(nil)[:positionBytesOld], nil), v.ix.db.Apply(b, pebble.NoSync),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := binary.BigEndian.Uint64(at.append(nil)); store.Seq(n) != at.seq {
		t.Fatal("a position begins with its number")
	}
	if err := v.ix.close(true); err != nil {
		t.Fatal(err)
	}
}
