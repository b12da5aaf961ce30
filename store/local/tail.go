package local

import (
	"context"
	"errors"
	"io/fs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// Tail is Log.Tail. It runs in the caller's goroutine, and holds one open file
// and about windowBytes while it reads the disk.
func (l *Log) Tail(ctx context.Context, sh store.ShardID, from store.Seq, fn func(first store.Seq, recs []store.Record) error) error {
	if sh != 0 {
		return store.ErrShard
	}
	t := tail{l: l, ctx: ctx, from: from, fn: fn}
	defer t.leave()
	for {
		if err := t.turn(); err != nil {
			return err
		}
	}
}

// tail is one reader.
type tail struct {
	l    *Log
	ctx  context.Context //nolint:containedctx // it is the argument of the one call this value lives for
	from store.Seq       // wanted next
	fn   func(store.Seq, []store.Record) error

	recs []store.Record // used again for every batch
	buf  []byte         // from the ring
	near bool           // it was given something by the ring, or waited for it

	// The segment being read.
	w    window
	f    disk.File
	off  int64     // of the frame to read next
	seq  store.Seq // no record before it is at off or later; 0 if not known
	mark marker
}

// ended is why the reader must stop, if so.
func (t *tail) ended() error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	select {
	case <-t.l.queue.closing:
		return store.ErrClosed
	default:
		return nil
	}
}

// turn delivers some batches, or waits for more.
func (t *tail) turn() error {
	if err := t.ended(); err != nil {
		return err
	}
	if first, _ := t.l.cat.bounds(); t.from < first {
		return store.ErrTrimmed
	}
	if out, ok := t.l.ring.copyOut(t.buf, t.from, windowBytes); ok {
		t.buf, t.near = out, true
		t.leave()
		return t.fromRing(out)
	}
	if more := t.l.ring.wait(t.from); more != nil {
		t.near = true
		t.leave()
		select {
		case <-more:
		case <-t.ctx.Done():
		case <-t.l.queue.closing:
		}
		return nil
	}
	if t.near {
		t.near = false
		t.l.ring.tooShort(t.from)
	}
	return t.fromDisk()
}

// fromRing delivers frames that were right when they were written.
func (t *tail) fromRing(frames []byte) error {
	for len(frames) > 0 {
		n := frameLength(frames)
		f := splitFrame(frames[:n])
		frames = frames[n:]
		if err := t.deliver(&f, "the memory of the log", 0); err != nil {
			return err
		}
	}
	if cap(t.buf) > 2*windowBytes { // one large message must not be held for ever
		t.buf = nil
	}
	return nil
}

// fromDisk delivers what one window of a segment holds.
func (t *tail) fromDisk() error {
	r, err := t.l.cat.find(t.from)
	if err != nil {
		return err
	}
	if r.seg.name == "" || r.stop != 0 && r.seg.first > r.stop {
		t.from = max(t.from, r.stop)
		if r.stop == 0 {
			return &store.DamageError{Segment: "(none)", Err: errors.New("BUG: a record is durable and in no segment")}
		}
		return nil
	}
	if err := t.enter(&r); err != nil {
		if errors.Is(err, fs.ErrNotExist) && t.trimmed() {
			return nil // the next turn says so
		}
		return err
	}
	shown := t.l.ring.shown() // what is later is durable, but its outcome was not told yet
	for end := t.off + windowBytes; t.off < end && t.off < t.w.size; {
		f, _, ok, err := t.w.frameAt(t.off, t.mark)
		if err != nil {
			return err
		}
		if !ok {
			return &store.DamageError{Segment: t.w.name, Offset: t.off}
		}
		if f.kind == frameBatch && f.first >= shown {
			break
		}
		if f.kind == frameSeal || r.stop != 0 && f.first > r.stop && t.from <= r.stop {
			if f.kind != frameSeal {
				t.from = r.stop
			}
			break
		}
		at := t.off
		t.off += f.size()
		t.seq = f.next()
		if err := t.deliver(&f, t.w.name, at); err != nil {
			return err
		}
	}
	if cap(t.w.buf) > 2*windowBytes {
		t.w.buf = nil
	}
	return nil
}

// trimmed tells whether the wanted record was let go of meanwhile.
func (t *tail) trimmed() bool {
	first, _ := t.l.cat.bounds()
	return t.from < first
}

// enter opens the segment, or goes on in the one that is open.
func (t *tail) enter(r *reach) error {
	if t.f != nil && t.w.name == r.seg.name {
		t.w.size = r.seg.size
		if t.seq == 0 || t.seq > t.from || t.off < r.off { // otherwise what is wanted is further on
			t.off, t.seq = r.off, 0
		}
		return nil
	}
	t.leave()
	f, err := t.l.dir.Open(r.seg.name, false)
	if err != nil {
		return &store.DamageError{Segment: r.seg.name, Err: err}
	}
	t.f, t.off, t.seq, t.mark = f, r.off, 0, r.seg.marker
	t.w = window{name: r.seg.name, f: f, size: r.seg.size, buf: t.w.buf[:0]}
	return nil
}

// leave closes the file, if any: who has caught up holds none, and a segment
// that was dropped gives its space back.
func (t *tail) leave() {
	if t.f != nil {
		_ = t.f.Close() // it was only read
		t.f, t.w.f, t.w.buf = nil, nil, nil
	}
}

// deliver gives one frame's records from t.from on to the reader.
func (t *tail) deliver(f *frame, segment string, off int64) error {
	if f.next() <= t.from {
		return nil
	}
	if err := t.ended(); err != nil {
		return err
	}
	recs, err := decodeBatch(t.recs[:0], f)
	if err != nil {
		return &store.DamageError{Segment: segment, Offset: off, Err: err}
	}
	t.recs = recs
	first := f.first
	if first < t.from {
		recs = recs[t.from-first:]
		first = t.from
	}
	t.from = f.next()
	return t.fn(first, recs)
}
