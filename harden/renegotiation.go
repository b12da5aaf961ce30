package harden

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// In TLS 1.2 a client can begin a handshake within the connection it has, at no
// cost to itself, and that is how a single one keeps a server busy
// (CVE-2011-1473). No TLS library of today asks for it, so a handshake is made by
// the library and the record behind it by hand, with the keys of that connection.
// Rules: RFC 5246 §6.3, §7.4.1.1; RFC 5288; RFC 5746 §3.5.

// renegotiation asks for one as a client that does everything right.
func (p *cipherProbe) renegotiation() {
	const what, want = "renegotiation begun by the client", "alert, and no ServerHello"
	r, done, err := p.handshake12()
	if err == nil {
		defer done()
		p.ticket(r.ticketLife)
		var g greeting
		if g, err = r.again(p.accepted); err == nil {
			p.secondRefused(g, what, want)
			return
		}
	}
	words, state := shortened(err.Error()), Unknown
	switch {
	case errors.Is(err, errNoGCM):
		words, state = "not tried: "+words, NotApplicable
	case errors.Is(err, errCertificate):
		words, state = "not tried: "+words, NotApplicable
	}
	p.see(Probe, what, want, words, state)
}

// ticketLifeMax is the longest life of a session ticket (RFC 8446 §4.6.1): who has its
// key reads all of it.
const ticketLifeMax = 7 * 24 * 3600

// ticket judges how long a session can be resumed without another key exchange.
func (p *cipherProbe) ticket(seconds int64) {
	const what, want = "life of session tickets in TLS 1.2", "7 days at most"
	switch {
	case seconds < 0:
		p.see(Probe, what, want, "there are none", Pass)
	case seconds == 0:
		p.see(Probe, what, want, "the server does not say", NotApplicable)
	default:
		p.see(Probe, what, want, age(time.Duration(seconds)*time.Second), passIf(seconds <= ticketLifeMax, Warn))
	}
}

// ticketLife finds NewSessionTicket among what a server has sent in plain text (RFC
// 5077 §3.3); -1: there is none.
func ticketLife(sent []byte) int64 {
	const handshakeRecord, newSessionTicket = 22, 4
	for len(sent) >= 5 && sent[0] == handshakeRecord {
		n := 5 + int(binary.BigEndian.Uint16(sent[3:]))
		if len(sent) < n {
			break
		}
		for msg := sent[5:n]; len(msg) >= 4; {
			size := 4 + (int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3]))
			if msg[0] == newSessionTicket && len(msg) >= 8 {
				return int64(binary.BigEndian.Uint32(msg[4:]))
			}
			if len(msg) < size {
				break
			}
			msg = msg[size:]
		}
		sent = sent[n:]
	}
	return -1
}

// secondRefused judges the answer to a second hello. A server that closes without
// an alert has refused it if it goes on with what is no hello.
func (p *cipherProbe) secondRefused(g greeting, what, want string) {
	if g.accepted != 0 || g.alerted || g.other != closedWordless {
		state := Unknown
		switch {
		case g.accepted != 0:
			state = Fail
		case g.alerted:
			state = Pass
		}
		p.see(Probe, what, want, g.String(), state)
		return
	}
	control := "an answer"
	r, done, err := p.handshake12()
	if err == nil {
		defer done()
		err = r.answers(p.words)
	}
	if err != nil {
		control = shortened(err.Error())
	}
	p.see(Probe, what, want, g.String()+"; to a first packet in its place (positive control): "+control, passIf(err == nil, Unknown))
}

// handshake12 opens a connection whose records can be made by hand.
func (p *cipherProbe) handshake12() (*records12, func(), error) {
	c, err := p.e.dial(p.ctx, p.a)
	if err != nil {
		return nil, nil, err
	}
	r, err := handshake12(c, p)
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return r, func() { _ = c.Close() }, nil
}

var (
	errNoGCM       = errors.New("the server has no suite with AES-GCM")
	errCertificate = errors.New("nobody gets to the end of a handshake without a certificate, and none could be made")
)

// gcmSuites are those whose records are made here, with the length of their keys.
var gcmSuites = map[uint16]struct {
	key  int
	hash func() hash.Hash
}{
	0xc02b: {16, sha256.New}, 0xc02f: {16, sha256.New}, 0xc02c: {32, sha512.New384}, 0xc030: {32, sha512.New384},
}

// tapped notes what crosses a connection.
type tapped struct {
	net.Conn
	in, out bytes.Buffer
}

// Read implements net.Conn.
func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.in.Write(b[:n])
	return n, err
}

// Write implements net.Conn.
func (t *tapped) Write(b []byte) (int, error) {
	t.out.Write(b)
	return t.Conn.Write(b)
}

// records12 is a connection of TLS 1.2 behind its handshake.
type records12 struct {
	conn         net.Conn
	name         string // of the server
	ours, theirs cipher.AEAD
	oursIV       []byte
	theirsIV     []byte
	finished     []byte // verify_data of our Finished
	ticketLife   int64  // in seconds, of the session ticket that came; -1: none did
}

// handshake12 makes a handshake and works out its keys. That our own Finished can
// be read with them proves that they are right.
func handshake12(c net.Conn, p *cipherProbe) (*records12, error) {
	var offered []uint16
	for _, s := range p.accepted {
		if _, ok := gcmSuites[s]; ok {
			offered = append(offered, s)
		}
	}
	if len(offered) == 0 {
		return nil, errNoGCM
	}
	tap, keys, own, asked := &tapped{Conn: c}, bytes.Buffer{}, p.e.goodCert(p.listener), false
	t := tls.Client(tap, &tls.Config{InsecureSkipVerify: true, ServerName: p.name, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: offered, KeyLogWriter: &keys, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			if own == nil {
				return &tls.Certificate{}, nil
			}
			return own, nil
		}})
	if err := t.HandshakeContext(p.ctx); err != nil {
		if asked && own == nil {
			return nil, errCertificate
		}
		return nil, err
	}
	suite := gcmSuites[t.ConnectionState().CipherSuite]
	words := strings.Fields(keys.String()) // CLIENT_RANDOM, the number, the secret
	if len(words) != 3 || suite.key == 0 {
		return nil, errors.New("the handshake left no keys")
	}
	clientRandom, err := hex.DecodeString(words[1])
	secret, err2 := hex.DecodeString(words[2])
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	const randomAt = 5 + 4 + 2
	if tap.in.Len() < randomAt+32 {
		return nil, errors.New("a handshake without a ServerHello")
	}
	seed := slices.Concat(tap.in.Bytes()[randomAt:randomAt+32], clientRandom)
	block := prf12(suite.hash, secret, "key expansion", seed, 2*suite.key+8)
	r := &records12{conn: c, name: p.name, oursIV: block[2*suite.key : 2*suite.key+4], theirsIV: block[2*suite.key+4:], ticketLife: ticketLife(tap.in.Bytes())}
	if r.ours, err = gcm(block[:suite.key]); err != nil {
		return nil, err
	}
	if r.theirs, err = gcm(block[suite.key : 2*suite.key]); err != nil {
		return nil, err
	}
	return r, r.readFinished(tap.out.Bytes())
}

// readFinished finds our Finished among what we have sent: the record behind
// ChangeCipherSpec.
func (r *records12) readFinished(sent []byte) error {
	const changeCipherSpec = 20
	for changed := false; len(sent) >= 5; {
		n := 5 + int(binary.BigEndian.Uint16(sent[3:]))
		if len(sent) < n {
			break
		}
		if changed {
			plain, err := open12(r.ours, r.oursIV, 0, sent[0], sent[5:n])
			if err != nil {
				return err
			}
			if len(plain) != 4+12 {
				return errors.New("our own Finished cannot be read")
			}
			r.finished = plain[4:]
			return nil
		}
		changed = sent[0] == changeCipherSpec
		sent = sent[n:]
	}
	return errors.New("our own Finished is not there")
}

// again sends a ClientHello inside the connection and reads one record.
func (r *records12) again(suites []uint16) (greeting, error) {
	h := hello{legacy: tls12, suites: suites, name: r.name, verify: r.finished}
	record, err := h.encode()
	if err != nil {
		return greeting{}, err
	}
	const handshakeType, alertType = 22, 21
	if _, err := r.conn.Write(seal12(r.ours, r.oursIV, 1, handshakeType, record[5:])); err != nil {
		return greeting{other: closing(err)}, nil
	}
	typ, plain, err := r.read()
	switch {
	case errors.Is(err, errRecord):
		return greeting{}, err
	case err != nil:
		return greeting{other: closing(err)}, nil
	case typ == alertType && len(plain) >= 2:
		return greeting{alerted: true, alert: plain[1]}, nil
	case typ == handshakeType:
		s, err := parseServerHello(plain)
		if err != nil {
			return greeting{}, err
		}
		return greeting{accepted: s.version, hello: s}, nil
	}
	return greeting{other: fmt.Sprintf("a record of type %d", typ)}, nil
}

// answers sends words of the application and waits for any.
func (r *records12) answers(words []byte) error {
	const application = 23
	if _, err := r.conn.Write(seal12(r.ours, r.oursIV, 1, application, words)); err != nil {
		return err
	}
	typ, _, err := r.read()
	if err == nil && typ != application {
		err = fmt.Errorf("a record of type %d", typ)
	}
	return err
}

// errRecord is what cannot be read with the keys of the connection.
var errRecord = errors.New("a record that cannot be read")

// read reads the first record behind the handshake.
func (r *records12) read() (typ byte, plain []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r.conn, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(binary.BigEndian.Uint16(head[3:]))
	if size > 1<<14+256 {
		return 0, nil, errRecord
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r.conn, body); err != nil {
		return 0, nil, err
	}
	plain, err = open12(r.theirs, r.theirsIV, 1, head[0], body)
	return head[0], plain, err
}

func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// additional is what a record's tag is over beside its content.
func additional(sequence uint64, typ byte, size int) []byte {
	out := append(binary.BigEndian.AppendUint64(nil, sequence), typ, 3, 3)
	return binary.BigEndian.AppendUint16(out, uint16(size))
}

func seal12(c cipher.AEAD, iv []byte, sequence uint64, typ byte, plain []byte) []byte {
	explicit := binary.BigEndian.AppendUint64(nil, sequence)
	body := c.Seal(explicit, slices.Concat(iv, explicit), plain, additional(sequence, typ, len(plain)))
	return vector16([]byte{typ, 3, 3}, body)
}

func open12(c cipher.AEAD, iv []byte, sequence uint64, typ byte, body []byte) ([]byte, error) {
	if len(body) < 8+c.Overhead() {
		return nil, errRecord
	}
	plain, err := c.Open(nil, slices.Concat(iv, body[:8]), body[8:], additional(sequence, typ, len(body)-8-c.Overhead()))
	if err != nil {
		return nil, errRecord
	}
	return plain, nil
}

// prf12 is the pseudo-random function of TLS 1.2 (RFC 5246 §5).
func prf12(h func() hash.Hash, secret []byte, label string, seed []byte, size int) (out []byte) {
	mac := func(parts ...[]byte) []byte {
		m := hmac.New(h, secret)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := mac(seed); len(out) < size; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:size]
}
