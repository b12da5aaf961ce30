package view

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Limits ask how much one identity has of what all share: retained messages, and messages
// that were rescued. That is summed by places, which do not grow in number: those whose names
// end in the same bits have one sum, so it never says too little.

// authorPlaces is how many places there are: 384 KiB, and one row for each that has something.
const authorPlaces = 1 << 14

// placeOf is where the sums of an author are.
func placeOf(id fact.AuthorID) int { return int(id & (authorPlaces - 1)) } //nolint:gosec // a few bits

// authors are the sums. They are changed with rows.mu locked and read by anybody.
type authors struct {
	messages, bytes [authorPlaces]atomic.Int64 // retained: how many, and the bytes of their bodies
	rescued         [authorPlaces]atomic.Int64 // bytes as Rescued counts them

	// Guarded by rows.mu.
	changed map[int]struct{} // places whose retained messages have a row that is not what it says here
}

// RetainedBy is how many messages are retained that those of an author's place have
// published, and the bytes of their records. It waits for nothing.
func (v *View) RetainedBy(id fact.AuthorID) (messages int, bytes int64) {
	a, at := v.rows.authors, placeOf(id)
	return int(a.messages[at].Load()), a.bytes[at].Load()
}

// RescuedBy is about how many bytes were rescued of what those of an author's place have
// published. It waits for nothing.
func (v *View) RescuedBy(id fact.AuthorID) (bytes int64) {
	return v.rows.authors.rescued[placeOf(id)].Load()
}

// retained counts a retained message in, or with sign -1 out. Who it is of is in its record;
// records of before there was this are of nobody.
func (a *authors) retained(row *retainedRow, sign int64) {
	if row.by == 0 {
		return
	}
	at := placeOf(row.by)
	a.messages[at].Add(sign)
	a.bytes[at].Add(sign * row.bytes)
	a.changed[at] = struct{}{}
}

// The rows of tableAuthors are one for each place that has something, and one behind them
// that says which position they are good for: a program that knew nothing of them has left
// them as they were.
const authorBytes = 16

func appendAuthorsKey(dst []byte, at int) []byte {
	return appendNumberKey(dst, tableAuthors, uint64(at)) //nolint:gosec // a place
}

// writeAuthors adds the rows that have changed to the batch.
func (r *rows) writeAuthors() error {
	a := r.authors
	for at := range a.changed {
		if err := r.writeAuthor(r.batch, at); err != nil {
			return err
		}
	}
	clear(a.changed)
	r.key, r.val = appendAuthorsKey(r.key[:0], authorPlaces), binary.BigEndian.AppendUint64(r.val[:0], uint64(r.at.seq))
	return r.batch.Set(r.key, r.val, nil)
}

func (r *rows) writeAuthor(b *pebble.Batch, at int) error {
	messages, bytes := r.authors.messages[at].Load(), r.authors.bytes[at].Load()
	r.key = appendAuthorsKey(r.key[:0], at)
	if messages == 0 && bytes == 0 {
		return b.Delete(r.key, nil)
	}
	r.val = binary.BigEndian.AppendUint64(r.val[:0], uint64(messages)) //nolint:gosec // as bits
	r.val = binary.BigEndian.AppendUint64(r.val, uint64(bytes))        //nolint:gosec // as bits
	return b.Set(r.key, r.val, nil)
}

// loadAuthors reads what writeAuthors wrote; false if that is not of the position that the
// rows are of.
func (r *rows) loadAuthors() (known bool, err error) {
	lower, upper := tableBounds(tableAuthors)
	err = r.ix.scan(lower, upper, func(key, value []byte) error {
		if len(key) != prefixBytes+8 {
			return errRow
		}
		at := binary.BigEndian.Uint64(key[prefixBytes:])
		switch {
		case at == authorPlaces && len(value) == 8:
			known = store.Seq(binary.BigEndian.Uint64(value)) == r.at.seq
		case at < authorPlaces && len(value) == authorBytes:
			r.authors.messages[at].Store(int64(binary.BigEndian.Uint64(value)))  //nolint:gosec // as bits
			r.authors.bytes[at].Store(int64(binary.BigEndian.Uint64(value[8:]))) //nolint:gosec // as bits
		default:
			return errRow
		}
		return nil
	})
	return known, err
}

// forgetAuthors begins to count anew. Only what is not 0 is written: a new store comes by
// here, too, and the race detector keeps two kilobytes for each word that was stored.
func (r *rows) forgetAuthors(b *pebble.Batch) error {
	for at := range r.authors.messages {
		for _, sum := range []*atomic.Int64{&r.authors.messages[at], &r.authors.bytes[at]} {
			if sum.Load() != 0 {
				sum.Store(0)
			}
		}
	}
	clear(r.authors.changed)
	lower, upper := tableBounds(tableAuthors)
	return b.DeleteRange(lower, upper, nil)
}

// rescuedBy counts rescued bytes of an author, or fewer, and writes how many there are.
func (r *rows) rescuedBy(at int, bytes int64) error {
	sum := r.authors.rescued[at].Add(bytes)
	r.key = appendNumberKey(r.key[:0], tableKeptBy, uint64(at)) //nolint:gosec // a place
	if sum == 0 {
		return r.batch.Delete(r.key, nil)
	}
	r.val = binary.BigEndian.AppendUint64(r.val[:0], uint64(sum)) //nolint:gosec // as bits
	return r.batch.Set(r.key, r.val, nil)
}

// loadRescuedBy reads what rescuedBy wrote.
func (r *rows) loadRescuedBy() error {
	lower, upper := tableBounds(tableKeptBy)
	return r.ix.scan(lower, upper, func(key, value []byte) error {
		if len(key) != prefixBytes+8 || len(value) != 8 {
			return errRow
		}
		at := binary.BigEndian.Uint64(key[prefixBytes:])
		if at >= authorPlaces {
			return errRow
		}
		r.authors.rescued[at].Store(int64(binary.BigEndian.Uint64(value))) //nolint:gosec // as bits
		return nil
	})
}
