package kerberos

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// minted is a first token of which a test chooses everything, as a KDC and a client would
// make it that have the keys and other plans.
type minted struct {
	etype       int32
	service     Principal // in the clear
	client, who Principal // of the ticket, and of the authenticator
	flags       uint32
	begins      string
	ends        string
	made        string
	cusec       int64
	restriction int64 // of the ticket; 0: none
	confined    int64 // of the authenticator; 0: none
	checksum    int64
	gss         uint32
	kvno        int64
	usage       uint32 // of the authenticator
	options     uint32
	key         []byte // of the service
}

var mintNow = time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC)

const mintStamp = "20261129040000Z"

func mint(change func(*minted)) *minted {
	alice := Principal{realm, []string{"alice"}}
	m := &minted{etype: aes256SHA1, client: alice, who: alice, begins: mintStamp, ends: "20261129050000Z", made: mintStamp, checksum: checksumGSS, gss: mutual, kvno: 2, usage: usageAuthenticator, options: optionMutual}
	m.service, _ = ParsePrincipal(servant)
	change(m)
	if m.key == nil {
		m.key = bytes.Repeat([]byte{5}, profiles[m.etype].keyBytes)
	}
	return m
}

type builder = cryptobyte.Builder

func in(tag asn1.Tag, parts ...func(*builder)) func(*builder) {
	return func(b *builder) {
		b.AddASN1(tag, func(b *builder) {
			for _, p := range parts {
				p(b)
			}
		})
	}
}

func num(n int, v int64) func(*builder) {
	return in(context(n), func(b *builder) { b.AddASN1Int64(v) })
}

func octets(n int, v []byte) func(*builder) {
	return in(context(n), func(b *builder) { b.AddASN1OctetString(v) })
}

func raw(tag asn1.Tag, s string) func(*builder) {
	return in(tag, func(b *builder) { b.AddBytes([]byte(s)) })
}

func bits(n int, v uint32) func(*builder) {
	return in(context(n), raw(asn1.BIT_STRING, string(binary.BigEndian.AppendUint32([]byte{0}, v))))
}

func parts(n int, p Principal) func(*builder) {
	var all []func(*builder)
	for _, s := range p.Parts {
		all = append(all, raw(asn1.Tag(27), s))
	}
	return in(context(n), in(asn1.SEQUENCE, num(0, 1), in(context(1), in(asn1.SEQUENCE, all...))))
}

func when(n int, s string) func(*builder) {
	return in(context(n), raw(asn1.GeneralizedTime, s))
}

func limits(n int, kind int64) func(*builder) {
	if kind == 0 {
		return func(*builder) {}
	}
	return in(context(n), in(asn1.SEQUENCE, in(asn1.SEQUENCE, num(0, kind), octets(1, []byte("data")))))
}

func built(f func(*builder)) []byte {
	var b builder
	f(&b)
	return b.BytesOrPanic()
}

// sessionKey is in every ticket.
func (m *minted) sessionKey() key {
	return key{m.etype, bytes.Repeat([]byte{6}, profiles[m.etype].keyBytes)}
}

func (m *minted) ticket() []byte {
	return built(in(application(3), in(asn1.SEQUENCE, bits(0, m.flags),
		in(context(1), in(asn1.SEQUENCE, num(0, int64(m.etype)), octets(1, m.sessionKey().bytes))),
		in(context(2), raw(27, m.client.Realm)), parts(3, m.client), in(context(4), in(asn1.SEQUENCE, num(0, 0), octets(1, nil))),
		when(5, m.begins), when(7, m.ends), limits(10, m.restriction))))
}

func (m *minted) authenticator() []byte {
	sum := binary.LittleEndian.AppendUint32(append([]byte{16, 0, 0, 0}, make([]byte, 16)...), m.gss)
	return built(in(application(2), in(asn1.SEQUENCE, num(0, 5), in(context(1), raw(27, m.who.Realm)), parts(2, m.who),
		in(context(3), in(asn1.SEQUENCE, num(0, m.checksum), octets(1, sum))), num(4, m.cusec), when(5, m.made), num(7, 9), limits(8, m.confined))))
}

// token seals it.
func (m *minted) token() []byte {
	confounder := make([]byte, 16)
	ticket := key{m.etype, m.key}.seal(usageTicket, confounder, m.ticket())
	shown := m.sessionKey().seal(m.usage, confounder, m.authenticator())
	sealed := func(n int, kvno int64, text []byte) func(*builder) {
		return in(context(n), in(asn1.SEQUENCE, num(0, int64(m.etype)), num(1, kvno), octets(2, text)))
	}
	return built(in(0x60, func(b *builder) { b.AddBytes(krb5); b.AddBytes(tokenRequest) }, in(application(14), in(asn1.SEQUENCE,
		num(0, 5), num(1, 14), bits(2, m.options),
		in(context(3), in(application(1), in(asn1.SEQUENCE, num(0, 5), in(context(1), raw(27, m.service.Realm)), parts(2, m.service), sealed(3, m.kvno, ticket)))),
		sealed(4, 1, shown)))))
}

// mintAcceptor has the keys of the service, of each type.
func mintAcceptor(now *time.Time, change func(*Options)) *Authenticator {
	p, _ := ParsePrincipal(servant)
	o := Options{Name: "plant", Principal: p, Keys: &Keytab{}, Realms: []string{realm}, Bare: realm, Now: func() time.Time { return *now }}
	for etype, p := range profiles {
		o.Keys.keys = append(o.Keys.keys, serviceKey{2, key{etype, bytes.Repeat([]byte{5}, p.keyBytes)}})
	}
	change(&o)
	a, err := New(o)
	if err != nil {
		panic(err)
	}
	return a
}
