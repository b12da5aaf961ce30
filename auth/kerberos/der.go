package kerberos

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// What is read is DER [RFC 4120 §5.1]. A reader takes the fields of a structure in order;
// after a bad one all are empty. It allocates nothing that the bytes do not justify.

var errForm = errors.New("is no well-formed Kerberos message")

type reader struct {
	rest cryptobyte.String
	bad  bool
}

func context(n int) asn1.Tag     { return asn1.Tag(n).Constructed().ContextSpecific() } //nolint:gosec // a few
func application(n int) asn1.Tag { return asn1.Tag(0x40 | n).Constructed() }            //nolint:gosec // a few

// within reads what is inside an element.
func (r *reader) within(tag asn1.Tag) reader {
	var in cryptobyte.String
	if r.bad || !r.rest.ReadASN1(&in, tag) {
		r.bad = true
		return reader{bad: true}
	}
	return reader{rest: in}
}

// message is the sequence inside an application tag, which is all there is.
func message(b []byte, n int) (reader, error) {
	r := reader{rest: b}
	in := r.within(application(n))
	seq := in.within(asn1.SEQUENCE)
	if seq.bad || !r.rest.Empty() || !in.rest.Empty() {
		return reader{}, errForm
	}
	return seq, nil
}

// field is element n of a sequence.
func (r *reader) field(n int) reader { return r.within(context(n)) }

// optional tells whether element n comes next.
func (r *reader) optional(n int) bool { return !r.bad && r.rest.PeekASN1Tag(context(n)) }

// join notes that a part was bad, or had something behind it.
func (r *reader) join(part *reader) {
	r.bad = r.bad || part.bad || !part.rest.Empty()
}

func (r *reader) number(n int) (v int64) {
	f := r.field(n)
	if !f.bad {
		f.bad = !f.rest.ReadASN1Integer(&v)
	}
	r.join(&f)
	return v
}

// is demands a number.
func (r *reader) is(n int, v int64) {
	if r.number(n) != v {
		r.bad = true
	}
}

// unsigned is a UInt32. Some write it as a negative number of 32 bits.
func (r *reader) unsigned(n int) uint32 {
	v := r.number(n)
	if v < -1<<31 || v > 1<<32-1 {
		r.bad = true
	}
	return uint32(v) //nolint:gosec // of these 32 bits
}

func (r *reader) bytes(n int) []byte {
	f := r.field(n)
	in := f.within(asn1.OCTET_STRING)
	r.join(&f)
	r.bad = r.bad || in.bad
	return in.rest
}

// flags are the first 32 bits of a KerberosFlags.
func (r *reader) flags(n int) (v uint32) {
	f := r.field(n)
	in := f.within(asn1.BIT_STRING)
	var unused uint8
	if r.join(&f); r.bad || in.bad || !in.rest.ReadUint8(&unused) || unused > 7 || len(in.rest) < 4 || !in.rest.ReadUint32(&v) {
		r.bad = true
		return 0
	}
	return v
}

// nameMax bounds a realm and each part of a name, and partsMax how many there are.
const (
	nameMax  = 256
	partsMax = 8
)

// text is a KerberosString: printable ASCII, of which none separates the parts of a name.
func (r *reader) text() string {
	in := r.within(asn1.Tag(27)) // GeneralString
	if in.bad || in.rest.Empty() || len(in.rest) > nameMax {
		r.bad = true
		return ""
	}
	s := string(in.rest)
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '/' || c == '@' || c == '\\' }) {
		r.bad = true
		return ""
	}
	return s
}

func (r *reader) realm(n int) string {
	f := r.field(n)
	s := f.text()
	r.join(&f)
	return s
}

func (r *reader) name(n int) (parts []string) {
	f := r.field(n)
	seq := f.within(asn1.SEQUENCE)
	r.join(&f)
	seq.number(0)
	list := seq.field(1)
	all := list.within(asn1.SEQUENCE)
	seq.join(&list)
	for !all.bad && !all.rest.Empty() && len(parts) < partsMax {
		parts = append(parts, all.text())
	}
	seq.join(&all)
	r.join(&seq)
	return parts
}

const stampForm = "20060102150405Z"

// moment is a KerberosTime, which is in UTC and has whole seconds.
func (r *reader) moment(n int) (at time.Time) {
	f := r.field(n)
	in := f.within(asn1.GeneralizedTime)
	r.join(&f)
	if r.bad = r.bad || in.bad || len(in.rest) != len(stampForm); r.bad { // Go would take fractions
		return at
	}
	at, err := time.Parse(stampForm, string(in.rest))
	r.bad = err != nil
	return at
}

// sealed is an EncryptedData.
type sealed struct {
	etype int32
	kvno  uint32
	named bool // it has a kvno
	text  []byte
}

func (r *reader) sealed(n int) (s sealed) {
	f := r.field(n)
	seq := f.within(asn1.SEQUENCE)
	r.join(&f)
	s.etype = seq.int32(0)
	if s.named = seq.optional(1); s.named {
		s.kvno = seq.unsigned(1)
	}
	s.text = seq.bytes(2)
	r.join(&seq)
	return s
}

func (r *reader) int32(n int) int32 {
	v := r.number(n)
	if v < -1<<31 || v > 1<<31-1 {
		r.bad = true
	}
	return int32(v) //nolint:gosec // within
}

// adIfRelevant marks what a server may skip.
const adIfRelevant = 1

// restricted reads an AuthorizationData, and tells whether it has something that must not be
// skipped by who does not know it, which is everything that is not marked so [RFC 4120 §5.2.6].
func (r *reader) restricted(n int) (yes bool) {
	f := r.field(n)
	all := f.within(asn1.SEQUENCE)
	r.join(&f)
	for !all.bad && !all.rest.Empty() {
		one := all.within(asn1.SEQUENCE)
		yes = one.int32(0) != adIfRelevant || yes
		one.bytes(1)
		all.join(&one)
		if all.bad {
			break
		}
	}
	r.join(&all)
	return yes
}

// secret is an EncryptionKey.
func (r *reader) secret(n int) key {
	f := r.field(n)
	seq := f.within(asn1.SEQUENCE)
	r.join(&f)
	etype, b := seq.int32(0), seq.bytes(1)
	r.join(&seq)
	k, err := newKey(etype, b)
	r.bad = r.bad || err != nil
	return k
}
