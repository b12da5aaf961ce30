package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// life is one folder through crashes. It has no goroutine: the test takes the
// committer's steps, so that a seed is a history.
type life struct {
	rnd  *rand.Rand
	fs   *faultfs.FS
	o    Options
	fate []*fate
	of   map[store.Seq]int // whose number it is, once anybody could know
	trim store.Seq         // highest Trim
	acks int
	cuts int
}

// fate is one batch.
type fate struct {
	recs  []store.Record
	first store.Seq
	told  bool // acknowledged, or seen by a reader: it must stay
}

func newLife(seed uint64) *life {
	rnd := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // a test
	return &life{rnd: rnd, fs: faultfs.New(), of: make(map[store.Seq]int),
		o: Options{SegmentBytes: 4096 << rnd.IntN(3), RingBytes: 4096 << rnd.IntN(4), ReserveBytes: -1}}
}

// own notes that somebody knows a batch's numbers.
func (v *life) own(id int, first store.Seq) error {
	f := v.fate[id]
	for i := range f.recs {
		seq := first + store.Seq(i) //nolint:gosec // small
		if other, taken := v.of[seq]; taken && other != id {
			return fmt.Errorf("number %d was batch %d and is now batch %d", seq, other, id)
		}
		v.of[seq] = id
	}
	if f.told && f.first != first {
		return fmt.Errorf("batch %d was %d and is now %d", id, f.first, first)
	}
	f.first, f.told = first, true
	return nil
}

// work submits and commits until the power goes, or it is enough.
func (v *life) work(l *Log) error {
	var wrong error
	for range 1 + v.rnd.IntN(15) {
		for range 1 + v.rnd.IntN(6) {
			id := len(v.fate)
			recs := storetest.RandomBatch(v.rnd, uint64(id), 100<<v.rnd.IntN(5)) //nolint:gosec // small
			v.fate = append(v.fate, &fate{recs: recs})
			l.Submit(0, recs, func(first store.Seq, err error) {
				if err != nil {
					return
				}
				v.acks++
				if err := v.own(id, first); err != nil {
					wrong = errors.Join(wrong, err)
				}
			})
		}
		l.step()
		if v.rnd.IntN(6) == 0 {
			_, last := l.cat.bounds()
			below := store.Seq(v.rnd.Int64N(int64(last) + 2)) //nolint:gosec // small
			v.trim = max(v.trim, below)
			_ = l.Trim(context.Background(), 0, below)
		}
	}
	return wrong
}

// inspect reads everything and compares it with what was promised.
func (v *life) inspect(l *Log, rep *Report) error {
	if len(rep.Missing)+len(rep.Quarantined) > 0 {
		return fmt.Errorf("a crash is not damage: %+v, %w", rep.Quarantined, rep.Err())
	}
	first, last := l.cat.bounds()
	if first > max(1, v.trim) {
		return fmt.Errorf("the log begins with %d, trimmed below %d", first, v.trim)
	}
	seen, previous := make(map[int]bool), -1
	read := func(at store.Seq, recs []store.Record) error {
		id := int(binary.LittleEndian.Uint64(recs[0].Body)) //nolint:gosec // ours
		if id >= len(v.fate) || len(recs) != len(v.fate[id].recs) {
			return fmt.Errorf("batch at %d is a part of batch %d", at, id)
		}
		for i, r := range recs {
			if w := v.fate[id].recs[i]; r.Kind != w.Kind || r.SID != w.SID || r.Epoch != w.Epoch || r.At != w.At || string(r.Body) != string(w.Body) {
				return fmt.Errorf("record %d of batch %d is different", i, id)
			}
		}
		if id <= previous {
			return fmt.Errorf("batch %d comes after %d", id, previous)
		}
		previous, seen[id] = id, true
		if err := v.own(id, at); err != nil {
			return err
		}
		if at+store.Seq(len(recs)) > last { //nolint:gosec // small
			return errEnough
		}
		return nil
	}
	if last >= first {
		if err := l.Tail(context.Background(), 0, first, read); !errors.Is(err, errEnough) {
			return fmt.Errorf("tail from %d to %d: %w", first, last, err)
		}
	}
	for id, f := range v.fate {
		if f.told && !seen[id] && f.first >= first {
			return fmt.Errorf("batch %d, number %d, is lost", id, f.first)
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// stop ends a process in one of the ways there are.
func (v *life) stop(l *Log) error {
	switch v.rnd.IntN(8) {
	case 0:
		l.queue.close()
		l.finish()
		if v.rnd.IntN(2) == 0 {
			v.fs = v.fs.Crash(v.rnd)
		} else {
			v.fs = v.fs.Kill()
		}
	case 1:
		v.fs = v.fs.Kill()
	default:
		v.fs = v.fs.Crash(v.rnd)
	}
	return nil
}

// trouble lets some write or flush fail, in one history of three.
func (v *life) trouble() {
	op, err := faultfs.Write, error(syscall.ENOSPC)
	switch v.rnd.IntN(6) {
	case 0:
		op, err = faultfs.SyncFile, syscall.EIO
	case 1:
		if v.rnd.IntN(2) == 0 {
			err = syscall.EIO
		}
	default:
		return
	}
	n := 1 + v.rnd.IntN(10)
	v.fs.Short(v.rnd.IntN(5000))
	v.fs.Fault(func(o faultfs.Op, _ string) error {
		if o == op {
			if n--; n == 0 {
				return err
			}
		}
		return nil
	})
}

// run is one history: work, crash, work. The power may also go while Open
// repairs.
func (v *life) run() error {
	for round := range 3 {
		if v.rnd.IntN(3) == 0 {
			v.fs.PowerAt(1 + v.rnd.IntN(8))
		}
		l, rep, err := opened(v.fs, v.o)
		if errors.Is(err, faultfs.ErrPower) {
			v.fs = v.fs.Crash(v.rnd)
			if l, rep, err = opened(v.fs, v.o); err == nil {
				v.cuts++
			}
		}
		if err != nil {
			return fmt.Errorf("round %d: open: %w", round, err)
		}
		if err := v.inspect(l, rep); err != nil && !errors.Is(err, faultfs.ErrPower) {
			return fmt.Errorf("round %d: %w", round, err)
		}
		v.fs.PowerAt(1 + v.rnd.IntN(60))
		v.trouble()
		if err := v.work(l); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := v.stop(l); err != nil {
			return err
		}
	}
	l, rep, err := opened(v.fs, v.o)
	if err != nil {
		return fmt.Errorf("last open: %w", err)
	}
	return v.inspect(l, rep)
}

// TestPowerCutLosesNothingAcknowledged is row R-03: what was acknowledged is
// there, whole and in order, whatever part of the rest the disk kept.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	acks, batches, cuts := 0, 0, 0
	for seed := range uint64(crashPoints) {
		v := newLife(seed)
		if err := v.run(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		acks, batches, cuts = acks+v.acks, batches+len(v.fate), cuts+v.cuts
	}
	t.Logf("%d histories, %d batches, %d acknowledged, %d power cuts inside a recovery", crashPoints, batches, acks, cuts)
	if acks < 10*crashPoints || batches-acks < 10*crashPoints || cuts < crashPoints/20 {
		t.Error("below the minimum load: this run proves nothing")
	}
}
