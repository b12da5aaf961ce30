package fact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// format is the first byte of every body.
const format = 1

// ErrFact: bytes are not a body that this version knows. The error around it says
// of which kind, and what is wrong.
var ErrFact = errors.New("not a fact this version knows")

// A body is its format and then its fields in the order of the type, but for flags,
// which come first:
//
//	number  a varint (zigzag if it may be negative), in its shortest form
//	bytes   their number, and then they
//	flags   one byte; a bit that has no meaning is 0
//
// FilterIDs and a Proof are eight bytes and packet identifiers two, big endian.

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendAddr appends the zero Addr as no bytes, and any other as 4, 16, or 16 and
// the zone.
func appendAddr(dst []byte, a netip.Addr) []byte {
	b, _ := a.MarshalBinary() // it never fails
	return appendString(dst, b)
}

// flag is bit if it is so.
func flag(is bool, bit byte) byte {
	if is {
		return bit
	}
	return 0
}

// quality is a QoS as the two lowest bits of flags.
func quality(qos uint8) byte {
	if qos > 2 {
		panic(fmt.Sprintf("BUG: a fact with QoS %d", qos))
	}
	return qos
}

const qosBits = 3

// decoder takes fields off the front; after a bad one all are empty.
type decoder struct {
	rest []byte
	bad  string // what is wrong with which field; "" if nothing is
}

// body begins to read one.
func body(b []byte) decoder {
	d, _ := bodyOf(b, format)
	return d
}

// bodyOf begins to read one whose format is at most newest.
func bodyOf(b []byte, newest byte) (d decoder, is byte) {
	d = decoder{rest: b}
	is = d.byte("the format")
	if d.bad == "" && (is < format || is > newest) {
		d.fail(fmt.Sprintf("its format is %d and this version reads %d", is, newest))
	}
	return d, is
}

func (d *decoder) fail(why string) {
	if d.bad == "" {
		d.bad = why
	}
	d.rest = nil
}

// check refuses a field that has a value it cannot have.
func (d *decoder) check(ok bool, what string) {
	if !ok && d.bad == "" {
		d.fail(what + " has a value it cannot have")
	}
}

// end is the error of a whole body, after which nothing may come.
func (d *decoder) end(of string) error {
	if len(d.rest) > 0 {
		d.fail("something follows it")
	}
	if d.bad != "" {
		return fmt.Errorf("%w: %s: %s", ErrFact, of, d.bad)
	}
	return nil
}

func (d *decoder) take(n uint64, what string) []byte {
	if n > uint64(len(d.rest)) {
		d.fail(what + " is cut off")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte(what string) byte {
	if b := d.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

// flags takes a byte of which only known bits may be set.
func (d *decoder) flags(known byte) byte {
	f := d.byte("the flags byte")
	d.check(f&^known == 0, "the flags byte")
	return f
}

// qos takes a QoS from flags.
func (d *decoder) qos(flags byte) uint8 {
	d.check(flags&qosBits <= 2, "the QoS")
	return flags & qosBits
}

func (d *decoder) uint16(what string) uint16 {
	if b := d.take(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) uint64(what string) uint64 {
	if b := d.take(8, what); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// number takes a varint that is in its shortest form and not above limit.
func (d *decoder) number(limit uint64, what string) uint64 {
	u, n := binary.Uvarint(d.rest)
	switch {
	case d.bad != "":
	case n == 0:
		d.fail(what + " is cut off")
	case n < 0 || u > limit:
		d.fail(what + " is too large")
	case n > 1 && d.rest[n-1] == 0:
		d.fail(what + " is written the long way")
	default:
		d.rest = d.rest[n:]
		return u
	}
	return 0
}

// signed takes a zigzag varint.
func (d *decoder) signed(what string) int64 {
	u := d.number(1<<64-1, what)
	return int64(u>>1) ^ -int64(u&1) //nolint:gosec // zigzag
}

// bytes takes bytes with their number before them: a part of the input, nil if there
// are none.
func (d *decoder) bytes(what string) []byte {
	if b := d.take(d.number(1<<64-1, what), what); len(b) > 0 {
		return b
	}
	return nil
}

// string takes a copy.
func (d *decoder) string(what string) string { return string(d.bytes(what)) }

// stringLike is string, or one of those it may be equal to: whoever reads many bodies, one
// after another into the same value, has one string of what is the same in all.
func (d *decoder) stringLike(what, one, other string) string {
	b := d.bytes(what)
	switch {
	case string(b) == one:
		return one
	case string(b) == other:
		return other
	}
	return string(b)
}

func (d *decoder) addr(what string) netip.Addr {
	var a netip.Addr
	if a.UnmarshalBinary(d.bytes(what)) != nil {
		d.check(false, what)
		return netip.Addr{}
	}
	return a
}
