package kerberos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// krb5 is the object identifier of the mechanism, as it stands in a token [RFC 4121 §4.1].
var krb5 = []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2}

// Kinds of tokens of a context.
var (
	tokenRequest = []byte{1, 0}
	tokenReply   = []byte{2, 0}
)

// Bits of flags, the first being the highest.
const (
	optionMutual       = 1 << (31 - 2)
	flagInvalid        = 1 << (31 - 7)
	flagTransitChecked = 1 << (31 - 12)

	bindingsBytes = 24     // Lgth, Bnd and Flags of the checksum [RFC 4121 §4.1.1]
	checksumGSS   = 0x8003 // its type
	wantsMutual   = 2      // of its flags
	microsecond   = 1_000_000 - 1
)

// request is an AP-REQ that has not been verified.
type request struct {
	mutual bool
	realm  string // of the service
	service
	ticket, authenticator sealed
}

type service struct{ parts []string }

// readRequest takes an AP-REQ out of the first token of a context.
func readRequest(token []byte) (q request, err error) {
	s := cryptobyte.String(token)
	var in cryptobyte.String
	if !s.ReadASN1(&in, asn1.Tag(0x60)) || !s.Empty() {
		return q, errors.New("is no token of GSSAPI")
	}
	rest, ok := bytes.CutPrefix(in, krb5)
	if !ok {
		return q, errors.New("is of another mechanism than Kerberos 5 (SPNEGO is not understood)")
	}
	if rest, ok = bytes.CutPrefix(rest, tokenRequest); !ok {
		return q, errors.New("is no AP-REQ")
	}
	r, err := message(rest, 14)
	if err != nil {
		return q, err
	}
	r.is(0, 5)
	r.is(1, 14)
	q.mutual = r.flags(2)&optionMutual != 0
	f := r.field(3)
	app := f.within(application(1))
	t := app.within(asn1.SEQUENCE)
	f.join(&app)
	r.join(&f)
	t.is(0, 5)
	q.realm, q.parts, q.ticket = t.realm(1), t.name(2), t.sealed(3)
	r.join(&t)
	q.authenticator = r.sealed(4)
	if r.bad || !r.rest.Empty() {
		return q, errForm
	}
	return q, nil
}

// proven is who has shown what.
type proven struct {
	client  Principal
	ends    time.Time // the ticket
	session key
	seq     uint64 // of the client's next token
	ctime   time.Time
	cusec   int64
}

// A refusal of a request is told in the log; the client hears that there was one.
func wrongf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// verify judges a request at a time: the ticket is sealed with a key of ours, the
// authenticator with the key in it, and both are of now.
func (q *request) verify(keys *Keytab, us Principal, now time.Time, skew time.Duration) (*proven, error) {
	if !us.equal(Principal{q.realm, q.parts}) {
		return nil, wrongf("has a ticket for another service than %v", us)
	}
	plain, err := q.openTicket(keys)
	if err != nil {
		return nil, err
	}
	p, began, flags, err := readTicket(plain)
	switch {
	case err != nil:
		return nil, err
	case flags&flagInvalid != 0:
		return nil, wrongf("has a ticket that is not valid yet (it was not validated by the KDC)")
	case began.After(now.Add(skew)):
		return nil, wrongf("has a ticket that begins at %s", stamp(began))
	case !now.Before(p.ends): // without skew: the connection ends then
		return nil, wrongf("has a ticket that ended at %s", stamp(p.ends))
	case p.client.Realm != us.Realm && flags&flagTransitChecked == 0:
		return nil, wrongf("comes from another realm over a way that no KDC has checked")
	}
	b, err := p.session.openOf(usageAuthenticator, &q.authenticator)
	if err != nil {
		return nil, wrongf("has an authenticator that %w", err)
	}
	if err := p.readAuthenticator(b); err != nil {
		return nil, err
	}
	made := p.ctime.Add(time.Duration(p.cusec) * time.Microsecond)
	if away := now.Sub(made).Abs(); away > skew {
		return nil, wrongf("was made at %s by the client's clock, which is %v away from ours; %v is allowed", stamp(made), away.Round(time.Second), skew)
	}
	return p, nil
}

// openOf opens what must be of the key's own type.
func (k key) openOf(usage uint32, s *sealed) ([]byte, error) {
	if s.etype != k.etype {
		return nil, errSealed
	}
	return k.open(usage, s.text)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// openTicket tries the keys that fit, which are one or two.
func (q *request) openTicket(keys *Keytab) ([]byte, error) {
	if _, known := profiles[q.ticket.etype]; !known {
		return nil, wrongf("has a ticket of encryption type %d: %w", q.ticket.etype, errType)
	}
	fit := keys.of(q.ticket.etype, q.ticket.kvno, q.ticket.named)
	if len(fit) == 0 {
		return nil, wrongf("has a ticket of key version %d and encryption type %d, which the keytab does not have", q.ticket.kvno, q.ticket.etype)
	}
	for _, k := range fit {
		if plain, err := k.open(usageTicket, q.ticket.text); err == nil {
			return plain, nil
		}
	}
	return nil, wrongf("has a ticket that no key of ours opens: it is forged, or the keytab is not that of the KDC")
}

// readTicket reads an EncTicketPart.
func readTicket(b []byte) (p *proven, began time.Time, flags uint32, err error) {
	r, err := message(b, 3)
	if err != nil {
		return nil, began, 0, wrongf("has a ticket that %w", err)
	}
	p = &proven{}
	flags, p.session = r.flags(0), r.secret(1)
	p.client = Principal{r.realm(2), r.name(3)}
	r.field(4) // transited: the KDC has judged it, or the flag is not there
	began = r.moment(5)
	if r.optional(6) {
		began = r.moment(6)
	}
	p.ends = r.moment(7)
	if r.optional(8) { // renew-till
		r.moment(8)
	}
	if r.optional(9) { // addresses, which mean nothing behind NAT
		r.field(9)
	}
	restricted := r.optional(10) && r.restricted(10)
	if r.bad || !r.rest.Empty() {
		return nil, began, 0, wrongf("has a ticket that %w, or whose session key is of an encryption type that is not taken", errForm)
	}
	if restricted {
		return nil, began, 0, wrongf("has a ticket with a restriction that is not understood")
	}
	return p, began, flags, nil
}

// readAuthenticator reads an Authenticator, which has to be of the ticket's client.
func (p *proven) readAuthenticator(b []byte) error {
	r, err := message(b, 2)
	if err != nil {
		return wrongf("has an authenticator that %w", err)
	}
	r.is(0, 5)
	who := Principal{r.realm(1), r.name(2)}
	f := r.field(3)
	sum := f.within(asn1.SEQUENCE)
	r.join(&f)
	kind, binding := sum.int32(0), sum.bytes(1)
	r.join(&sum)
	p.cusec, p.ctime = r.number(4), r.moment(5)
	if r.optional(6) { // the client's subkey, in place of which ours is used
		r.secret(6)
	}
	if r.optional(7) {
		p.seq = uint64(r.unsigned(7))
	}
	restricted := r.optional(8) && r.restricted(8)
	switch {
	case r.bad || !r.rest.Empty() || p.cusec < 0 || p.cusec > microsecond:
		return wrongf("has an authenticator that %w", errForm)
	case restricted:
		return wrongf("has an authenticator with a restriction that is not understood")
	case !who.equal(p.client):
		return wrongf("has an authenticator of another client than its ticket")
	case kind != checksumGSS || len(binding) < bindingsBytes || binary.LittleEndian.Uint32(binding) != 16:
		return wrongf("has an authenticator that is not of GSSAPI")
	case binary.LittleEndian.Uint32(binding[20:])&wantsMutual == 0:
		return wrongf("does not ask for mutual authentication")
	}
	return nil
}

// reply is the token that proves us: an AP-REP with a subkey of ours.
func (p *proven) reply(subkey key, seq uint32, confounder []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(application(27), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(context(0), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.GeneralizedTime, func(b *cryptobyte.Builder) { b.AddBytes([]byte(p.ctime.UTC().Format(stampForm))) })
			})
			b.AddASN1(context(1), func(b *cryptobyte.Builder) { b.AddASN1Int64(p.cusec) })
			b.AddASN1(context(2), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(subkey.etype)) })
					b.AddASN1(context(1), func(b *cryptobyte.Builder) { b.AddASN1OctetString(subkey.bytes) })
				})
			})
			b.AddASN1(context(3), func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(seq)) })
		})
	})
	part, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	text := p.session.seal(usageReply, confounder, part)
	var out cryptobyte.Builder
	out.AddASN1(asn1.Tag(0x60), func(b *cryptobyte.Builder) {
		b.AddBytes(krb5)
		b.AddBytes(tokenReply)
		b.AddASN1(application(15), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(5) })
				b.AddASN1(context(1), func(b *cryptobyte.Builder) { b.AddASN1Int64(15) })
				b.AddASN1(context(2), func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(context(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(p.session.etype)) })
						b.AddASN1(context(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(text) })
					})
				})
			})
		})
	})
	return out.Bytes()
}
