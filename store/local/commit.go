package local

import (
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// committer writes the log. It belongs to one goroutine; in tests without one, to
// the test.
type committer struct {
	group group
	next  store.Seq // to be given out
	last  store.Seq // newest durable
	first store.Seq // of the group that was committed last
	id    logID
	saved bool // idName is there
	seg   *segment
	file  disk.File // of seg; nil if the next write begins a new segment
	free  int64     // of the disk before the last write; -1: not known
}

// Commit is one group commit, for who watches.
type Commit struct {
	Batches, Records int
	Bytes            int
	Took             int64 // nanoseconds of writing and flushing; 0 without Options.Clock
	Free             int64 // bytes of the disk before the write; -1: not known
	Err              error // what every batch of the group was told
}

// step commits everything that waits; false if nothing does.
func (l *Log) step() bool {
	c := &l.c
	room := l.queue.take(&c.group)
	if room && l.o.Room != nil {
		l.o.Room()
	}
	if len(c.group.batches) == 0 {
		return false
	}
	var began int64
	if l.o.Clock != nil {
		began = l.o.Clock.Now().UnixNano()
	}
	c.free = -1
	err := l.commit()
	if l.o.Observe != nil {
		done := Commit{Batches: len(c.group.batches), Records: c.group.records, Bytes: len(c.group.buf), Free: c.free, Err: err}
		if l.o.Clock != nil {
			done.Took = l.o.Clock.Now().UnixNano() - began
		}
		l.o.Observe(done)
	}
	for i := range c.group.batches {
		switch b := &c.group.batches[i]; {
		case b.err != nil:
			b.done(0, b.err)
		case err != nil:
			b.done(0, err)
		default:
			b.done(b.first, nil)
		}
	}
	if err == nil && len(c.group.buf) > 0 { // readers come after the outcomes: see Log.Submit
		l.ring.push(c.group.buf, c.first, c.last+1)
	}
	return true
}

// commit makes the group durable and visible, or says why not.
func (l *Log) commit() error {
	c := &l.c
	if err := l.Err(); err != nil {
		return err
	}
	buf := c.group.buf
	if len(buf) == 0 {
		return nil // nothing but batches that could not be taken
	}
	if err := l.roomFor(len(buf)); err != nil {
		return err
	}
	if c.file == nil || c.seg.size+int64(len(buf)) > l.o.SegmentBytes && !c.seg.empty() {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	first, last := c.number()
	if err := writeAll(c.file, buf, c.seg.size); err != nil {
		return l.cutBack(err)
	}
	if err := c.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("flush %s: %w", c.seg.name, err))
	}
	c.last = last
	l.cat.grow(c.seg, int64(len(buf)), first, last)
	c.first = first
	return nil
}

// roomFor refuses a write that would leave others less than ReserveBytes, before
// anything is written.
func (l *Log) roomFor(n int) error {
	free, err := l.dir.Free()
	if err != nil {
		return fmt.Errorf("log: how much space is left: %w", err)
	}
	l.c.free = int64(min(free, 1<<63-1))                           //nolint:gosec // it fits now
	if need := uint64(l.o.ReserveBytes) + uint64(n); free < need { //nolint:gosec // both are positive
		return fmt.Errorf("%w: %d bytes are free, %d are kept for the rest of the broker", store.ErrFull, free, l.o.ReserveBytes)
	}
	return nil
}

// number fills in the heads of the group's frames and answers its first and last
// number. A number is used up even if the write fails.
func (c *committer) number() (first, last store.Seq) {
	first = c.next
	buf, bs := c.group.buf, c.group.batches
	for i := range bs {
		b, end := &bs[i], len(buf)
		if b.err != nil {
			continue
		}
		if i+1 < len(bs) {
			end = bs[i+1].off
		}
		b.first = c.next
		c.next += store.Seq(b.count)                                                                //nolint:gosec // at most store.BatchRecordsMax
		finishFrame(buf[b.off:end], c.seg.marker, frameBatch, uint32(c.seg.size), b.first, b.count) //nolint:gosec // a segment is under 4 GiB
	}
	return first, c.next - 1
}

// cutBack takes back a write that failed, so that the file ends with the last
// durable batch. The segment is not written again: its numbers would no longer be
// consecutive.
func (l *Log) cutBack(cause error) error {
	c := &l.c
	if err := c.file.Truncate(c.seg.size); err != nil {
		return l.fail(fmt.Errorf("cut %s back after %w: %w", c.seg.name, cause, err))
	}
	if err := c.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("flush %s after %w: %w", c.seg.name, cause, err))
	}
	_ = c.file.Close() // everything in it is durable
	c.file = nil
	return explain(fmt.Errorf("write %s: %w", c.seg.name, cause))
}

// explain adds ErrFull to what the system says when there is no space.
func explain(err error) error {
	if noSpace(err) {
		return fmt.Errorf("log: %w: %w", store.ErrFull, err)
	}
	return fmt.Errorf("log: %w", err)
}

// errFlush marks a flush that failed on the way to a new segment.
var errFlush = errors.New("flush")

// rotate begins a new segment. It gets its name when its header is on disk, so
// that a header that cannot be read is always damage.
func (l *Log) rotate() error {
	c := &l.c
	if c.next > seqMax-jump {
		return l.fail(errors.New("there are no more sequence numbers"))
	}
	if err := l.saveID(); err != nil {
		return l.flushed(err)
	}
	h := header{log: c.id, first: c.next, follows: c.last}
	name := segmentName(h.first)
	f, err := l.writeNew(name, h.append(nil))
	if err != nil {
		return l.flushed(fmt.Errorf("begin segment %s: %w", name, err))
	}
	if c.file != nil {
		_ = c.file.Close() // everything in it is durable
	}
	c.file = f
	c.seg = &segment{name: name, marker: markerOf(c.id, h.first), first: h.first, follows: h.follows, last: h.first - 1, size: headerBytes}
	if old := l.cat.add(c.seg); old != nil && old.empty() && old.follows == c.seg.follows { // a write failed before there was anything in it, and nothing was lost from it
		if l.dir.Remove(old.name) == nil { // otherwise the next Open removes it
			l.cat.remove(old)
		}
	}
	return nil
}

// saveID writes the second copy of the log's id once.
func (l *Log) saveID() error {
	c := &l.c
	if c.saved {
		return nil
	}
	f, err := l.writeNew(idName, c.id[:])
	if err != nil {
		return fmt.Errorf("write %s: %w", idName, err)
	}
	c.saved = true
	return f.Close()
}

// writeNew makes a file that is complete and on disk before it has its name.
func (l *Log) writeNew(name string, content []byte) (disk.File, error) {
	temporary := name + newSuffix
	f, err := l.dir.Create(temporary)
	if err != nil {
		return nil, err
	}
	err = writeAll(f, content, 0)
	if err == nil {
		if serr := f.Sync(); serr != nil {
			err = fmt.Errorf("%w: %w", errFlush, serr)
		}
	}
	if err == nil {
		err = l.dir.Rename(temporary, name)
	}
	if err != nil {
		_ = f.Close()
		_ = l.dir.Remove(temporary) // otherwise the next attempt fails, and the next Open removes it
		return nil, err
	}
	if serr := l.dir.Sync(); serr != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %w", errFlush, serr)
	}
	return f, nil
}

// flushed makes a failed flush a fail-stop and any other error the group's.
func (l *Log) flushed(err error) error {
	if errors.Is(err, errFlush) {
		return l.fail(err)
	}
	return explain(err)
}

// fail stops the log for good. The kernel reports a failed flush once and then
// forgets which pages it lost, so that a second flush that succeeds proves
// nothing.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", store.ErrFailed, cause)
	if l.failure.CompareAndSwap(nil, &err) {
		return err
	}
	return l.Err()
}

// seal ends the newest segment cleanly, so that the next Open need not doubt it.
func (l *Log) seal() error {
	c := &l.c
	if c.seg == nil { // nothing was written
		return l.Err()
	}
	f := c.file
	if f == nil { // a write failed and none came after it
		var err error
		if f, err = l.dir.Open(c.seg.name, true); err != nil {
			return fmt.Errorf("log: seal %s: %w", c.seg.name, err)
		}
	}
	c.file = nil
	defer func() { _ = f.Close() }()
	if err := l.Err(); err != nil {
		return err
	}
	if err := writeAll(f, appendSeal(nil, c.seg.marker, c.seg.size, c.next, c.last), c.seg.size); err != nil {
		return fmt.Errorf("log: seal %s: %w", c.seg.name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("log: seal %s: %w", c.seg.name, err)
	}
	return nil
}
