package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

var tiny = Options{SegmentBytes: 4096, RingBytes: 4096, ReserveBytes: -1}

// message is record n, which says so.
func message(n int) []store.Record {
	return []store.Record{{Kind: store.Message, At: int64(n), Body: fmt.Append(make([]byte, 200), n)}}
}

// filled is a log of n records, each a write of its own, closed cleanly.
func filled(t *testing.T, d disk.Dir, n int) {
	t.Helper()
	l, _ := mustOpen(t, d, tiny)
	for i := 1; i <= n; i++ {
		mustCommit(t, l, i)
	}
	shut(l)
}

func mustOpen(t *testing.T, d disk.Dir, o Options) (*Log, *Report) {
	t.Helper()
	l, rep, err := opened(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return l, rep
}

// copyLog gives d the segments and the id of another log.
func copyLog(t *testing.T, d, from *faultfs.FS) {
	t.Helper()
	for _, name := range append(segmentsOf(t, from), idName) {
		d.SetContent(name, from.Content(name))
	}
}

// flip does to some files what a bad disk does: bits, or a whole sector.
func flip(rnd *rand.Rand, d *faultfs.FS, names []string) {
	for range 1 + rnd.IntN(3) {
		name := names[rnd.IntN(len(names))]
		b := d.Content(name)
		if rnd.IntN(10) == 0 {
			at := rnd.IntN(len(b))
			copy(b[at:min(len(b), at+512)], make([]byte, 512))
		} else {
			b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		}
		d.SetContent(name, b)
	}
}

// commit submits message n alone and takes the committer's step.
func commit(l *Log, n int) (first store.Seq, err error) {
	l.Submit(0, message(n), func(f store.Seq, e error) { first, err = f, e })
	l.step()
	return first, err
}

func mustCommit(t *testing.T, l *Log, n int) {
	t.Helper()
	if _, err := commit(l, n); err != nil {
		t.Fatal(err)
	}
}

// shut is Close for a log without its goroutine.
func shut(l *Log) {
	l.queue.close()
	l.finish()
}

// everything reads the log to its end, and goes on after what is missing.
func everything(l *Log) (there map[store.Seq]int64, missing []store.Range, err error) {
	there = make(map[store.Seq]int64)
	from, last := l.cat.bounds()
	for from <= last {
		err := l.Tail(context.Background(), 0, from, func(first store.Seq, recs []store.Record) error {
			for i, r := range recs {
				there[first+store.Seq(i)] = r.At //nolint:gosec // small
			}
			if from = first + store.Seq(len(recs)); from > last { //nolint:gosec // small
				return errEnough
			}
			return nil
		})
		var m *store.MissingError
		switch {
		case errors.As(err, &m):
			missing = append(missing, m.Range)
			from = m.Range.Last + 1
		case !errors.Is(err, errEnough):
			return there, missing, err
		}
	}
	return there, missing, nil
}

func segmentsOf(t *testing.T, d *faultfs.FS) []string {
	t.Helper()
	names, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(n string) bool { _, ok := parseSegmentName(n); return !ok })
}

// accounted checks that each of n records is there and right, or named as
// missing, and that what is missing is named alike everywhere.
func accounted(l *Log, rep *Report, n int) error {
	there, missing, err := everything(l)
	if err != nil {
		return err
	}
	lost := make(map[store.Seq]bool)
	for _, r := range missing {
		for s := r.First; s <= r.Last; s++ {
			lost[s] = true
		}
	}
	named := 0
	for _, m := range rep.Missing {
		named += int(m.Range.Last-m.Range.First) + 1 //nolint:gosec // small
	}
	if named != len(lost) {
		return fmt.Errorf("the report names %d missing, readers are told of %d", named, len(lost))
	}
	for i := 1; i <= n; i++ {
		at, ok := there[store.Seq(i)]
		if ok == lost[store.Seq(i)] || ok && at != int64(i) {
			return fmt.Errorf("record %d: there %v (says %d), missing %v", i, ok, at, lost[store.Seq(i)])
		}
	}
	return nil
}

// TestFlippedBitsAreNamed is row R-07, lite: whatever bits a disk turns over in a
// closed log, each record is right or named as missing, the damaged file is kept,
// the log goes on, and the next Open says the same.
func TestFlippedBitsAreNamed(t *testing.T) {
	const n = 60
	whole := faultfs.New()
	filled(t, whole, n)
	names := segmentsOf(t, whole)
	quarantined, lost := 0, 0
	for seed := range uint64(flips) {
		rnd := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // a test
		d := faultfs.New()
		copyLog(t, d, whole)
		flip(rnd, d, names)
		l, rep, err := opened(d, tiny)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if rep.CutBytes > 4096 || rep.CutBytes > 0 && !rep.Clean && rep.Last < n-3 {
			t.Fatalf("seed %d: cut %d bytes of a log that was closed", seed, rep.CutBytes)
		}
		if rep.Last == n || len(rep.Missing) > 0 {
			if err := accounted(l, rep, min(n, int(rep.Last))); err != nil { //nolint:gosec // small
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if _, err := commit(l, n+1); err != nil {
			t.Fatalf("seed %d: the log does not go on: %v", seed, err)
		}
		shut(l)
		for _, q := range rep.Quarantined {
			if d.Content(q.Aside) == nil {
				t.Fatalf("seed %d: %s is not kept", seed, q.Aside)
			}
			quarantined++
		}
		lost += len(rep.Missing)
		l, again := mustOpen(t, d, tiny)
		if fmt.Sprint(again.Err()) != fmt.Sprint(rep.Err()) || len(again.Quarantined) > 0 {
			t.Fatalf("seed %d: first %v, then %v, %v", seed, rep.Err(), again.Err(), again.Quarantined)
		}
		shut(l)
	}
	t.Logf("%d segments put aside, %d ranges named", quarantined, lost)
	if quarantined < 300 || lost < 300 {
		t.Error("below the minimum load: this run proves nothing")
	}
}

// One bad batch costs that batch and no other.
func TestABadBatchInTheMiddleCostsItself(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 40)
	name := segmentsOf(t, d)[1]
	b := d.Content(name)
	first, _ := parseSegmentName(name)
	size := (len(b) - headerBytes) / 17
	b[headerBytes+2*size+100] ^= 1 // the third record of the segment
	d.SetContent(name, b)
	l, rep := mustOpen(t, d, tiny)
	defer shut(l)
	if len(rep.Missing) != 1 || rep.Missing[0].Range != (store.Range{First: first + 2, Last: first + 2}) || !rep.Clean {
		t.Fatalf("%+v, %v", rep, rep.Err())
	}
	if len(rep.Quarantined) != 1 || rep.Quarantined[0].Aside != name+".bad-1" || string(d.Content(name+".bad-1")) != string(b) {
		t.Errorf("%+v", rep.Quarantined)
	}
	if err := accounted(l, rep, 40); err != nil {
		t.Error(err)
	}
}

// A segment that was saved once and is damaged again was on disk as a whole:
// nothing in it is a torn tail, whatever its frames say of their old places.
func TestDamageInASavedSegmentIsNamed(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, tiny)
	mustCommit(t, l, 1)
	for i := 2; i <= 6; i++ { // one write
		l.Submit(0, message(i), func(store.Seq, error) {})
	}
	l.step()
	d = d.Kill()
	name := segmentsOf(t, d)[0]
	size := (len(d.Content(name)) - headerBytes) / 6
	for round, at := range []int{headerBytes + 50, headerBytes + 2*size + 50} { // record 1; then 4, which is the third now
		b := d.Content(name)
		b[at] ^= 1
		d.SetContent(name, b)
		l, rep := mustOpen(t, d, tiny)
		if err := accounted(l, rep, 6); err != nil || len(rep.Missing) != round+1 || rep.CutBytes != 0 {
			t.Errorf("round %d: %+v, %v, %v", round, rep, rep.Err(), err)
		}
		for i, l := range rep.Losses { // the one of the first round is no news in the second
			if l.Earlier != (i < round) {
				t.Errorf("round %d: %+v", round, l)
			}
		}
		shut(l)
	}
}

// A file that somebody deleted, or cut, in the middle is named too.
func TestALostSegmentIsNamed(t *testing.T) {
	for _, how := range []string{"deleted", "cut", "headless"} {
		d := faultfs.New()
		filled(t, d, 60)
		names := segmentsOf(t, d)
		switch how {
		case "deleted":
			if err := d.Remove(names[1]); err != nil {
				t.Fatal(err)
			}
		case "cut":
			d.SetContent(names[1], d.Content(names[1])[:1000])
		case "headless":
			b := d.Content(names[1])
			clear(b[:headerBytes])
			d.SetContent(names[1], b)
		}
		l, rep := mustOpen(t, d, tiny)
		if err := accounted(l, rep, 60); err != nil || (len(rep.Missing) == 0) != (how == "headless") {
			t.Errorf("%s: %v, %v", how, rep.Err(), err)
		}
		shut(l)
	}
}

// The only segment's header is gone: the second copy of the id finds the frames.
func TestALogWithoutAnyHeaderIsSaved(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 5)
	name := segmentsOf(t, d)[0]
	b := d.Content(name)
	clear(b[:headerBytes+50])
	d.SetContent(name, b)
	l, rep := mustOpen(t, d, tiny)
	defer shut(l)
	if fmt.Sprint(rep.Err()) != "records 1 are missing: they were damaged in "+name || rep.Last != 5 {
		t.Fatalf("%+v, %v", rep, rep.Err())
	}
	if err := accounted(l, rep, 5); err != nil {
		t.Error(err)
	}
}

// A payload that holds a whole frame is not taken for one when the batch around
// it is damaged: a client must not be able to forge a record.
func TestAPayloadIsNotTakenForAFrame(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, tiny)
	forged := store.AppendRecord(make([]byte, frameBytes), &store.Record{Kind: store.User, Body: []byte("mallory")})
	finishFrame(forged, markerOf(logID{}, 1), frameBatch, headerBytes, 1, 1) // the best guess there is
	for range 3 {
		l.Submit(0, []store.Record{{Kind: store.Message, Body: forged}}, func(store.Seq, error) {})
		l.step()
	}
	shut(l)
	name := segmentsOf(t, d)[0]
	b := d.Content(name)
	b[headerBytes+9] ^= 0x40 // the first frame's length
	d.SetContent(name, b)
	l, rep := mustOpen(t, d, tiny)
	defer shut(l)
	err := l.Tail(context.Background(), 0, 2, func(first store.Seq, recs []store.Record) error {
		if recs[0].Kind != store.Message {
			t.Errorf("record %d is %v", first, recs[0].Kind)
		}
		if first == 3 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || len(rep.Missing) != 1 {
		t.Errorf("%v, %v", err, rep.Err())
	}
}

// A frame whose numbers were given out already is no frame.
func TestAFrameFromThePastIsNotRead(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 3)
	name := segmentsOf(t, d)[0]
	b := d.Content(name)
	size := (len(b) - headerBytes - sealBytes) / 3
	end := len(b) - sealBytes
	d.SetContent(name, append(b[:end:end], b[headerBytes:headerBytes+size]...))
	l, rep := mustOpen(t, d, tiny)
	defer shut(l)
	if rep.CutBytes != int64(size) || rep.Last != 3 || rep.Clean {
		t.Fatalf("%+v", rep)
	}
	if err := accounted(l, rep, 3); err != nil {
		t.Error(err)
	}
}

// What cannot be read names segment and offset, at Open and later.
func TestReadErrorNamesThePlace(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 40)
	name := segmentsOf(t, d)[0]
	bad := func(op faultfs.Op, n string) error {
		if op == faultfs.Read && n == name {
			return syscall.EIO
		}
		return nil
	}
	l, _ := mustOpen(t, d, tiny)
	d.Fault(bad)
	var where *store.DamageError
	_, _, err := everything(l)
	if !errors.As(err, &where) || where.Segment != name || where.Offset != headerBytes || !errors.Is(err, syscall.EIO) {
		t.Errorf("tail: %v", err)
	}
	shut(l)
	if _, _, err := opened(d, tiny); !errors.As(err, &where) || where.Segment != name || !strings.Contains(err.Error(), "offset 0") {
		t.Errorf("open: %v", err)
	}
	d.Fault(nil)
	l, _ = mustOpen(t, d, tiny)
	b := d.Content(name)
	b[headerBytes+100] ^= 1
	d.SetContent(name, b)
	if _, _, err := everything(l); !errors.As(err, &where) || where.Offset != headerBytes || where.Err != nil {
		t.Errorf("tail over a wrong checksum: %v", err)
	}
	shut(l)
}

func checksummed(head []byte) []byte {
	head = slices.Clone(head)
	return binary.LittleEndian.AppendUint32(head[:60], crc32.Checksum(head[:60], castagnoli))
}
