package view

import (
	"encoding/binary"

	"github.com/redoubtmq/redoubt/store"
)

// packed is rows of sessions, as they were read and one after another. It takes less than half of
// the memory of what they say, and memory that is touched for the first time is dear.
//
// A row is its part, with firstRow and the name of its session if it is another's than the row
// before, and the rest of its key and its value, each with its length before it.
type packed struct {
	chunks   [][]byte // of packedChunk bytes, or of one row that is larger; no row is in two
	of       store.SID
	sessions int
}

const (
	packedChunk = 64 << 10
	firstRow    = 1 << 7 // no part has this bit
)

// add takes a row; those of one session come one after another.
func (p *packed) add(sid *store.SID, part byte, rest, value []byte) {
	if part == partSub {
		rest = nil // the value says it, too
	}
	need := 1 + len(sid) + 2*binary.MaxVarintLen64 + len(rest) + len(value)
	last := len(p.chunks) - 1
	if last < 0 || cap(p.chunks[last])-len(p.chunks[last]) < need {
		p.chunks = append(p.chunks, make([]byte, 0, max(need, packedChunk)))
		last++
	}
	b := p.chunks[last]
	if p.sessions == 0 || p.of != *sid {
		p.of = *sid
		p.sessions++
		b = append(append(b, part|firstRow), sid[:]...)
	} else {
		b = append(b, part)
	}
	b = append(binary.AppendUvarint(b, uint64(len(rest))), rest...)
	p.chunks[last] = append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// each calls fn for every row and forgets it. rest and value are valid during the call only.
func (p *packed) each(fn func(sid store.SID, part byte, rest, value []byte) error) error {
	var sid store.SID
	for i, b := range p.chunks {
		for len(b) > 0 {
			part := b[0]
			if b = b[1:]; part&firstRow != 0 {
				part &^= firstRow
				b = b[copy(sid[:], b):]
			}
			var rest, value []byte
			rest, b = cutPacked(b)
			value, b = cutPacked(b)
			if err := fn(sid, part, rest, value); err != nil {
				return err
			}
		}
		p.chunks[i] = nil
	}
	return nil
}

// cutPacked takes bytes that have their length before them.
func cutPacked(b []byte) (is, rest []byte) {
	n, size := binary.Uvarint(b)
	b = b[size:]
	return b[:n:n], b[n:]
}
