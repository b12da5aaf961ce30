package view

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// batchBytes is how much is collected before Pebble is given it, in bytes. Nothing is
// lost by waiting: without a log of its own, Pebble keeps nothing after a crash that it
// did not flush.
const batchBytes = 128 << 10

// rows writes the index. What is applied collects in a batch that always ends with the
// position it is good for; whoever reads commits it first.
type rows struct {
	ix   *index
	open *openBlocks

	mu       sync.Mutex // guards everything below. It is taken before openBlocks.mu
	batch    *pebble.Batch
	at       position // of what was written, in batch or before
	dirty    bool     // at is not in the index
	failure  error    // of a commit: nothing is written after it
	guards   guards
	early    *early // nil: Sessions reads the rows
	subs     int
	groups   *groups
	bodies   bodies
	touched  []touched
	retained retained
	authors  *authors
	key, val []byte // scratch

	// What is asked for without mu, because who holds it may wait for the disk.
	asked struct {
		reached         atomic.Uint64
		messages, bytes atomic.Int64 // of retained messages
	}
}

func newRows(ix *index, open *openBlocks) *rows {
	return &rows{ix: ix, open: open, batch: ix.db.NewBatch(), groups: newGroups(), retained: retained{known: make(map[string]retainedRow)}, authors: &authors{changed: make(map[int]struct{})}}
}

// write adds the rows of a batch of records; marks are the positions after each.
func (r *rows) write(items []Item, marks []position) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.groups.expect(len(items), func(i int) *store.Record { return items[i].Record }, r.said); err != nil {
		return err
	}
	for i := range items {
		seq := marks[i].seq
		if items[i].Outcome == Applied { // first: it commits what is before, and what it removes must be in one batch with the record
			if err := r.expireRetained(r.at.seq, seq, items[i].Record.At); err != nil {
				return err
			}
		}
		if first := marks[i].part.first; first != r.at.part.first {
			if err := r.closeParts(first); err != nil {
				return err
			}
		}
		if err := r.record(seq, &items[i]); err != nil {
			return err
		}
		r.at, r.dirty = marks[i], true
		if r.batch.Len() >= batchBytes {
			if err := r.commitLocked(); err != nil {
				return err
			}
		}
	}
	r.publishRetained()
	return nil
}

// record adds the rows of one record.
func (r *rows) record(seq store.Seq, item *Item) error {
	rec := item.Record
	if item.Outcome != Applied {
		if item.Message != nil { // needed to make the open part again
			r.key = appendNumberKey(r.key[:0], tableSkipped, uint64(seq))
			return r.batch.Set(r.key, nil, nil)
		}
		return nil
	}
	switch rec.Kind {
	case store.Retain:
		return r.retain(seq, rec, item.Message)
	case store.Unretain:
		return r.unretain(item.Message)
	case store.Config, store.User, store.Rule, store.Ban, store.Key:
		return r.value(rec)
	case store.Delay, store.DelayEnd:
		return r.delayed(seq, rec)
	case store.Message, store.Hash: // postings are in memory until their part closes
		return nil
	}
	if err := r.share(seq, rec); err != nil {
		return err
	}
	if rec.Kind == store.ShareJoin || rec.Kind == store.ShareLeave || rec.Kind == store.ShareAck {
		return nil
	}
	return r.session(seq, rec)
}

// set writes a value of two parts without putting them together first: a body may be
// large.
func (r *rows) set(key, head, body []byte) error {
	d := r.batch.SetDeferred(len(key), len(head)+len(body))
	copy(d.Key, key)
	copy(d.Value[copy(d.Value, head):], body)
	return d.Finish()
}

func (r *rows) value(rec *store.Record) error {
	var v fact.Value
	if err := v.Decode(rec.Body); err != nil {
		return err
	}
	r.key = appendValueKey(r.key[:0], rec.Kind, v.Name)
	if v.Gone {
		return r.batch.Delete(r.key, nil)
	}
	return r.batch.Set(r.key, v.Content, nil)
}

// closeParts writes the postings of the parts before the one that begins with first, in
// order, and takes them out of memory. If the process ends before the position that says
// so is on disk, they are deleted, made and written again.
func (r *rows) closeParts(first store.Seq) error {
	blocks := r.open.before(first)
	if len(blocks) == 0 {
		return nil
	}
	var ids []fact.FilterID
	for _, b := range blocks {
		ids = b.ids(ids[:0])
		for _, id := range ids {
			r.key, r.val = appendPartKey(r.key[:0], b.first, id), b.appendRow(r.val[:0], id)
			if err := r.batch.Set(r.key, r.val, nil); err != nil {
				return err
			}
			if r.batch.Len() >= batchBytes {
				if err := r.commitLocked(); err != nil {
					return err
				}
			}
		}
	}
	r.at.part, r.dirty = part{first: first}, true
	if err := r.commitLocked(); err != nil {
		return err
	}
	r.open.written(blocks)
	if r.open.bits < blockBitsDefault { // a test's
		return nil
	}
	// With the part on disk the next Open reads the log from the new part on only.
	_, err := r.ix.db.AsyncFlush()
	return err
}

// commit hands over what has collected.
func (r *rows) commit() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commitLocked()
}

// commitLocked is commit for who holds mu.
func (r *rows) commitLocked() error {
	if r.failure != nil {
		return r.failure
	}
	if !r.dirty && r.batch.Empty() {
		return nil
	}
	r.key, r.val = appendTable(r.key[:0], tableApplied), r.at.append(r.val[:0])
	if err := r.batch.Set(r.key, r.val, nil); err != nil {
		return r.fail(err)
	}
	r.key, r.val = appendTable(r.key[:0], tableCounts), r.appendCounts(r.val[:0])
	if err := r.batch.Set(r.key, r.val, nil); err != nil {
		return r.fail(err)
	}
	if err := r.writeAuthors(); err != nil {
		return r.fail(err)
	}
	if err := r.ix.db.Apply(r.batch, pebble.NoSync); err != nil {
		return r.fail(err)
	}
	r.batch.Reset()
	r.dirty = false
	clear(r.retained.known)
	return nil
}

// fail stops the writing: a batch that was half handed over must not be followed by
// another.
func (r *rows) fail(err error) error {
	r.failure = err
	r.ix.fail(err)
	return err
}
