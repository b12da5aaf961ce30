package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// A full disk refuses what does not fit, keeps the rest readable, and passes
// when there is space again (row R-07, A191).
func TestFullDiskPasses(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, tiny)
	mustCommit(t, l, 1)
	used := int64(headerBytes+len(d.Content(segmentName(1)))) + int64(len(logID{}))
	d.Space(used)
	for range 3 {
		if first, err := commit(l, 99); !errors.Is(err, store.ErrFull) || first != 0 {
			t.Fatalf("no space: number %d, %v", first, err)
		}
	}
	if there, _, err := everything(l); err != nil || len(there) != 1 {
		t.Fatalf("reading on a full disk: %v, %v", there, err)
	}
	d.Space(1 << 30)
	if first, err := commit(l, 2); err != nil || first != 2 {
		t.Fatalf("with space again: number %d, %v", first, err)
	}
	shut(l)
}

// The log leaves space for the rest of the broker.
func TestReserveIsKept(t *testing.T) {
	d := faultfs.New()
	o := tiny
	o.ReserveBytes = 10_000
	l, _ := mustOpen(t, d, o)
	d.Space(10_100)
	if _, err := commit(l, 1); !errors.Is(err, store.ErrFull) {
		t.Fatalf("%v", err)
	}
	if names, _ := d.List(); len(names) != 0 {
		t.Errorf("something was written: %v", names)
	}
	shut(l)
}

// A write that fails half way is taken back: that group fails, the next does not,
// and no number is given out twice.
func TestAFailedWriteIsTakenBack(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		d := faultfs.New()
		l, _ := mustOpen(t, d, tiny)
		mustCommit(t, l, 1)
		size := len(d.Content(segmentName(1)))
		d.Short(300) // one frame whole, and a part of the next
		d.Fault(func(op faultfs.Op, _ string) error {
			if op == faultfs.Write {
				return cause
			}
			return nil
		})
		failed := 0
		for i := range 3 {
			l.Submit(0, message(10+i), func(_ store.Seq, err error) {
				if errors.Is(err, cause) && errors.Is(err, store.ErrFull) == (cause == syscall.ENOSPC) && !errors.Is(err, store.ErrFailed) {
					failed++
				}
			})
		}
		l.step()
		d.Fault(nil)
		if failed != 3 || len(d.Content(segmentName(1))) != size {
			t.Fatalf("%v: %d of 3 failed, the file has %d bytes, had %d", cause, failed, len(d.Content(segmentName(1))), size)
		}
		first, err := commit(l, 2)
		if err != nil || first != 5 {
			t.Fatalf("after %v: number %d, %v; want 5: 2 to 4 were on the disk", cause, first, err)
		}
		d = d.Crash(rand.New(rand.NewPCG(1, 1))) //nolint:gosec // a test
		l, rep := mustOpen(t, d, tiny)
		if there, missing, err := everything(l); err != nil || len(missing) > 0 || len(there) != 2 || there[1] != 1 || there[5] != 2 || rep.Err() != nil {
			t.Errorf("after %v and a crash: %v, %v, %v", cause, there, missing, err)
		}
		shut(l)
	}
}

// A flush that failed stops the log for good, even when the next would succeed.
func TestAFailedFlushIsForEver(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.SyncFile, faultfs.SyncDir, faultfs.Truncate} {
		d := faultfs.New()
		l, _ := mustOpen(t, d, Options{SegmentBytes: 4096, ReserveBytes: -1})
		if op == faultfs.SyncFile {
			mustCommit(t, l, 1)
		}
		broken := true
		d.Fault(func(o faultfs.Op, _ string) error {
			if broken && (o == op || op == faultfs.Truncate && o == faultfs.Write && l.c.file != nil) {
				return syscall.EIO
			}
			return nil
		})
		var errs []error
		for i := range 2 {
			l.Submit(0, message(i), func(_ store.Seq, err error) { errs = append(errs, err) })
		}
		l.step()
		broken = false
		_, err := commit(l, 3)
		for _, err := range append(errs, err, l.Err()) {
			if !errors.Is(err, store.ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Errorf("operation %d: %v", op, err)
			}
		}
		there, _, err := everything(l)
		if err != nil || (op == faultfs.SyncFile) != (len(there) == 1) {
			t.Errorf("operation %d: a reader sees %v, %v", op, there, err)
		}
		shut(l)
		if !errors.Is(l.closeErr, store.ErrFailed) {
			t.Errorf("operation %d: close: %v", op, l.closeErr)
		}
	}
}

// After a flush that failed the kernel's cache says what the disk does not hold.
// A process that starts again reads it, so it must be on the disk before anybody
// is shown it.
func TestWhatAFailedFlushLeftIsWrittenAgain(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, tiny)
	mustCommit(t, l, 1)
	d.Fault(func(op faultfs.Op, _ string) error {
		if op == faultfs.SyncFile {
			return syscall.EIO
		}
		return nil
	})
	if _, err := commit(l, 2); !errors.Is(err, store.ErrFailed) {
		t.Fatal(err)
	}
	d = d.Kill()
	l, rep := mustOpen(t, d, tiny)
	if there, _, err := everything(l); err != nil || len(there) != 2 || rep.Clean {
		t.Fatalf("after the kill: %v, %v", there, err)
	}
	for seed := range uint64(20) {
		after, _ := mustOpen(t, d.Crash(rand.New(rand.NewPCG(seed, 0))), tiny) //nolint:gosec // a test
		if there, _, err := everything(after); err != nil || len(there) != 2 {
			t.Fatalf("seed %d: a reader had seen two records, and the power cut left %v, %v", seed, there, err)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l, rep, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Clean || rep.First != 1 || rep.Last != 0 || rep.Next != 1 {
		t.Errorf("a new log: %+v", rep)
	}
	if _, _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	ch := make(chan error, 1)
	l.Submit(0, message(1), func(_ store.Seq, err error) { ch <- err })
	if err := <-ch; err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, rep, err := Open(dir, Options{})
	if err != nil || !rep.Clean || rep.Last != 1 || rep.Next != 2 {
		t.Fatalf("after close: %+v, %v", rep, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{".": 0o700, segmentName(1): 0o600, idName: 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
}

func TestRefusalsAreSentences(t *testing.T) {
	newer := func(b []byte) []byte {
		b[8] = formatVersion + 1
		return sealHeader(b)
	}
	for _, c := range []struct {
		name string
		do   func(d *faultfs.FS, names []string)
		want string
	}{
		{"newer", func(d *faultfs.FS, n []string) { d.SetContent(n[1], newer(d.Content(n[1]))) }, "start the newer program that wrote it"},
		{"stranger", func(d *faultfs.FS, n []string) {
			b := d.Content(n[1])
			b[16] ^= 1
			d.SetContent(n[1], sealHeader(b))
		}, "belongs to another log"},
		{"renamed", func(d *faultfs.FS, n []string) { d.SetContent(segmentName(3), d.Content(n[1])) }, "somebody renamed it"},
	} {
		d := faultfs.New()
		filled(t, d, 40)
		names := segmentsOf(t, d)
		c.do(d, names)
		before := d.Changes()
		if _, _, err := opened(d, tiny); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if d.Changes() != before {
			t.Errorf("%s: the refusal has changed the folder", c.name)
		}
		if release, err := d.Lock(); err != nil {
			t.Errorf("%s: the refusal keeps the folder: %v", c.name, err)
		} else {
			release()
		}
	}
	for _, o := range []Options{{SegmentBytes: 1}, {QueueBytes: 1}, {QueueRecords: -1}, {RingBytes: 1 << 40}} {
		if _, _, err := open(faultfs.New(), o); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Readers who keep up never touch the disk.
func TestWhoKeepsUpReadsNoFile(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, Options{SegmentBytes: 4096, RingBytes: 64 << 10, ReserveBytes: -1})
	defer shut(l)
	reads := d.Reads()
	for i := 1; i <= 500; i++ {
		mustCommit(t, l, i)
		if err := l.Tail(context.Background(), 0, store.Seq(i), func(first store.Seq, recs []store.Record) error {
			if first != store.Seq(i) || recs[0].At != int64(i) {
				t.Fatalf("got %d, want %d", first, i)
			}
			return errEnough
		}); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
	}
	if n := d.Reads() - reads; n != 0 {
		t.Errorf("%d reads", n)
	}
}

// A reader who begins deep inside one large write gets there: the index knows
// only where writes begin.
func TestTailFromDeepInsideOneWrite(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, Options{RingBytes: 4096, ReserveBytes: -1})
	defer shut(l)
	const n = 4000
	for i := 1; i <= n; i++ {
		if !l.Submit(0, message(i), func(store.Seq, error) {}) {
			t.Fatal("full")
		}
	}
	l.step()
	for _, from := range []store.Seq{1, 1000, n - 1, n} {
		want := from
		if err := l.Tail(context.Background(), 0, from, func(first store.Seq, _ []store.Record) error {
			if first != want {
				t.Fatalf("got %d, want %d", first, want)
			}
			if want++; want > n {
				return errEnough
			}
			return nil
		}); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
	}
}

// A crash between making a segment and writing to it leaves an empty one, which
// readers step over.
func TestAnEmptySegmentIsSteppedOver(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, tiny)
	mustCommit(t, l, 1)
	mustCommit(t, l, 2)
	d = d.Kill() // so that numbers are left out before the empty segment
	l, _ = mustOpen(t, d, tiny)
	writes := 0
	d.Fault(func(op faultfs.Op, _ string) error {
		if op == faultfs.Write {
			if writes++; writes == 2 { // the first is the header
				return syscall.EIO
			}
		}
		return nil
	})
	if _, err := commit(l, 3); err == nil {
		t.Fatal("a write that failed was acknowledged")
	}
	d = d.Kill()
	for round := range 3 {
		l, rep := mustOpen(t, d, tiny)
		if rep.Err() != nil || rep.First != 1 {
			t.Fatalf("round %d: %+v", round, rep)
		}
		d.Fault(func(op faultfs.Op, _ string) error {
			if op == faultfs.Remove && round == 0 { // then it stays until the next Open
				return syscall.EIO
			}
			return nil
		})
		if _, err := commit(l, 3+round); err != nil {
			t.Fatal(err)
		}
		if there, missing, err := everything(l); err != nil || len(missing) > 0 || len(there) != 3+round {
			t.Fatalf("round %d: %v, %v, %v", round, there, missing, err)
		}
		d.Fault(nil)
		shut(l)
	}
	if n := segmentsOf(t, d); len(n) != 4 || !slices.IsSorted(n) {
		t.Errorf("the empty segment is still there: %v", n)
	}
}

// A reader who waits is not forgotten at Close, and neither is anybody's
// goroutine.
func TestCloseWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, err := OpenOn(faultfs.New(), tiny)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Tail(t.Context(), 0, 1, func(store.Seq, []store.Record) error { return nil }) }()
		synctest.Wait() // it waits for the first record
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case err := <-ended:
			if !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		default:
			t.Error("it still waits")
		}
	})
}

// sealHeader puts the right checksum on a header that was changed.
func sealHeader(b []byte) []byte {
	return append(checksummed(b[:headerBytes]), b[headerBytes:]...)
}
