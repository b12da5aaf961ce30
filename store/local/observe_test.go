package local

import (
	"errors"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// Who was refused is told when there is room, once, and not otherwise.
func TestRoomIsToldToWhoWasRefused(t *testing.T) {
	rooms := 0
	o := tiny
	o.QueueRecords, o.Room = 2, func() { rooms++ }
	l, _ := mustOpen(t, faultfs.New(), o)
	defer shut(l)
	mustCommit(t, l, 1)
	if rooms != 0 {
		t.Fatal("nobody was refused")
	}
	taken := 0
	for range 4 {
		if l.Submit(0, message(2), func(store.Seq, error) {}) {
			taken++
		}
	}
	l.step()
	l.step()
	if taken != 2 || rooms != 1 {
		t.Errorf("%d taken, told %d times; want 2 and once", taken, rooms)
	}
}

// Observe is told of every group, also of one that failed.
func TestObserveSeesEveryCommit(t *testing.T) {
	var seen []Commit
	d, now := faultfs.New(), clock.NewManual(time.Unix(0, 0))
	o := tiny
	o.Clock, o.Observe = now, func(c Commit) { seen = append(seen, c) }
	l, _ := mustOpen(t, d, o)
	defer shut(l)
	d.Fault(func(op faultfs.Op, _ string) error { now.Advance(time.Millisecond); return nil })
	for i := range 3 {
		l.Submit(0, message(i), func(store.Seq, error) {})
	}
	l.step()
	d.Space(100)
	if _, err := commit(l, 4); err == nil {
		t.Fatal("no error")
	}
	if seen[0].Free < 1<<39 || seen[1].Free < 0 || seen[1].Free > 100 {
		t.Errorf("%d bytes were free, then %d", seen[0].Free, seen[1].Free)
	}
	if len(seen) != 2 || seen[0].Batches != 3 || seen[0].Records != 3 || seen[0].Bytes < 600 || seen[0].Took < int64(time.Millisecond) || seen[0].Err != nil || !errors.Is(seen[1].Err, store.ErrFull) {
		t.Errorf("%+v", seen)
	}
}
