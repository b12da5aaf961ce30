package conn

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// This file pins the behaviour of crypto/tls that tlsWire rests on and that its
// documentation does not promise. A new version of Go that fails here must not be
// used before the engine has been changed.

// ditch is one direction of an in-memory connection, without a limit.
type ditch struct {
	mu     sync.Mutex // guards all below
	moved  sync.Cond
	b      []byte
	passed []byte // all that was ever written
}

func newDitch() *ditch {
	d := &ditch{}
	d.moved.L = &d.mu
	return d
}

// banks is a net.Conn between two ditches, for the time of a handshake.
type banks struct {
	net.Conn // nil: the rest is never called
	in, out  *ditch
}

func (c banks) Read(b []byte) (int, error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	for len(c.in.b) == 0 {
		c.in.moved.Wait()
	}
	n := copy(b, c.in.b)
	c.in.b = c.in.b[n:]
	return n, nil
}

func (c banks) Write(b []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.b, c.out.passed = append(c.out.b, b...), append(c.out.passed, b...)
	c.out.moved.Broadcast()
	return len(b), nil
}

// end is one side of a connection whose handshake is over.
type end struct {
	wire *tlsWire
	tls  *tls.Conn
	out  []byte // ciphertext it has written since
}

// wired is a server over a tlsWire and its client, after the handshake. The test
// carries the bytes.
type wired struct {
	t              *testing.T
	server, client *end
	keys           keyLog
	ticket         []byte // the last record the server wrote in its handshake
}

func newWired(t *testing.T, version uint16, change ...func(client *tls.Config)) *wired {
	cert := testCertificate(t)
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	w := &wired{t: t, keys: keyLog{}, server: &end{}, client: &end{}}
	serverConfig := &tls.Config{Certificates: []tls.Certificate{*cert}, DynamicRecordSizingDisabled: true}
	serverConfig.SetSessionTicketKeys([][32]byte{{1: 1}}) // so that another server resumes
	clientConfig := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version, KeyLogWriter: w.keys, DynamicRecordSizingDisabled: true}
	for _, f := range change {
		f(clientConfig)
	}
	up, down := newDitch(), newDitch()
	for e, nc := range map[*end]net.Conn{w.server: banks{in: up, out: down}, w.client: banks{in: down, out: up}} {
		e.wire = &tlsWire{before: nc, append: func(b []byte) { e.out = append(e.out, b...) }}
	}
	w.server.tls, w.client.tls = tls.Server(w.server.wire, serverConfig), tls.Client(w.client.wire, clientConfig)
	shaken := make(chan error, 1)
	go func() { shaken <- w.server.tls.Handshake() }()
	if err := w.client.tls.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	w.server.wire.before, w.client.wire.before = nil, nil
	w.client.wire.in = down.b // the server's tickets, which the client has not asked for yet
	for b := down.passed; len(b) > 0; b = b[recordHead+int(binary.BigEndian.Uint16(b[3:])):] {
		w.ticket = b
	}
	if len(up.b) > 0 {
		t.Fatalf("the server left %d bytes of the handshake unread", len(up.b))
	}
	return w
}

// feed gives e ciphertext and answers the plaintext it makes of it and the error
// at its end: errWouldBlock when it wants more.
func (e *end) feed(b []byte) (plain []byte, err error) {
	e.wire.in = append(e.wire.in, b...)
	buf := make([]byte, readMax)
	for {
		n, err := e.tls.Read(buf)
		plain = append(plain, buf[:n]...)
		if err != nil {
			return plain, err
		}
	}
}

// take is the ciphertext e has written.
func (e *end) take() []byte {
	b := e.out
	e.out = nil
	return b
}

// says is ciphertext of b.
func (e *end) says(t *testing.T, b []byte) []byte {
	t.Helper()
	if _, err := e.tls.Write(b); err != nil {
		t.Fatal(err)
	}
	return e.take()
}

// wants expects plain and that nothing has ended.
func (w *wired) wants(what string, plain, got []byte, err error) {
	w.t.Helper()
	if !errors.Is(err, errWouldBlock) || !bytes.Equal(plain, got) {
		w.t.Fatalf("%s: %d bytes, %v; want %d bytes and the wish for more", what, len(got), err, len(plain))
	}
}

// both runs f with TLS 1.2 and 1.3.
func both(t *testing.T, f func(t *testing.T, version uint16)) {
	for name, v := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) { f(t, v) })
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// Records of 16 KiB, byte by byte: every byte but a record's last is answered with
// the wish for more, and nothing of it is forgotten.
func TestTLSWireRecordsByteByByte(t *testing.T) {
	both(t, func(t *testing.T, v uint16) {
		w := newWired(t, v)
		sent := pattern(3 * recordMax)
		cipher := w.client.says(t, sent)
		var got []byte
		bursts := 0
		for i := range cipher {
			plain, err := w.server.feed(cipher[i : i+1])
			if !errors.Is(err, errWouldBlock) {
				t.Fatalf("byte %d: %v", i, err)
			}
			if len(plain) > 0 {
				bursts++
			}
			got = append(got, plain...)
		}
		if !bytes.Equal(got, sent) || bursts != 3 {
			t.Errorf("%d bytes in %d records, want %d in 3", len(got), bursts, len(sent))
		}
		got, err := w.client.feed(w.server.says(t, sent)) // the other direction is none the worse
		w.wants("the answer", sent, got, err)
	})
}

func TestTLSWireSeveralRecordsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, v uint16) {
		w := newWired(t, v)
		var cipher []byte
		for _, n := range []int{1, 100, recordMax, 7} {
			cipher = append(cipher, w.client.says(t, pattern(n))...)
		}
		cut := len(cipher) - 3 // the end of the last record comes later
		got, err := w.server.feed(cipher[:cut])
		w.wants("all but the last", bytes.Join([][]byte{pattern(1), pattern(100), pattern(recordMax)}, nil), got, err)
		got, err = w.server.feed(cipher[cut:])
		w.wants("the last", pattern(7), got, err)
	})
}

// The end of the conversation comes right behind data: the data is not lost.
func TestTLSWireDataThenCloseNotify(t *testing.T) {
	both(t, func(t *testing.T, v uint16) {
		w := newWired(t, v)
		cipher := w.client.says(t, []byte("last words"))
		if err := w.client.tls.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := w.server.feed(append(cipher, w.client.take()...))
		if string(got) != "last words" || !errors.Is(err, io.EOF) {
			t.Errorf("%q, %v; want the last words and EOF", got, err)
		}
		if _, err := w.server.tls.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("and once more: %v, want EOF again", err)
		}
		if err := w.server.tls.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := w.client.feed(w.server.take()); len(got) > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("the client got %q, %v; want the server's close_notify", got, err)
		}
	})
}

// A record that never ends gives nothing: no part of it is handed out before its
// authenticity is known.
func TestTLSWireHalfARecordGivesNothing(t *testing.T) {
	both(t, func(t *testing.T, v uint16) {
		w := newWired(t, v)
		cipher := w.client.says(t, pattern(recordMax))
		got, err := w.server.feed(cipher[:len(cipher)-1])
		w.wants("all but one byte", nil, got, err)
		got, err = w.server.feed([]byte{cipher[len(cipher)-1] ^ 1})
		if len(got) > 0 || err == nil || errors.Is(err, errWouldBlock) {
			t.Errorf("a forged record: %d bytes, %v", len(got), err)
		}
		if _, again := w.server.feed(w.client.says(t, []byte("more"))); again == nil || errors.Is(again, errWouldBlock) {
			t.Errorf("after a forged record: %v, want an error for ever", again)
		}
	})
}

// The server's tickets leave with its handshake; a client resumes with one.
func TestTLSWireTickets(t *testing.T) {
	both(t, func(t *testing.T, v uint16) {
		cache := tls.NewLRUClientSessionCache(1)
		for _, resumed := range []bool{false, true} {
			w := newWired(t, v, func(c *tls.Config) { c.ClientSessionCache = cache })
			if w.server.tls.ConnectionState().DidResume != resumed {
				t.Fatalf("resumed: %v, want %v", !resumed, resumed)
			}
			if len(w.server.take()) > 0 {
				t.Error("a ticket left after the handshake")
			}
			if v == tls.VersionTLS13 {
				h := newHand(t, w.client.tls.ConnectionState(), w.keys["SERVER_TRAFFIC_SECRET_0"])
				typ, content, rest, ok, err := h.open(w.ticket)
				if err != nil || !ok || typ != contentHandshake || content[0] != messageTicket || len(rest) > 0 {
					t.Fatalf("first record of the server: type %d, %v, %v; want one NewSessionTicket", typ, ok, err)
				}
			}
			got, err := w.client.feed(w.server.says(t, []byte("hello")))
			w.wants("behind the ticket", []byte("hello"), got, err)
			got, err = w.server.feed(w.client.says(t, []byte("you too")))
			w.wants("the answer", []byte("you too"), got, err)
		}
	})
}

// KeyUpdate, whole and split over two records, each cut into bytes; once with the
// wish that the server changes its key as well, which it says at once.
func TestTLSWireKeyUpdate(t *testing.T) {
	w := newWired(t, tls.VersionTLS13)
	state := w.client.tls.ConnectionState()
	up, down := newHand(t, state, w.keys["CLIENT_TRAFFIC_SECRET_0"]), newHand(t, state, w.keys["SERVER_TRAFFIC_SECRET_0"])
	dribble := func(b []byte) (plain []byte) {
		for i := range b {
			p, err := w.server.feed(b[i : i+1])
			if !errors.Is(err, errWouldBlock) {
				t.Fatalf("byte %d: %v", i, err)
			}
			plain = append(plain, p...)
		}
		return plain
	}
	for round := range 3 {
		first, second := up.seal(contentHandshake, keyUpdate[:2]), up.update(keyUpdate[2:])
		if got := dribble(append(first, second...)); len(got) > 0 || len(w.server.out) > 0 {
			t.Fatalf("round %d: a KeyUpdate made %q and the answer % x", round, got, w.server.out)
		}
		if got := dribble(up.seal(contentData, []byte("new key"))); string(got) != "new key" {
			t.Fatalf("round %d: %q", round, got)
		}
		if got := dribble(up.update(keyUpdateWanted)); len(got) > 0 {
			t.Fatalf("round %d: %q", round, got)
		}
		answer := w.server.take()
		typ, content, rest, ok, err := down.open(answer)
		if err != nil || !ok || typ != contentHandshake || !bytes.Equal(content, keyUpdate) || len(rest) > 0 {
			t.Fatalf("round %d: answer type %d % x, %v", round, typ, content, err)
		}
		down.next()
		typ, content, _, ok, err = down.open(w.server.says(t, []byte("mine too")))
		if err != nil || !ok || typ != contentData || string(content) != "mine too" {
			t.Fatalf("round %d: %d %q, %v", round, typ, content, err)
		}
	}
}

// Handshake messages that make no sense behind a handshake.
func TestTLSWireRefusesStrangeMessages(t *testing.T) {
	for name, content := range map[string][]byte{
		"a message of 16 MiB":         {messageCertificate, 0xFF, 0xFF, 0xFF, 0},
		"a ticket from the client":    {messageTicket, 0, 0, 0},
		"a KeyUpdate of two bytes":    {messageKeyUpdate, 0, 0, 2, 0, 0},
		"a KeyUpdate that wants 2":    {messageKeyUpdate, 0, 0, 1, 2},
		"data within a KeyUpdate":     nil,
		"many KeyUpdates and no data": keyUpdate,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWired(t, tls.VersionTLS13)
			up := newHand(t, w.client.tls.ConnectionState(), w.keys["CLIENT_TRAFFIC_SECRET_0"])
			var cipher []byte
			switch name {
			case "data within a KeyUpdate":
				cipher = append(up.seal(contentHandshake, keyUpdate[:3]), up.seal(contentData, []byte("x"))...)
			case "many KeyUpdates and no data":
				for range 40 {
					cipher = append(cipher, up.update(content)...)
				}
			default:
				cipher = up.seal(contentHandshake, content)
			}
			plain, err := w.server.feed(cipher)
			if len(plain) > 0 || err == nil || errors.Is(err, errWouldBlock) {
				t.Errorf("%d bytes, %v; want an error", len(plain), err)
			}
			if len(w.server.take()) == 0 {
				t.Error("no alert")
			}
		})
	}
}

// Nothing of tlsWire waits, whatever deadline crypto/tls sets.
func TestTLSWireHasNoDeadlines(t *testing.T) {
	w := newWired(t, tls.VersionTLS13)
	past := time.Unix(1, 0)
	for _, set := range []func(time.Time) error{w.server.tls.SetDeadline, w.server.tls.SetReadDeadline, w.server.tls.SetWriteDeadline} {
		if err := set(past); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.client.feed(w.server.says(t, []byte("late")))
	w.wants("after the deadline", []byte("late"), got, err)
}
