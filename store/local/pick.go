package local

import (
	"container/list"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// Pick calls fn for the batch that holds each of the numbers, which ascend, as Tail
// would: for readers who want few records here and there. A batch that holds several is
// given once. fn must not keep recs or the bodies, and must not change them: others may
// be given the same.
//
// Errors are those of Tail; what could not be had begins at the first number that fn was
// not called for.
func (l *Log) Pick(ctx context.Context, sh store.ShardID, seqs []store.Seq, fn func(first store.Seq, recs []store.Record) error) error {
	if sh != 0 {
		return store.ErrShard
	}
	p := picker{l: l}
	defer p.leave()
	for len(seqs) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := p.find(seqs[0])
		if err != nil {
			return err
		}
		if err := fn(b.first, b.recs); err != nil {
			return err
		}
		for len(seqs) > 0 && seqs[0] < b.first+store.Seq(len(b.recs)) {
			seqs = seqs[1:]
		}
	}
	return nil
}

// pickBytes is how much is read at once on the way to a batch, in bytes: the next place
// that a segment remembers is not further.
const pickBytes = indexEvery

var pickBuffers = sync.Pool{New: func() any { b := make([]byte, 0, pickBytes); return &b }}

// picker is one Pick.
type picker struct {
	l   *Log
	w   window
	f   disk.File
	buf *[]byte
	off int64     // in the open segment: of a frame
	seq store.Seq // and its first number; 0: not known
}

// find answers the batch that holds a number.
func (p *picker) find(seq store.Seq) (*picked, error) {
	r, err := p.l.cat.find(seq)
	switch {
	case err != nil:
		return nil, err
	case r.seg.name == "" || r.stop != 0 && r.stop <= seq || r.seg.first > seq:
		return nil, &store.MissingError{Range: store.Range{First: seq, Last: seq}} // a number that was never given out
	}
	if b := p.l.picked.get(seq); b != nil { // before a file is opened, and read to find out where in it the batch is
		return b, nil
	}
	if p.f == nil || p.w.name != r.seg.name {
		if err := p.enter(&r); err != nil {
			return nil, err
		}
	}
	p.w.size = r.seg.size
	if p.seq == 0 || p.seq > seq || p.off < r.off {
		p.off = r.off
	}
	for p.off < p.w.size {
		head, err := p.w.at(p.off, frameBytes)
		if err != nil {
			return nil, err
		}
		if head == nil {
			break
		}
		f := splitFrame(head)
		if f.kind != frameBatch || f.next() > seq {
			break
		}
		p.off += frameLength(head)
	}
	return p.take(seq, r.seg.marker)
}

// take reads the frame at p.off, which must hold the number.
func (p *picker) take(seq store.Seq, mark marker) (*picked, error) {
	_, raw, ok, err := p.w.frameAt(p.off, mark)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &store.DamageError{Segment: p.w.name, Offset: p.off}
	}
	own := append([]byte(nil), raw...)
	f := splitFrame(own)
	if f.first > seq { // left out between two frames
		return nil, &store.MissingError{Range: store.Range{First: seq, Last: seq}}
	}
	recs, err := decodeBatch(nil, &f)
	if err != nil {
		return nil, &store.DamageError{Segment: p.w.name, Offset: p.off, Err: err}
	}
	b := &picked{first: f.first, recs: recs, bytes: len(own) + len(recs)*recordBytes}
	p.l.picked.put(b)
	p.seq = f.first
	return b, nil
}

// enter opens a segment.
func (p *picker) enter(r *reach) error {
	p.leave()
	f, err := p.l.dir.Open(r.seg.name, false)
	if err != nil {
		if first, _ := p.l.cat.bounds(); errors.Is(err, fs.ErrNotExist) && r.seg.last < first {
			return store.ErrTrimmed
		}
		return &store.DamageError{Segment: r.seg.name, Err: err}
	}
	p.f, p.seq = f, 0
	p.buf = pickBuffers.Get().(*[]byte)
	p.w = window{name: r.seg.name, f: f, size: r.seg.size, buf: (*p.buf)[:0], reach: pickBytes}
	return nil
}

func (p *picker) leave() {
	if p.f == nil {
		return
	}
	_ = p.f.Close() // it was only read
	if cap(p.w.buf) <= 4*pickBytes {
		*p.buf = p.w.buf[:0]
		pickBuffers.Put(p.buf)
	}
	p.f, p.w = nil, window{}
}

// picked is one batch, read and found right.
type picked struct {
	first store.Seq
	recs  []store.Record
	bytes int
}

// recordBytes is about what a decoded record takes beside its body.
const recordBytes = 80

// next is the number after its last.
func (b *picked) next() store.Seq { return b.first + store.Seq(len(b.recs)) }

// pickedBytesMax bounds the batches that are kept for the next reader, in bytes:
// sessions that come back together want the same ones.
const pickedBytesMax = 8 << 20

// pickedEach is how many numbers have one place in the cache, where all batches stand that have some
// of them.
const pickedEach = 64

// pickedCache is those batches, the least used of which go first. They are found by a number, and nothing
// is read for it: a number is one record's for good.
type pickedCache struct {
	mu    sync.Mutex // guards everything below
	at    map[store.Seq][]*list.Element
	order list.List // of *picked; the newest in front
	bytes int
}

// get answers the batch that holds seq, or nil.
func (c *pickedCache) get(seq store.Seq) *picked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(seq)
}

// find is get for who holds mu.
func (c *pickedCache) find(seq store.Seq) *picked {
	for _, e := range c.at[seq/pickedEach] {
		if b := e.Value.(*picked); b.first <= seq && seq < b.next() {
			c.order.MoveToFront(e)
			return b
		}
	}
	return nil
}

func (c *pickedCache) put(b *picked) {
	if b.bytes > pickedBytesMax/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.find(b.first) != nil { // somebody else read it meanwhile
		return
	}
	if c.at == nil {
		c.at = make(map[store.Seq][]*list.Element)
	}
	e := c.order.PushFront(b)
	for place := b.first / pickedEach; place <= (b.next()-1)/pickedEach; place++ {
		c.at[place] = append(c.at[place], e)
	}
	c.bytes += b.bytes
	for c.bytes > pickedBytesMax {
		c.forget(c.order.Back())
	}
}

// forget lets go of a batch.
func (c *pickedCache) forget(e *list.Element) {
	b := c.order.Remove(e).(*picked)
	for place := b.first / pickedEach; place <= (b.next()-1)/pickedEach; place++ {
		if left := slices.DeleteFunc(c.at[place], func(o *list.Element) bool { return o == e }); len(left) > 0 {
			c.at[place] = left
		} else {
			delete(c.at, place)
		}
	}
	c.bytes -= b.bytes
}
