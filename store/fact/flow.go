package fact

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/redoubtmq/redoubt/store"
)

const (
	// sentMax bounds an Outbox: there are no more packet identifiers.
	sentMax = 65535
	// sentBytesMin is the shortest Sent: no more entries than the bytes can have are
	// made room for.
	sentBytesMin = 5
	bitAsRetain  = 1 << 2 // of a Sent, beside the QoS
	bitAsShare   = 1 << 3 // Share is there
	// outboxFormat is of an Outbox that owes retained messages; one that does not has the
	// format of before.
	outboxFormat = 2
	// replaysMax bounds what an Outbox owes, and replayBytesMin is the shortest.
	replaysMax     = 65535
	replayBytesMin = 4
)

// Append appends the encoding to dst. An entry with both a Seq and an Inline, more
// entries than packet identifiers, a QoS above 2 and Replays without Heard are the
// caller's mistake.
func (o *Outbox) Append(dst []byte) []byte {
	if len(o.Entries) > sentMax {
		panic(fmt.Sprintf("BUG: an outbox with %d entries", len(o.Entries)))
	}
	is := byte(format)
	if o.Heard != 0 {
		is = outboxFormat
	} else if len(o.Replays) > 0 {
		panic("BUG: an outbox owes what it has not heard of")
	}
	dst = binary.AppendUvarint(append(dst, is), uint64(o.Cursor))
	dst = binary.BigEndian.AppendUint16(dst, o.LastID)
	dst = binary.AppendUvarint(dst, uint64(len(o.Entries)))
	for i := range o.Entries {
		dst = o.Entries[i].append(dst)
	}
	if is == outboxFormat {
		dst = o.appendReplays(dst)
	}
	return dst
}

func (o *Outbox) appendReplays(dst []byte) []byte {
	if len(o.Replays) > replaysMax {
		panic(fmt.Sprintf("BUG: an outbox with %d replays", len(o.Replays)))
	}
	dst = binary.AppendUvarint(dst, uint64(o.Heard))
	dst = binary.AppendUvarint(dst, uint64(len(o.Replays)))
	for i := range o.Replays {
		r := &o.Replays[i]
		dst = appendString(appendString(dst, r.Filter), r.Real)
		dst = appendString(binary.AppendUvarint(dst, uint64(r.UpTo)), r.Cursor)
	}
	return dst
}

func (d *decoder) replays() (list []Replay) {
	n := int(d.number(replaysMax, "the number of replays")) //nolint:gosec // within the limit
	if n > len(d.rest)/replayBytesMin {
		d.fail("a replay is cut off")
		return nil
	}
	if n > 0 {
		list = make([]Replay, 0, n)
	}
	for range n {
		list = append(list, Replay{Filter: d.string("a filter"), Real: d.string("a real filter"), UpTo: d.seq("what it is up to"), Cursor: d.bytes("where it is")})
	}
	return list
}

func (s *Sent) append(dst []byte) []byte {
	if s.Seq != 0 && len(s.Inline) > 0 {
		panic("BUG: a message that was sent has a number and is inline")
	}
	dst = append(dst, quality(s.QoS)|flag(s.Retain, bitAsRetain)|flag(s.Share != 0, bitAsShare), s.State)
	dst = binary.BigEndian.AppendUint16(dst, s.ID)
	dst = binary.AppendUvarint(dst, uint64(s.Seq))
	if s.Share != 0 {
		dst = appendIDs(dst, s.Share)
	}
	if s.Seq == 0 {
		dst = appendString(dst, s.Inline)
	}
	return dst
}

// Decode reads a whole body into o. An Inline and a Cursor are parts of b and not looked into, and
// Entries is in the room that o.Entries had. After an error o is no outbox.
func (o *Outbox) Decode(b []byte) error {
	d, is := bodyOf(b, outboxFormat)
	entries := o.Entries[:0]
	*o = Outbox{Cursor: d.seq("the cursor"), LastID: d.uint16("the last packet identifier")}
	n := int(d.number(sentMax, "the number of entries")) //nolint:gosec // within the limit
	if n > len(d.rest)/sentBytesMin {
		d.fail("an entry is cut off")
		n = 0
	}
	entries = slices.Grow(entries, n)
	for range n {
		flags := d.flags(qosBits | bitAsRetain | bitAsShare)
		s := Sent{QoS: d.qos(flags), Retain: flags&bitAsRetain != 0, State: d.byte("a state"), ID: d.uint16("a packet identifier"), Seq: d.seq("a number")}
		if flags&bitAsShare != 0 {
			s.Share = d.id("a share")
		}
		if s.Seq == 0 {
			s.Inline = d.bytes("a message")
		}
		entries = append(entries, s)
	}
	o.Entries = entries
	if is == outboxFormat {
		o.Heard = d.seq("what it has heard of")
		d.check(o.Heard != 0, "what it has heard of")
		o.Replays = d.replays()
	}
	return d.end("outbox")
}

func (d *decoder) seq(what string) store.Seq { return store.Seq(d.number(1<<64-1, what)) }

// Append appends the encoding to dst. Packet identifier 0 is the caller's mistake.
func (p *PacketID) Append(dst []byte) []byte {
	if p.ID == 0 {
		panic("BUG: a fact about packet identifier 0")
	}
	return binary.BigEndian.AppendUint16(append(dst, format), p.ID)
}

// Decode reads a whole body into p. After an error p is no packet identifier.
func (p *PacketID) Decode(b []byte) error {
	d := body(b)
	p.ID = d.uint16("it")
	d.check(p.ID != 0, "it")
	return d.end("packet identifier")
}
