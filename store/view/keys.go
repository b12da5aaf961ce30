package view

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// formatVersion is of the rows. docs/adr/0008-the-view.md says what a new number
// obliges to.
//
// Version 1 had the postings of a block in one row for each filter (tablePosting), and
// trimmed whole blocks. They are read as they are: see loadSpans. It had no tableCounts, no
// tableExpiry and no partOwed: what is missing is made.
//
// Version 2 did not know who has published what: its rows of tableOwed have 4 bytes, and it
// had no tableAuthors and no tableKeptBy. What it has is of nobody.
const (
	formatVersion = 3
	formatOldest  = 1 // that is read
)

// A key is one byte for the table, two for the shard, and what is named below, big
// endian. Bodies in values are as package fact writes them.
const (
	tableFormat   = 0x00 // no shard; formatVersion
	tableApplied  = 0x01 // position
	tablePosting  = 0x02 // block 8, filter id 8: as tablePart; of version 1, only read
	tableSkipped  = 0x03 // number 8: a message of the open part that was fenced or refused
	tableSession  = 0x04 // SID 16, part 1, ...
	tableRetained = 0x05 // topic with its levels separated by 0x00: number 8, time 8, Message
	tableValue    = 0x06 // kind 1, name: content
	tableCounts   = 0x07 // applied number 8: retained messages 8, the bytes of their bodies 8
	tableAuthors  = 0x09 // place of an author 8: retained messages 8, the bytes of their bodies 8; authorPlaces: applied number 8
	tableExpiry   = 0x08 // when a retained message expires 8, its key without table and shard: nothing

	tablePart    = 0x10 // number that a part begins with 8, filter id 8: the numbers in the part and the bytes of each
	tableRescued = 0x11 // number 8: a record, which the log need not have any more
	tableOwed    = 0x12 // filter id 8, number 8: bytes 4, and the place of its author 2 if it has one; the postings of what is rescued
	tableKept    = 0x13 // kept
	tableKeptBy  = 0x14 // place of an author 8: bytes of what is rescued 8

	tableGroup = 0x20 // group id 8, part 1, ...: see groups.go

	tableDelayed = 0x30 // due 8 as beforeZero has it, number 8: SID 16, time 8, Delay
	tableEnd     = 0x31
)

// Parts of a session, in the order in which they are read.
const (
	partGuard    = 0 // guard
	partOwner    = 1 // Claim
	partOutbox   = 2 // Outbox
	partWill     = 3 // Will
	partReceived = 4 // packet identifier 2: nothing
	partSub      = 5 // filter: number it starts at 8, Subscription
	partOwed     = 6 // filter: number 8 of the Subscribe that is owed retained messages
)

// errRow: a row is not one that this version writes.
var errRow = errors.New("a row of the index is not one this version writes")

const prefixBytes = 3

func appendTable(dst []byte, table byte) []byte {
	return binary.BigEndian.AppendUint16(append(dst, table), uint16(shard))
}

// tableBounds are where a table of this shard begins and ends.
func tableBounds(table byte) (lower, upper []byte) {
	return appendTable(nil, table), binary.BigEndian.AppendUint16([]byte{table}, uint16(shard)+1)
}

func appendNumberKey(dst []byte, table byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(appendTable(dst, table), n)
}

func appendPostingKey(dst []byte, block uint64, id fact.FilterID) []byte {
	return appendPairKey(dst, tablePosting, block, uint64(id))
}

func appendPartKey(dst []byte, first store.Seq, id fact.FilterID) []byte {
	return appendPairKey(dst, tablePart, uint64(first), uint64(id))
}

func appendOwedKey(dst []byte, id fact.FilterID, seq store.Seq) []byte {
	return appendPairKey(dst, tableOwed, uint64(id), uint64(seq))
}

func appendPairKey(dst []byte, table byte, a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(appendNumberKey(dst, table, a), b)
}

// splitPostingKey reads a key of two numbers, of which the second is a filter.
func splitPostingKey(key []byte) (block uint64, id fact.FilterID, err error) {
	if len(key) != prefixBytes+16 {
		return 0, 0, errRow
	}
	return binary.BigEndian.Uint64(key[prefixBytes:]), fact.FilterID(binary.BigEndian.Uint64(key[prefixBytes+8:])), nil
}

func appendSessionKey(dst []byte, sid *store.SID, part byte) []byte {
	return append(append(appendTable(dst, tableSession), sid[:]...), part)
}

func splitSessionKey(key []byte) (sid store.SID, part byte, rest []byte, err error) {
	const n = prefixBytes + len(sid)
	if len(key) < n+1 {
		return sid, 0, nil, errRow
	}
	return store.SID(key[prefixBytes:n]), key[n], key[n+1:], nil
}

// appendRetainedKey is only for topics that have no 0x00, which MQTT forbids.
func appendRetainedKey(dst, topic []byte) []byte {
	dst = appendTable(dst, tableRetained)
	at := len(dst)
	dst = append(dst, topic...)
	for i, c := range dst[at:] {
		if c == '/' {
			dst[at+i] = 0
		}
	}
	return dst
}

// appendExpiryKey is for a retained message with that key. Times before 1970 come first.
func appendExpiryKey(dst []byte, at int64, retained []byte) []byte {
	dst = appendNumberKey(dst, tableExpiry, uint64(at)^1<<63) //nolint:gosec // as bits
	return append(dst, retained[prefixBytes:]...)
}

// splitExpiryKey answers the time, and the key of the message without table and shard.
func splitExpiryKey(key []byte) (at int64, topic []byte, err error) {
	if len(key) < prefixBytes+8 {
		return 0, nil, errRow
	}
	return int64(binary.BigEndian.Uint64(key[prefixBytes:]) ^ 1<<63), key[prefixBytes+8:], nil //nolint:gosec // as bits
}

// retainable tells whether a topic has a key of its own.
func retainable(topic []byte) bool { return bytes.IndexByte(topic, 0) < 0 }

func appendValueKey(dst []byte, kind store.Kind, name string) []byte {
	return append(append(appendTable(dst, tableValue), byte(kind)), name...)
}

// position is how far something is.
type position struct {
	seq   store.Seq
	alive int64  // newest At
	hash  uint32 // of everything up to seq
	last  uint32 // of record seq alone: by it another log is noticed
	part  part   // that is open; its bytes are counted again at Open
}

const (
	positionBytes    = 32
	positionBytesOld = 24 // without the part: it began with the block
)

func (p *position) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.seq))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.alive)) //nolint:gosec // as bits
	dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, p.hash), p.last)
	return binary.BigEndian.AppendUint64(dst, uint64(p.part.first))
}

func decodePosition(b []byte, bits uint) (p position, err error) {
	if len(b) != positionBytes && len(b) != positionBytesOld {
		return p, errRow
	}
	p.seq, p.alive = store.Seq(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])) //nolint:gosec // as bits
	p.hash, p.last = binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	p.part.first = p.seq >> bits << bits
	if len(b) == positionBytes {
		p.part.first = store.Seq(binary.BigEndian.Uint64(b[24:]))
	}
	return p, nil
}

// guard is what decides about a session.
type guard struct {
	epoch          uint64
	created, left  int64
	expiry         uint32
	outbox, will   bool // there is a row of it; known by reading, not written
	received, subs bool // there may be rows, of owed ones too; the same
}

const guardBytes = 28

func (g *guard) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, g.epoch)
	dst = binary.BigEndian.AppendUint64(dst, uint64(g.created)) //nolint:gosec // as bits
	dst = binary.BigEndian.AppendUint64(dst, uint64(g.left))    //nolint:gosec // as bits
	return binary.BigEndian.AppendUint32(dst, g.expiry)
}

// decode reads what append wrote.
func (g *guard) decode(b []byte) error {
	if len(b) != guardBytes {
		return errRow
	}
	g.epoch = binary.BigEndian.Uint64(b)
	g.created, g.left = int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:])) //nolint:gosec // as bits
	g.expiry = binary.BigEndian.Uint32(b[24:])
	return nil
}

// decodeSub reads a subscription's row.
func decodeSub(b []byte) (s Sub, err error) {
	if len(b) < 8 {
		return s, errRow
	}
	s.Start = store.Seq(binary.BigEndian.Uint64(b))
	err = s.Decode(b[8:])
	return s, err
}

// splitRetained reads a retained message's row but for the message.
func splitRetained(b []byte) (seq store.Seq, at int64, body []byte, err error) {
	if len(b) < 16 {
		return 0, 0, nil, errRow
	}
	return store.Seq(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])), b[16:], nil //nolint:gosec // as bits
}

// A posting row is, for each message, how much further its number is than the one
// before it (the first: than the part's first) and how many bytes its body has, as
// varints.

// decodePostings calls fn for what a row of the part that begins with base says.
func decodePostings(b []byte, base store.Seq, bits uint, fn func(Posting)) error {
	at, end := base, base+1<<bits
	for first := true; len(b) > 0; first = false {
		step, n := binary.Uvarint(b)
		if n <= 0 || step >= uint64(end-at) || step == 0 && !first {
			return fmt.Errorf("%w: a posting is outside its part", errRow)
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || size > 1<<32-1 {
			return fmt.Errorf("%w: a posting is cut off", errRow)
		}
		at += store.Seq(step)
		b = b[n+m:]
		fn(Posting{Seq: at, Bytes: uint32(size)})
	}
	return nil
}
