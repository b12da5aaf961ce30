package view

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// TestPendingIsNeverTorn asks while blocks close: everything up to upTo is in the
// answer, and nothing else.
func TestPendingIsNeverTorn(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem(), blockBits: 3})
	ear := newEar()
	v.Run(ear)
	first := v.Applied() + 1
	const total = 3000
	var wg sync.WaitGroup
	for _, id := range []fact.FilterID{1, 2} {
		wg.Go(func() {
			q := Query{Filters: []Interest{{ID: id}}, Broad: true}
			var list []Posting
			for upTo := store.Seq(0); upTo < first+total-1; {
				var err error
				if list, upTo, err = v.Pending(&q, list[:0]); err != nil {
					t.Error(err)
					return
				}
				want := first
				for _, p := range list {
					if p.Seq != want {
						t.Errorf("filter %d up to %d: %d comes where %d should", id, upTo, p.Seq, want)
						return
					}
					want++
				}
				if len(list) > 0 && want != upTo+1 {
					t.Errorf("filter %d: ends with %d, up to %d", id, want-1, upTo)
					return
				}
			}
		})
	}
	for n := 0; n < total; n += 3 {
		put(t, l, message("x", 1, 2), message("y", 2, 1, 1), store.Record{Kind: store.Message, Body: (&fact.Message{Broad: true}).Append(nil)})
	}
	wg.Wait()
	shut(t, v, l)
}

// Read answers what is there, and counts what is not: damaged, trimmed, never given
// out, not there yet, or no message.
func TestReadCountsWhatIsLost(t *testing.T) {
	dir, fs := faultfs.New(), vfs.NewMem()
	l := openLog(t, dir, smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs, blockBits: 3})
	big := strings.Repeat("x", 900)
	for range 60 {
		put(t, l, message(big, 1))
	}
	shut(t, v, l)

	damage(t, dir, 25)
	l = openLog(t, dir, smallLog)
	var heard alarms
	v = mustOpen(t, Options{Log: l, Folder: "index", FS: fs, blockBits: 3, Alarm: heard.hear})
	defer shut(t, v, l)
	_, last, err := l.Bounds(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Trim(t.Context(), 12); err != nil || got != 12 {
		t.Fatal(got, err)
	}
	begins, _, _ := l.Bounds(t.Context(), 0)
	if begins < 5 || begins > 12 {
		t.Fatalf("the log begins with %d", begins)
	}
	var seqs []store.Seq
	for seq := store.Seq(1); seq <= last+3; seq++ {
		seqs = append(seqs, seq)
	}
	found := make(map[store.Seq]bool)
	lost, err := v.Read(t.Context(), seqs, func(seq store.Seq, rec *store.Record, m *fact.Message) error {
		found[seq] = true
		if string(m.Payload) != big || rec.Kind != store.Message {
			return fmt.Errorf("number %d has %d bytes", seq, len(m.Payload))
		}
		return nil
	})
	if err != nil || lost+len(found) != len(seqs) {
		t.Fatalf("%d found, %d lost of %d, %v", len(found), lost, len(seqs), err)
	}
	if found[begins-1] || !found[begins] || found[25] || !found[last] || found[last+1] {
		t.Errorf("the log has %d to %d without 25; found %v", begins, last, found)
	}
	enough := errors.New("this is enough")
	if _, err := v.Read(t.Context(), seqs, func(store.Seq, *store.Record, *fact.Message) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("fn's error came back as %v", err)
	}
}

// damage flips a bit in the record with the given number, which has 900 bytes of x.
func damage(t *testing.T, dir *faultfs.FS, seq store.Seq) {
	t.Helper()
	names, err := dir.List()
	if err != nil {
		t.Fatal(err)
	}
	at := store.Seq(2) // 1 is the key
	for _, n := range names {
		if !strings.HasSuffix(n, ".seg") {
			continue
		}
		b := dir.Content(n)
		for i := 0; ; at++ {
			k := strings.Index(string(b[i:]), strings.Repeat("x", 900))
			if k < 0 {
				break
			}
			if at == seq {
				b[i+k+100] ^= 1
				dir.SetContent(n, b)
				return
			}
			i += k + 900
		}
	}
	t.Fatalf("record %d is nowhere", seq)
}

// Records that are missing when they are to be applied are said, and gone over.
func TestMissingRecordsAreSaidAndGoneOver(t *testing.T) {
	dir := faultfs.New()
	l := openLog(t, dir, smallLog)
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()}))
	for range 40 {
		put(t, l, message(strings.Repeat("x", 900), 1))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, 25)
	l = openLog(t, dir, smallLog)
	var heard alarms
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem(), blockBits: 3, Alarm: heard.hear})
	defer shut(t, v, l)
	_, known := readAll(t, l)
	if len(known) != 40 {
		t.Fatalf("%d records", len(known))
	}
	if err := compare(v, newTwin(known), 0); err != nil {
		t.Error(err)
	}
	if heard.count("records missing") != 1 || !strings.Contains(heard.list[0], "records 25 are missing") {
		t.Error(heard.list)
	}
}
