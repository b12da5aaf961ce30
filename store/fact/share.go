package fact

import (
	"encoding/binary"

	"github.com/redoubtmq/redoubt/store"
)

// A shared subscription with members that outlive the process keeps what none of them
// could take. Its FilterID, made by Key.GroupID, stands in Message records like that of
// a filter; each member has one of its own, for what it was given.

// Join is the body of store.ShareJoin: the record's session is a member of the group
// from here on. The first member makes the group, which brings what comes after. A member
// that joins again goes on as before.
type Join struct {
	Group, Member FilterID
	Share, Real   string // name of the share; filter as it is matched
	Since         store.Seq
	// Since is the number that the member's own messages come after; 0: this record's. It
	// is said of members that older versions did not write down.
}

// Leave is the body of store.ShareLeave: what the record's session was given as that
// member and has not sent goes back to the group. Without a member left there is no
// group, and nothing of it.
//
// A session that ends leaves all its groups, without a record of this kind. Then what it
// has sent at QoS 1 and its client has not acknowledged goes back as well.
type Leave struct {
	Group, Member FilterID
	Stay          bool // it is a member still, of what comes after
}

// Take is the body of store.ShareAck: a message leaves the queue of its group. It
// belongs to the record's session from here on, under Member and with this record's own
// number, or to a session without an epoch, which has it in memory. A take of what is not
// in the queue any more is refused, so that no two sessions have one.
type Take struct {
	Group  FilterID
	Source FilterID  // by whose name the message stands in the log: the group's, or of a member that gave it back
	Part   store.Seq // the number of the record that gave it back; 0: it came for the group
	Seq    store.Seq // of the message; 0: only what follows is said
	Below  store.Seq // all of that source before this number is done with
	Done   bool      // and so is all the rest: it is forgotten
	Member FilterID  // 0: of a session that the log does not know
	Body   []byte    // an encoded Message that names Member and nobody else; nil if Member is 0
}

const (
	bitStay   = 1 << 0 // of a Leave
	bitDone   = 1 << 0 // of a Take
	bitMember = 1 << 1 // of a Take: Member and Body are there
)

// Append appends the encoding to dst. A Group or Member 0 is the caller's mistake.
func (j *Join) Append(dst []byte) []byte {
	if j.Group == 0 || j.Member == 0 {
		panic("BUG: a member or a group without an id")
	}
	dst = appendIDs(append(dst, format), j.Group, j.Member)
	dst = binary.AppendUvarint(dst, uint64(j.Since))
	return appendString(appendString(dst, j.Share), j.Real)
}

// Decode reads a whole body into j. After an error j is no join.
func (j *Join) Decode(b []byte) error {
	d := body(b)
	*j = Join{Group: d.id("the group"), Member: d.id("the member"), Since: d.seq("where it begins"), Share: d.string("the share"), Real: d.string("the real filter")}
	return d.end("join")
}

// Append appends the encoding to dst. A Group or Member 0 is the caller's mistake.
func (l *Leave) Append(dst []byte) []byte {
	if l.Group == 0 || l.Member == 0 {
		panic("BUG: a member or a group without an id")
	}
	return appendIDs(append(dst, format, flag(l.Stay, bitStay)), l.Group, l.Member)
}

// Decode reads a whole body into l. After an error l is no leave.
func (l *Leave) Decode(b []byte) error {
	d := body(b)
	*l = Leave{Stay: d.flags(bitStay) != 0, Group: d.id("the group"), Member: d.id("the member")}
	return d.end("leave")
}

// Append appends the encoding to dst. A Group or Source 0 is the caller's mistake, and so
// is a Member without a Seq.
func (t *Take) Append(dst []byte) []byte {
	if t.Group == 0 || t.Source == 0 || t.Member != 0 && t.Seq == 0 {
		panic("BUG: a take from nobody, or of nothing")
	}
	dst = append(dst, format, flag(t.Done, bitDone)|flag(t.Member != 0, bitMember))
	dst = appendIDs(dst, t.Group, t.Source)
	for _, n := range [...]store.Seq{t.Part, t.Seq, t.Below} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	if t.Member == 0 {
		return dst
	}
	return appendString(appendIDs(dst, t.Member), t.Body)
}

// Decode reads a whole body into t, of which Body is a part of b and not looked into.
// After an error t is no take.
func (t *Take) Decode(b []byte) error {
	d := body(b)
	flags := d.flags(bitDone | bitMember)
	*t = Take{
		Done: flags&bitDone != 0, Group: d.id("the group"), Source: d.id("the source"),
		Part: d.seq("the part"), Seq: d.seq("the message"), Below: d.seq("what is done with"),
	}
	if flags&bitMember != 0 {
		t.Member, t.Body = d.id("the member"), d.bytes("the body")
		d.check(t.Seq != 0, "the message")
	}
	return d.end("take")
}

func appendIDs(dst []byte, ids ...FilterID) []byte {
	for _, id := range ids {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	return dst
}

// id takes a FilterID, which is never 0.
func (d *decoder) id(what string) FilterID {
	id := FilterID(d.uint64(what))
	d.check(id != 0, what)
	return id
}
