package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// retained is what is known of the table of retained messages beside its rows. All of it
// but ids is in the row of tableCounts or follows from the rows.
type retained struct {
	messages int
	bytes    int64
	expires  int64 // no row expires before that, Unix milliseconds

	// known are rows of the batch that Pebble was not given yet.
	known   map[string]retainedRow
	message fact.Message // scratch
}

// retainedRow is what must be known of a row that goes or is replaced.
type retainedRow struct {
	seq     store.Seq // 0: there is none
	expires int64     // 0: never
	bytes   int64
	by      fact.AuthorID
}

// Every 64 numbers of the log, at most sweepMax retained messages go that have expired by
// the clock of whoever wrote the record at hand, before that counts. It is a rule and no record, so that
// every node that applies the log removes the same ones at the same record, and it takes
// away twice as many as so many records can bring and more.
const (
	sweepBits = 6
	sweepMax  = 256
)

// retain writes the row of a Retain record.
func (r *rows) retain(seq store.Seq, rec *store.Record, m *fact.Message) error {
	r.key = appendRetainedKey(r.key[:0], m.Topic)
	old, err := r.retainedRow(r.key)
	if err != nil {
		return err
	}
	if err := r.countOut(old, m.ExpiresAt, r.key); err != nil {
		return err
	}
	row := retainedRow{seq: seq, expires: m.ExpiresAt, bytes: int64(len(rec.Body)), by: m.By}
	r.retained.messages++
	r.retained.bytes += row.bytes
	r.authors.retained(&row, 1)
	r.retained.known[string(r.key)] = row
	if m.ExpiresAt != 0 {
		r.retained.expires = min(r.retained.expires, m.ExpiresAt)
		if err := r.batch.Set(appendExpiryKey(nil, m.ExpiresAt, r.key), nil, nil); err != nil {
			return err
		}
	}
	r.val = binary.BigEndian.AppendUint64(r.val[:0], uint64(seq))
	r.val = binary.BigEndian.AppendUint64(r.val, uint64(rec.At)) //nolint:gosec // as bits
	return r.set(r.key, r.val, rec.Body)
}

// unretain deletes the row of an Unretain record's topic, unless the record is for
// another message than the one that is there.
func (r *rows) unretain(m *fact.Message) error {
	r.key = appendRetainedKey(r.key[:0], m.Topic)
	old, err := r.retainedRow(r.key)
	if err != nil || old.seq == 0 || m.Only != 0 && m.Only != old.seq {
		return err
	}
	return r.dropRetained(r.key, old)
}

func (r *rows) dropRetained(key []byte, old retainedRow) error {
	if err := r.countOut(old, 0, key); err != nil {
		return err
	}
	r.retained.known[string(key)] = retainedRow{}
	return r.batch.Delete(key, nil)
}

// countOut takes a row out of the counts and out of the expiries, if the one in its place
// does not expire at the same time.
func (r *rows) countOut(old retainedRow, expires int64, key []byte) error {
	if old.seq == 0 {
		return nil
	}
	r.retained.messages--
	r.retained.bytes -= old.bytes
	r.authors.retained(&old, -1)
	if old.expires == 0 || old.expires == expires {
		return nil
	}
	return r.batch.Delete(appendExpiryKey(nil, old.expires, key), nil)
}

// retainedRow reads what there is of a topic. Whether there is a row decides what is
// counted, so it is asked for each retained message; a topic that is new costs a look
// into the filters of the tables.
func (r *rows) retainedRow(key []byte) (row retainedRow, err error) {
	if row, known := r.retained.known[string(key)]; known {
		return row, nil
	}
	value, closer, err := r.ix.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return row, nil
	}
	if err != nil {
		return row, err
	}
	defer func() { _ = closer.Close() }() // it was only read
	return r.decodeRetained(value)
}

func (r *rows) decodeRetained(value []byte) (row retainedRow, err error) {
	seq, _, body, err := splitRetained(value)
	if err != nil {
		return row, err
	}
	if err := r.retained.message.Decode(body); err != nil {
		return row, err
	}
	return retainedRow{seq: seq, expires: r.retained.message.ExpiresAt, bytes: int64(len(body)), by: r.retained.message.By}, nil
}

// expireRetained removes what has expired when a record was written, which has no rows
// yet: the batch so far is for the position before it, and is committed. before is the
// number of the record applied before it.
func (r *rows) expireRetained(before, seq store.Seq, at int64) error {
	if before>>sweepBits == seq>>sweepBits || at == 0 || at < r.retained.expires {
		return nil
	}
	if err := r.commitLocked(); err != nil {
		return err
	}
	_, upper := tableBounds(tableExpiry)
	lower := appendNumberKey(nil, tableExpiry, uint64(r.retained.expires)^1<<63) //nolint:gosec // as bits; not what was deleted, which Pebble would go through again each time
	var due [][]byte
	r.retained.expires = math.MaxInt64
	err := r.ix.scan(lower, upper, func(key, _ []byte) error {
		expires, _, err := splitExpiryKey(key)
		if err != nil {
			return err
		}
		if expires > at || len(due) == sweepMax {
			r.retained.expires = expires
			return errEnough
		}
		due = append(due, bytes.Clone(key))
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, key := range due {
		_, topic, _ := splitExpiryKey(key)
		r.key = append(appendTable(r.key[:0], tableRetained), topic...)
		old, err := r.retainedRow(r.key)
		if err != nil {
			return err
		}
		if old.seq == 0 { // never, while the two tables agree
			err = r.batch.Delete(key, nil)
		} else {
			err = r.dropRetained(r.key, old)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// appendCounts is the row of tableCounts: it holds for the position it names only.
func (r *rows) appendCounts(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.at.seq))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.retained.messages)) //nolint:gosec // a count
	return binary.BigEndian.AppendUint64(dst, uint64(r.retained.bytes))   //nolint:gosec // a sum
}

const countsBytes = 24

// loadRetained reads the counts. An index of format 1 has none and no expiries, and one of
// format 2 has none of authors: they are made, with one look at all retained messages.
func (r *rows) loadRetained() error {
	known := false
	lower, upper := tableBounds(tableCounts)
	err := r.ix.scan(lower, upper, func(_, value []byte) error {
		if len(value) != countsBytes {
			return errRow
		}
		known = store.Seq(binary.BigEndian.Uint64(value)) == r.at.seq
		r.retained.messages = int(binary.BigEndian.Uint64(value[8:])) //nolint:gosec // a count
		r.retained.bytes = int64(binary.BigEndian.Uint64(value[16:])) //nolint:gosec // a sum
		return nil
	})
	if err == nil {
		var authors bool
		authors, err = r.loadAuthors()
		known = known && authors
	}
	if err == nil && !known {
		err = r.countRetained()
	}
	if err != nil {
		return err
	}
	r.retained.expires = math.MaxInt64
	lower, upper = tableBounds(tableExpiry)
	err = r.ix.scan(lower, upper, func(key, _ []byte) (err error) {
		if r.retained.expires, _, err = splitExpiryKey(key); err == nil {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	r.publishRetained()
	return err
}

// countRetained makes the counts and the expiries. What it writes goes to Pebble on its
// own: a row of counts that was half made must not be taken for a whole one.
func (r *rows) countRetained() error {
	r.retained.messages, r.retained.bytes = 0, 0
	b := r.ix.db.NewBatch()
	lower, upper := tableBounds(tableExpiry)
	if err := b.DeleteRange(lower, upper, nil); err != nil {
		return err
	}
	if err := r.forgetAuthors(b); err != nil {
		return err
	}
	lower, upper = tableBounds(tableRetained)
	err := r.ix.scan(lower, upper, func(key, value []byte) error {
		row, err := r.decodeRetained(value)
		if err != nil {
			return err
		}
		r.retained.messages++
		r.retained.bytes += row.bytes
		r.authors.retained(&row, 1)
		if row.expires == 0 {
			return nil
		}
		err = b.Set(appendExpiryKey(nil, row.expires, key), nil, nil)
		if err == nil && b.Len() >= batchBytes {
			err = r.ix.db.Apply(b, pebble.NoSync)
			b.Reset()
		}
		return err
	})
	for at := range r.authors.changed {
		if err == nil {
			err = r.writeAuthor(b, at)
		}
	}
	clear(r.authors.changed)
	if err != nil {
		return err
	}
	return r.ix.db.Apply(b, pebble.NoSync)
}

// publishRetained tells whoever asks without waiting how far the rows are.
func (r *rows) publishRetained() {
	r.asked.messages.Store(int64(r.retained.messages))
	r.asked.bytes.Store(r.retained.bytes)
	r.asked.reached.Store(uint64(r.at.seq))
}

// RetainedCount is how many messages are retained and the bytes of their records, as of
// the rows. It waits for nothing.
func (v *View) RetainedCount() (messages int, bytes int64) {
	return int(v.rows.asked.messages.Load()), v.rows.asked.bytes.Load()
}

// Reached is the number of the newest record whose rows are written. It waits for nothing.
func (v *View) Reached() store.Seq { return store.Seq(v.rows.asked.reached.Load()) }

// RetainedRow is one retained message while a walk is at it.
type RetainedRow struct {
	key, value []byte
	name       []byte // scratch
	Message    fact.Message
}

// Name is the topic name. It is valid while the walk is there.
func (r *RetainedRow) Name() []byte {
	r.name = append(r.name[:0], r.key[prefixBytes:]...)
	for i, c := range r.name {
		if c == 0 {
			r.name[i] = '/'
		}
	}
	return r.name
}

// Load reads the message into Message, whose slices are valid while the walk is there,
// and answers the number and the time of its record.
func (r *RetainedRow) Load() (seq store.Seq, at int64, err error) {
	seq, at, body, err := splitRetained(r.value)
	if err == nil {
		err = r.Message.Decode(body)
	}
	return seq, at, err
}

// RetainedFrom calls fn for the retained messages whose topics are not before from, in
// the order of topics by level, as of a moment at which the record with number atLeast
// was applied, and answers the number that the moment is of. fn answers from where on it
// wants to go on: nil is the next, and what is not behind it is the next as well; done
// ends the walk. It reads the disk.
func (v *View) RetainedFrom(ctx context.Context, atLeast store.Seq, from []byte, fn func(row *RetainedRow) (next []byte, done bool, err error)) (asOf store.Seq, err error) {
	if err := v.Wait(ctx, atLeast); err != nil {
		return 0, err
	}
	leave, err := v.door.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	it, asOf, err := v.rows.retainedIter()
	if err != nil {
		return 0, err
	}
	row := &RetainedRow{}
	key := appendRetainedKey(nil, from)
	for ok := it.SeekGE(key); ok; {
		row.key = it.Key()
		if row.value, err = it.ValueAndErr(); err != nil {
			break
		}
		next, done, ferr := fn(row)
		if err = ferr; err != nil || done {
			break
		}
		if next != nil {
			if key = appendRetainedKey(key[:0], next); bytes.Compare(key, row.key) > 0 {
				ok = it.SeekGE(key)
				continue
			}
		}
		ok = it.Next()
	}
	return asOf, errors.Join(err, it.Close())
}

// retainedIter is an iterator over all retained messages, and the number it is as of.
func (r *rows) retainedIter() (*pebble.Iterator, store.Seq, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.commitLocked(); err != nil {
		return nil, 0, err
	}
	lower, upper := tableBounds(tableRetained)
	it, err := r.ix.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	return it, r.at.seq, err
}
