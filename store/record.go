package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what a record means. The numbers are in files: they never change
// and are never used again.
type Kind uint8

// The kinds there are.
const (
	Message Kind = 1 + iota
	Claim
	Release
	Subscribe
	Unsubscribe
	Inflight
	Ack
	QoS2In
	QoS2Rel
	Retain
	Unretain
	Will
	WillFire
	ShareJoin
	ShareLeave
	ShareAck
	Rescue
	Expire
	Config
	User
	Rule
	Ban
	Key
	Audit
	Hash
	Delay
	DelayEnd
	kindEnd
)

var kindNames = [kindEnd]string{"", "Message", "Claim", "Release", "Subscribe", "Unsubscribe", "Inflight", "Ack", "QoS2In", "QoS2Rel",
	"Retain", "Unretain", "Will", "WillFire", "ShareJoin", "ShareLeave", "ShareAck", "Rescue", "Expire", "Config", "User", "Rule", "Ban",
	"Key", "Audit", "Hash", "Delay", "DelayEnd"}

// String is the kind's name.
func (k Kind) String() string {
	if k == 0 || k >= kindEnd {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// SID names a session; the zero SID is no session. It is wide enough that a
// client which chooses its own client id cannot aim at somebody else's.
type SID [16]byte

// Record is one fact. It is a value; Body is shared and never written.
type Record struct {
	Kind  Kind
	SID   SID
	Epoch uint64 // of the session's owner; 0 is never fenced
	At    int64  // Unix milliseconds; 0 if no time matters
	Body  []byte // its meaning belongs to the kind
}

const (
	// BodyBytesMax bounds one body, in bytes: the largest packet an operator can
	// allow (limits.packet_bytes, 256 MiB) and as much beside it as a Message record
	// may add.
	BodyBytesMax = 256<<20 + 1<<20
	// RecordOverheadMax is the most that an encoded record has beside its body.
	RecordOverheadMax = 2 + len(SID{}) + 3*binary.MaxVarintLen64
	// BatchRecordsMax bounds one batch, in records: the count has two bytes.
	BatchRecordsMax = 65535
)

// An encoded record is
//
//	byte     version<<4 | which of SID, Epoch and At are there
//	byte     kind
//	16 bytes SID, if it is not zero
//	varint   Epoch, if it is not zero
//	varint   At (zigzag), if it is not zero
//	varint   length of the body
//	bytes    body
//
// There is one way to write a record: a longer form is refused, so that two nodes
// that hold the same records hold the same bytes.
const (
	recordVersion = 1
	hasSID        = 1 << 0
	hasEpoch      = 1 << 1
	hasAt         = 1 << 2
	hasUnknown    = 1 << 3
)

// ErrRecord: bytes are not a record this version knows.
var ErrRecord = errors.New("not a record")

// Valid tells whether r can be encoded: its kind exists and its body is not too
// long.
func (r *Record) Valid() bool { return r.Kind > 0 && r.Kind < kindEnd && len(r.Body) <= BodyBytesMax }

// EncodedMax is never less than what AppendRecord appends, in bytes.
func (r *Record) EncodedMax() int { return len(r.Body) + RecordOverheadMax }

// AppendRecord appends the encoding of a valid record to dst.
func AppendRecord(dst []byte, r *Record) []byte {
	at := len(dst)
	dst = append(dst, recordVersion<<4, byte(r.Kind))
	if r.SID != (SID{}) {
		dst[at] |= hasSID
		dst = append(dst, r.SID[:]...)
	}
	if r.Epoch != 0 {
		dst[at] |= hasEpoch
		dst = binary.AppendUvarint(dst, r.Epoch)
	}
	if r.At != 0 {
		dst[at] |= hasAt
		dst = binary.AppendVarint(dst, r.At)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Body)))
	return append(dst, r.Body...)
}

// DecodeRecord reads one record from the front of b and answers how many bytes it
// has. The body is a part of b: nothing is allocated, whatever a length says. An
// empty body is nil.
func DecodeRecord(b []byte, r *Record) (n int, err error) {
	if len(b) < 2 {
		return 0, fmt.Errorf("%w: it ends in its head", ErrRecord)
	}
	flags := b[0] & 0x0f
	if v := b[0] >> 4; v != recordVersion || flags&hasUnknown != 0 {
		return 0, fmt.Errorf("%w: first byte 0x%02x; this version reads record format %d", ErrRecord, b[0], recordVersion)
	}
	*r = Record{Kind: Kind(b[1])}
	if r.Kind == 0 || r.Kind >= kindEnd {
		return 0, fmt.Errorf("%w: kind %d is not known", ErrRecord, b[1])
	}
	d := decoder{rest: b[2:]}
	if flags&hasSID != 0 {
		copy(r.SID[:], d.bytes(uint64(len(r.SID))))
		d.check(r.SID != SID{})
	}
	if flags&hasEpoch != 0 {
		r.Epoch = d.uvarint()
		d.check(r.Epoch != 0)
	}
	if flags&hasAt != 0 {
		u := d.uvarint()
		r.At = int64(u>>1) ^ -int64(u&1)
		d.check(u != 0)
	}
	size := d.uvarint()
	d.check(size <= BodyBytesMax)
	if body := d.bytes(size); len(body) > 0 {
		r.Body = body
	}
	if d.bad {
		return 0, fmt.Errorf("%w: a field is cut off, too long or written the long way", ErrRecord)
	}
	return len(b) - len(d.rest), nil
}

// decoder takes fields off the front; after a bad one all are empty.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) check(ok bool) {
	if !ok {
		d.rest, d.bad = nil, true
	}
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.check(false)
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// uvarint takes a number in its shortest form.
func (d *decoder) uvarint() uint64 {
	u, n := binary.Uvarint(d.rest)
	if n <= 0 || n > 1 && d.rest[n-1] == 0 {
		d.check(false)
		return 0
	}
	d.rest = d.rest[n:]
	return u
}
