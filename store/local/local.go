// Package local is the log of a node on its own: one shard, in segment files that
// are only ever appended to. One goroutine writes. It takes everything that waits,
// writes it with one system call, flushes once, and then tells everybody; while it
// does, the next group collects. The more wait, the less a flush costs each.
//
// It is not a cache and not an index: a reader that keeps up is served from a
// bounded ring of the last writes, any other from the files. It reads no
// configuration and raises no alarm: Open answers a Report, and what goes wrong
// later goes to whoever asked.
//
// Rules: docs/adr/0007-log-format.md; reliability rows; A191.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// Options are how a log is run; the zero value of each field is its default.
// Changing them never changes what is on disk already.
type Options struct {
	// SegmentBytes is where a segment ends and the next begins. Whole segments are
	// what Trim gives back. Default 64 MiB, range 4 KiB to 1 GiB.
	SegmentBytes int64
	// QueueBytes bounds what waits for the committer, and with it one write; as much
	// again may be on its way to the disk. One batch that is larger is taken when
	// nothing else waits. Default 8 MiB, range 4 KiB to 256 MiB.
	QueueBytes int
	// QueueRecords bounds the same in records. Default 65,536, range 1 to 524,288.
	QueueRecords int
	// RingBytes bounds the memory of the last writes, from which readers who keep up
	// are served. Default 4 MiB, range 4 KiB to 1 GiB.
	RingBytes int
	// ReserveBytes is the space on disk that the log never uses, so that the view, the
	// audit log and the operator's files can still be written when it is full.
	// Default 64 MiB; negative means none.
	ReserveBytes int64

	// Progress is told, while Open reads the log, how many bytes of how many were read.
	// nil: nobody is.
	Progress func(done, total int64)
	// Clock measures commits for Observe, and what waits; nil measures nothing.
	Clock clock.Clock
	// Observe is called after every group commit, in the committer's goroutine: it
	// must not block.
	Observe func(Commit)
	// Room is called, in the committer's goroutine, when Submit has answered false
	// and would now take something: it must not block.
	Room func()
}

// judge fills in the defaults and refuses what is out of range.
func (o *Options) judge() error {
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 64<<20)
	o.QueueBytes = cmp.Or(o.QueueBytes, 8<<20)
	o.QueueRecords = cmp.Or(o.QueueRecords, 65536)
	o.RingBytes = cmp.Or(o.RingBytes, 4<<20)
	for _, n := range []struct {
		name          string
		value, lo, hi int64
	}{
		{"SegmentBytes", o.SegmentBytes, 4 << 10, 1 << 30},
		{"QueueBytes", int64(o.QueueBytes), 4 << 10, 256 << 20},
		{"QueueRecords", int64(o.QueueRecords), 1, jump / 2},
		{"RingBytes", int64(o.RingBytes), 4 << 10, 1 << 30},
	} {
		if n.value < n.lo || n.value > n.hi {
			return fmt.Errorf("log: %s is %d, want %d to %d", n.name, n.value, n.lo, n.hi)
		}
	}
	switch {
	case o.ReserveBytes == 0:
		o.ReserveBytes = 64 << 20
	case o.ReserveBytes < 0:
		o.ReserveBytes = 0
	}
	return nil
}

// Log is a store.Log in one folder.
type Log struct {
	dir     disk.Dir
	o       Options
	release func()

	queue   queue
	cat     catalogue
	ring    ring
	trimmer trimmer
	picked  pickedCache
	failure atomic.Pointer[error]

	c committer // owned by the committer's goroutine

	stopped  chan struct{} // closed by the committer's goroutine, last
	closeErr error         // written before stopped is closed
}

var _ store.Log = (*Log)(nil)

// Open opens the log in the folder path, which is made if it is missing, repairs
// what a crash or a bad disk left, and starts the committer. It refuses, with a
// sentence, a folder in use, one of a newer program, and one that it could not
// repair without guessing.
func Open(path string, o Options) (*Log, *Report, error) {
	dir, err := disk.OpenDir(path)
	if err != nil {
		return nil, nil, err
	}
	return OpenOn(dir, o)
}

// OpenOn is Open on a folder of any file system.
func OpenOn(dir disk.Dir, o Options) (*Log, *Report, error) {
	l, rep, err := open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	go l.run()
	return l, rep, nil
}

// open is everything but the goroutine.
func open(dir disk.Dir, o Options) (*Log, *Report, error) {
	if err := o.judge(); err != nil {
		return nil, nil, err
	}
	release, err := dir.Lock()
	if err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	r, err := recoverDir(dir, false, o.Progress)
	if err != nil {
		release()
		return nil, nil, err
	}
	l := &Log{dir: dir, o: o, release: release, stopped: make(chan struct{})}
	l.queue = queue{recordsMax: o.QueueRecords, bytesMax: o.QueueBytes, wake: make(chan struct{}, 1), closing: make(chan struct{}), clock: o.Clock}
	l.cat = catalogue{segs: r.segs, missing: r.report.Missing, last: r.last}
	l.ring = ring{bytesMax: o.RingBytes, next: r.last + 1}
	l.c = committer{id: r.id, saved: r.saved, last: r.last, next: r.next}
	return l, r.report, nil
}

// run is the committer's goroutine. Close ends it and waits for it.
func (l *Log) run() {
	for {
		for l.step() {
		}
		select {
		case <-l.queue.wake:
		case <-l.queue.closing:
			l.finish()
			return
		}
	}
}

// finish settles what is left and lets go of the folder.
func (l *Log) finish() {
	for l.step() {
	}
	l.closeErr = l.seal()
	l.release()
	close(l.stopped)
}

// Close is Log.Close; its error says why the log is not sealed.
func (l *Log) Close() error {
	if !l.queue.close() {
		<-l.stopped
		return nil
	}
	<-l.stopped
	return l.closeErr
}

// Waiting is how long the oldest batch has waited for the disk that is not decided yet;
// 0: none waits, or there is no Options.Clock.
func (l *Log) Waiting(now time.Time) time.Duration {
	since := l.queue.oldest()
	if since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since))
}

// Held is the memory of what waits, was written last, and was read last, in bytes.
func (l *Log) Held() (bytes int64) {
	l.queue.mu.Lock()
	bytes = int64(cap(l.queue.filling.buf))
	l.queue.mu.Unlock()
	l.ring.mu.Lock()
	bytes += int64(cap(l.ring.buf))
	l.ring.mu.Unlock()
	l.picked.mu.Lock()
	defer l.picked.mu.Unlock()
	return bytes + int64(l.picked.bytes)
}

// Shards is 1.
func (l *Log) Shards() int { return 1 }

// Submit is Log.Submit.
func (l *Log) Submit(sh store.ShardID, recs []store.Record, done func(first store.Seq, err error)) bool {
	if err := judge(sh, recs); err != nil {
		return l.queue.submit(nil, err, done)
	}
	return l.queue.submit(recs, nil, done)
}

// judge says why a batch cannot be taken.
func judge(sh store.ShardID, recs []store.Record) error {
	switch {
	case sh != 0:
		return store.ErrShard
	case len(recs) == 0:
		return store.ErrInvalid
	case len(recs) > store.BatchRecordsMax:
		return store.ErrTooLarge
	}
	size := 0
	for i := range recs {
		if !recs[i].Valid() {
			return store.ErrInvalid
		}
		if size += recs[i].EncodedMax(); size > batchBytesMax {
			return store.ErrTooLarge
		}
	}
	return nil
}

// Bounds is Log.Bounds.
func (l *Log) Bounds(_ context.Context, sh store.ShardID) (first, last store.Seq, err error) {
	if sh != 0 {
		return 0, 0, store.ErrShard
	}
	first, last = l.cat.bounds()
	return first, last, nil
}

// Err is nil, or why the log has failed for good: then it is store.ErrFailed.
func (l *Log) Err() error {
	if p := l.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// trimmer removes files, one Trim at a time.
type trimmer struct {
	mu     sync.Mutex // guards all below, and the removing
	doomed []string   // forgotten already; what could not be removed is tried again
}

// Trim is Log.Trim. It removes whole segments, oldest first, each for good before
// the next: after a power cut the log must not have a hole.
func (l *Log) Trim(ctx context.Context, sh store.ShardID, below store.Seq) error {
	if sh != 0 {
		return store.ErrShard
	}
	t := &l.trimmer
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doomed = append(t.doomed, l.cat.trim(below)...)
	for len(t.doomed) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.dir.Remove(t.doomed[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log: drop segment: %w", err)
		}
		if err := l.dir.Sync(); err != nil {
			return l.fail(fmt.Errorf("flush the folder: %w", err))
		}
		t.doomed = t.doomed[1:]
	}
	return nil
}
