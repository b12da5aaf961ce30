package view

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Digest is SHA-256 of all that the index says, rows and postings, and the number it is
// good for. Views of equal logs that were trimmed alike have equal digests at equal
// numbers, whatever happened to them on the way. It reads everything.
func (v *View) Digest() (sum [sha256.Size]byte, at store.Seq, err error) {
	leave, err := v.door.enter()
	if err != nil {
		return sum, 0, err
	}
	defer leave()
	h := sha256.New()
	var head [20]byte
	add := func(table byte, key, value []byte) {
		head[0] = table
		binary.BigEndian.PutUint32(head[1:], uint32(len(key)))   //nolint:gosec // a length
		binary.BigEndian.PutUint32(head[5:], uint32(len(value))) //nolint:gosec // a length
		h.Write(head[:9])
		h.Write(key)
		h.Write(value)
	}
	for table := byte(tableApplied); table < tableEnd; table++ {
		switch table {
		case tablePosting, tablePart, tableSkipped: // which of them are rows is a matter of time
			continue
		case tableRescued, tableOwed, tableKept, tableKeptBy: // what a node keeps of what its log has let go of is its own
			continue
		}
		lower, upper := tableBounds(table)
		if err := v.table(lower, upper, func(key, value []byte) error {
			if table == tableApplied {
				p, err := decodePosition(value, v.open.bits)
				at = p.seq
				if err != nil {
					return err
				}
			}
			add(table, key, value)
			return nil
		}); err != nil {
			return sum, 0, err
		}
	}
	err = v.Postings(func(id fact.FilterID, p Posting) error {
		binary.BigEndian.PutUint64(head[:], uint64(id))
		binary.BigEndian.PutUint64(head[8:], uint64(p.Seq))
		binary.BigEndian.PutUint32(head[16:], p.Bytes)
		h.Write(head[:])
		return nil
	})
	h.Sum(sum[:0])
	return sum, at, err
}
