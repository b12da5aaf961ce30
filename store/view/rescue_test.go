package view

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// One filter of many has messages that somebody waits for: the log goes, they stay, over a
// crash of everything, in order and whole, until nobody wants them.
func TestRescuedMessagesOutliveTheLog(t *testing.T) {
	dir, fs := faultfs.New(), crashable()
	l := openLog(t, dir, smallLog)
	o := Options{Log: l, Folder: "index", FS: fs, blockBits: 4}
	v := mustOpen(t, o)
	ear := newEar()
	v.Run(ear)
	var wanted []store.Seq
	var last store.Seq
	for i := range 400 {
		if i%20 == 3 {
			r := message(fmt.Sprint("m", i), 7, 8)
			r.SID, r.At = store.SID{}, int64(i)
			if i > 40 { // the first are of before there were authors
				var m fact.Message
				if err := m.Decode(r.Body); err != nil {
					t.Fatal(err)
				}
				m.By = 1<<20 + 5
				r.Body = m.Append(nil)
			}
			wanted = append(wanted, put(t, l, r))
		}
		last = put(t, l, message(strings.Repeat("x", 200), 1))
	}
	ear.wait(t, last)
	settle(t, v)
	if n, err := v.Rescue(t.Context(), wanted, func(seq store.Seq, rec *store.Record, m *fact.Message) bool { return seq != wanted[2] }); err != nil || n != len(wanted)-1 {
		t.Fatal(n, err)
	}
	if n, err := v.Rescue(t.Context(), wanted[5:], nil); err != nil || n != 0 {
		t.Fatalf("rescued again: %d, %v", n, err)
	}
	wanted = slices.Delete(wanted, 2, 3)
	below, err := v.Trim(t.Context(), last-20)
	if err != nil || below < last-50 {
		t.Fatal(below, err)
	}
	check := func(when string) {
		t.Helper()
		list, upTo, err := v.Pending(&Query{Filters: []Interest{{ID: 7}, {ID: 8}}, After: wanted[0]}, nil)
		var seqs []store.Seq
		for _, p := range list {
			seqs = append(seqs, p.Seq)
		}
		if err != nil || upTo != last || !slices.Equal(seqs, wanted[1:]) {
			t.Fatalf("%s: pending %v up to %d, %v; want %v", when, seqs, upTo, err, wanted[1:])
		}
		var got []store.Seq
		lost, err := v.Read(t.Context(), append([]store.Seq{2, 3}, wanted...), func(seq store.Seq, rec *store.Record, m *fact.Message) error {
			if got = append(got, seq); !bytes.Equal(m.Append(nil), rec.Body) || rec.Kind != store.Message || !strings.HasPrefix(string(m.Payload), "m") || rec.At == 0 {
				return fmt.Errorf("%d is %q", seq, m.Payload)
			}
			return nil
		})
		if err != nil || lost != 2 || !slices.Equal(got, wanted) {
			t.Errorf("%s: read %v, %d lost, %v", when, got, lost, err)
		}
	}
	check("at once")
	if first, _, _ := l.Bounds(t.Context(), 0); first < wanted[10] {
		t.Fatalf("the log begins with %d", first)
	}
	rnd := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // a test
	o.FS, dir = fs.CrashClone(vfs.CrashCloneCfg{RNG: rnd}), dir.Crash(rnd)
	shutView(t, v)
	_ = l.Close() // it has no power
	l = openLog(t, dir, smallLog)
	o.Log = l
	v = mustOpen(t, o)
	defer func() { shut(t, v, l) }()
	check("after a power cut")
	if n, b := v.Rescued(); n != int64(len(wanted))-int64(countFrom(wanted, v.Floor())) || b < 100*n || v.Stats().RescueBytes == 0 {
		t.Errorf("%d messages with %d bytes; %+v", n, b, v.Stats())
	}
	if _, all := v.Rescued(); v.RescuedBy(5) == 0 || v.RescuedBy(5) >= all || v.RescuedBy(6) != 0 {
		t.Errorf("%d bytes of %d are of the author", v.RescuedBy(5), all)
	}
	n, err := v.Forget(t.Context(), func(id fact.FilterID, seq store.Seq) bool { return id == 8 && seq > wanted[3] })
	if err != nil || n != 4 {
		t.Errorf("forgot %d, %v", n, err)
	}
	wanted = wanted[4:]
	check("when some are forgotten")
	if _, err := v.Forget(t.Context(), func(fact.FilterID, store.Seq) bool { return false }); err != nil {
		t.Error(err)
	}
	if n, b := v.Rescued(); n != 0 || b != 0 || v.RescuedBy(5) != 0 {
		t.Errorf("%d messages with %d bytes are left, %d of the author", n, b, v.RescuedBy(5))
	}
}

func countFrom(seqs []store.Seq, floor store.Seq) (n int) {
	for _, s := range seqs {
		if s >= floor {
			n++
		}
	}
	return n
}

// Who asks while the log is trimmed misses nothing of what is rescued.
func TestPendingMissesNothingThatIsRescuedMeanwhile(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem(), blockBits: 2})
	ear := newEar()
	v.Run(ear)
	var seqs []store.Seq
	for range 300 {
		seqs = append(seqs, put(t, l, message("m", 1)))
	}
	ear.wait(t, seqs[len(seqs)-1])
	settle(t, v)
	done := make(chan error, 1)
	go func() {
		for i := 0; i < len(seqs)-8; i += 8 {
			if _, err := v.Rescue(t.Context(), seqs[i:i+8], nil); err != nil {
				done <- err
				return
			}
			if _, err := v.Trim(t.Context(), seqs[i+8]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if running = false; err != nil {
				t.Error(err)
			}
		default:
		}
		list, _, err := v.Pending(&Query{Filters: []Interest{{ID: 1}}}, nil)
		if err != nil || len(list) != len(seqs) {
			t.Fatalf("%d of %d, %v; the floor is %d", len(list), len(seqs), err, v.Floor())
		}
	}
	shut(t, v, l)
}

// An index that was made anew cannot have what was rescued, and says that it is not
// enough.
func TestAnIndexMadeAnewIsRefusedOnceSomethingWasRescued(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem(), blockBits: 2})
	ear := newEar()
	v.Run(ear)
	first := put(t, l, message("wanted", 1))
	var last store.Seq
	for range 60 {
		last = put(t, l, message(strings.Repeat("x", 200), 2))
	}
	ear.wait(t, last)
	settle(t, v)
	if _, err := v.Rescue(t.Context(), []store.Seq{first}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Trim(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	shutView(t, v)
	wantText(t, refused(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()}), "there is no index in index and the log begins with", "is only in the index", "Restore both")
	_ = l.Close()
}
