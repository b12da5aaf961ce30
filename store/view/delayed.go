package view

import (
	"bytes"
	"encoding/binary"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// A delayed message is in its row whole: the log may let go of its record long before it
// is due. What ends it says due time and number, so that the row is found without a look.

// Delayed is a message that waits for its time.
type Delayed struct {
	Seq store.Seq // of its record
	SID store.SID // of the publisher's session, if that is durable
	At  int64     // when it was published, Unix milliseconds
	fact.Delay
}

// Delayed calls fn for every delayed message, the earliest first, and of one moment the
// one that came first. d and what it has are the caller's.
func (v *View) Delayed(fn func(d *Delayed) error) error {
	lower, upper := tableBounds(tableDelayed)
	return v.table(lower, upper, func(key, value []byte) error {
		d, err := decodeDelayed(key, bytes.Clone(value))
		if err != nil {
			return err
		}
		return fn(d)
	})
}

// delayed adds or deletes a row. The caller holds mu.
func (r *rows) delayed(seq store.Seq, rec *store.Record) error {
	if rec.Kind == store.DelayEnd {
		var end fact.DelayEnd
		if err := end.Decode(rec.Body); err != nil {
			return err
		}
		r.key = appendDelayedKey(r.key[:0], end.Due, end.Seq)
		return r.batch.Delete(r.key, nil)
	}
	var d fact.Delay
	if err := d.Decode(rec.Body); err != nil {
		return err
	}
	r.key = appendDelayedKey(r.key[:0], d.Due, seq)
	r.val = append(r.val[:0], rec.SID[:]...)
	r.val = binary.BigEndian.AppendUint64(r.val, uint64(rec.At)) //nolint:gosec // as bits
	return r.set(r.key, r.val, rec.Body)
}

// beforeZero makes signed times sort as bytes.
const beforeZero = 1 << 63

func appendDelayedKey(dst []byte, due int64, seq store.Seq) []byte {
	dst = appendNumberKey(dst, tableDelayed, uint64(due)^beforeZero) //nolint:gosec // as bits
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

// decodeDelayed reads a row, of which the message is a part.
func decodeDelayed(key, value []byte) (*Delayed, error) {
	const head = len(store.SID{}) + 8
	if len(key) != prefixBytes+16 || len(value) < head {
		return nil, errRow
	}
	d := &Delayed{Seq: store.Seq(binary.BigEndian.Uint64(key[prefixBytes+8:])), SID: store.SID(value)}
	d.At = int64(binary.BigEndian.Uint64(value[len(d.SID):])) //nolint:gosec // as bits
	if err := d.Decode(value[head:]); err != nil {
		return nil, err
	}
	if due := int64(binary.BigEndian.Uint64(key[prefixBytes:]) ^ beforeZero); due != d.Due { //nolint:gosec // as bits
		return nil, errRow
	}
	return d, nil
}
