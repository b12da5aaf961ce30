package conn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// taped remembers what passed in both directions.
type taped struct {
	*net.TCPConn
	up, down []byte
}

func (c *taped) Write(b []byte) (int, error) {
	c.up = append(c.up, b...)
	return c.TCPConn.Write(b)
}

func (c *taped) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.down = append(c.down, b[:n]...)
	return n, err
}

// hand12 is the client's direction of a TLS 1.2 record layer with AES-128-GCM,
// driven by hand (RFC 5246 §6.3, RFC 5288).
type hand12 struct {
	aead cipher.AEAD
	salt []byte
	seq  uint64
}

func (h *hand12) seal(contentType byte, content []byte) []byte {
	head := []byte{contentType, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(8+len(content)+h.aead.Overhead()))
	explicit := binary.BigEndian.AppendUint64(nil, h.seq)
	extra := append(append([]byte(nil), explicit...), contentType, 3, 3, byte(len(content)>>8), byte(len(content)))
	h.seq++
	return h.aead.Seal(append(head, explicit...), append(append([]byte(nil), h.salt...), explicit...), content, extra)
}

// prf is P_SHA256 (RFC 5246 §5).
func prf(secret []byte, label string, seed []byte, n int) (out []byte) {
	mac := func(b []byte) []byte {
		m := hmac.New(sha256.New, secret)
		_, _ = m.Write(b)
		return m.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := mac(seed); len(out) < n; a = mac(a) {
		out = append(out, mac(append(append([]byte(nil), a...), seed...))...)
	}
	return out[:n]
}

// rough12 is a connected client with TLS 1.2 behind which the test writes records.
func (r *rig) rough12(id string) (*net.TCPConn, *hand12) {
	r.t.Helper()
	keys := keyLog{}
	nc := &taped{TCPConn: r.knock()}
	config := r.real.tls.Clone()
	config.KeyLogWriter, config.MaxVersion = keys, tls.VersionTLS12
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	if err := r.entersWith(nc, config, id); err != nil {
		r.t.Fatal(err)
	}
	random := func(b []byte) []byte { return b[recordHead+6:][:32] }
	block := prf(keys["CLIENT_RANDOM"], "key expansion", append(append([]byte(nil), random(nc.down)...), random(nc.up)...), 40)
	b, err := aes.NewCipher(block[:16])
	if err != nil {
		r.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return nc.TCPConn, &hand12{aead: aead, salt: block[32:36], seq: 2} // Finished and CONNECT were 0 and 1
}

func (r *rig) entersWith(nc net.Conn, config *tls.Config, id string) error {
	before := r.real.tls
	r.real.tls = config
	defer func() { r.real.tls = before }()
	return r.enters(nc, id)
}

// flood writes records until the broker has closed the connection and answers how
// many that took; it fails at most.
func flood(t *testing.T, nc *net.TCPConn, most int, next func() []byte) (sent int) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, nc)
		ended <- err
	}()
	for ; sent < most; sent++ {
		if _, err := nc.Write(next()); err != nil {
			break
		}
	}
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("still open after %d records", sent)
	}
	return sent
}

// What comes behind the handshake and is neither data nor an honest KeyUpdate ends
// the connection, after little: nobody can keep the broker decrypting for nothing,
// and nobody else notices (D-05). Renegotiation does not exist.
func TestStrangeRecordsBehindTheHandshake(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	plain := func(content ...byte) func(func(byte, []byte) []byte) []byte {
		return func(seal func(byte, []byte) []byte) []byte { return seal(content[0], content[1:]) }
	}
	hello := r.clientHello()
	for _, row := range []struct {
		name string
		v12  bool
		v13  bool
		next func(seal func(byte, []byte) []byte) []byte
	}{
		{"HelloRequest", true, false, plain(contentHandshake, 0, 0, 0, 0)},
		{"ClientHello", true, true, plain(append([]byte{contentHandshake}, hello[recordHead:]...)...)},
		{"Finished", true, true, plain(contentHandshake, 20, 0, 0, 1, 0)},
		{"a ticket from the client", true, true, plain(contentHandshake, messageTicket, 0, 0, 6, 0, 0, 0, 0, 0, 0)},
		{"an empty handshake record", true, true, plain(contentHandshake)},
		{"records of an unknown type", true, true, plain(99, 0)},
		{"empty records of data", true, true, plain(contentData)},
		{"alerts of level warning", true, false, plain(contentAlert, 1, 90)},
		{"user_canceled for ever", false, true, plain(contentAlert, 1, 90)},
		{"ChangeCipherSpec, encrypted", true, true, plain(20, 1)},
		{"ChangeCipherSpec, plain", false, true, func(func(byte, []byte) []byte) []byte { return []byte{20, 3, 3, 0, 1, 1} }},
		{"16 MiB announced, byte by byte", true, true, dribble([]byte{messageCertificate, 0xFF, 0xFF, 0xFF})},
		{"64 KiB announced, byte by byte", true, true, dribble([]byte{messageCertificate, 0, 0xFF, 0xFF})},
	} {
		play := func(name string, nc *net.TCPConn, seal func(byte, []byte) []byte) {
			t.Run(row.name+" "+name, func(t *testing.T) {
				turns := r.metrics.Value(metrics.LoopTurns)
				sent := flood(t, nc, 20_000, func() []byte { return row.next(seal) })
				r.becomes("connections, the bystander", 1, r.connections)
				if turns = r.metrics.Value(metrics.LoopTurns) - turns; turns > 20_000 {
					t.Errorf("%d turns for %d records", turns, sent)
				}
				check()
			})
		}
		if row.v12 {
			nc, h := r.rough12("mallory")
			play("1.2", nc, h.seal)
		}
		if row.v13 {
			c := r.rough("mallory/13", 0)
			play("1.3", c.nc, c.up.seal)
		}
	}
}

// dribble seals b, and then zeros, one byte to a record.
func dribble(b []byte) func(seal func(byte, []byte) []byte) []byte {
	at := 0
	return func(seal func(byte, []byte) []byte) []byte {
		next := byte(0)
		if at < len(b) {
			next = b[at]
		}
		at++
		return seal(contentHandshake, []byte{next})
	}
}

// Empty records between data are borne, as OpenSSL once sent them, and each byte of
// data is served.
func TestSomeEmptyRecordsAreBorne(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	watch := r.connect(mqtt.V5, "alice/watch")
	watch.subscribe("open/#", 0)
	nc, h := r.rough12("honest")
	p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte("whole")}
	for _, c := range p.Append(nil, mqtt.V5) {
		for range 10 {
			if _, err := nc.Write(h.seal(contentData, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := nc.Write(h.seal(contentData, []byte{c})); err != nil {
			t.Fatal(err)
		}
	}
	watch.gets("open/x", "whole")
}

// A ClientHello may ask for any server name and any protocols: a NUL in the name
// and 8 KiB of protocols that nobody speaks harm nobody and reach no log as they
// are.
func TestStrangeClientHellos(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	junk := make([]string, 0, 1000)
	for i := range cap(junk) {
		junk = append(junk, "junk\x00\xFF"+string(rune('a'+i%26)))
	}
	for name, change := range map[string]func(*tls.Config){
		"SNI with NUL": func(c *tls.Config) { c.ServerName = "local\x00host.example" },
		"SNI of 255":   func(c *tls.Config) { c.ServerName = strings.Repeat("x", 255) },
		"ALPN junk":    func(c *tls.Config) { c.NextProtos = junk },
	} {
		config := r.real.tls.Clone()
		config.InsecureSkipVerify = true
		change(config)
		nc := r.knock()
		_ = nc.SetDeadline(time.Now().Add(patience))
		err := r.entersWith(nc, config, "strange")
		t.Logf("%s: %v", name, err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: neither let in nor refused", name)
		}
		_ = nc.Close()
		check()
	}
	r.becomes("connections, the bystander", 1, r.connections)
	if strings.Contains(r.log.String(), "\x00") || strings.Contains(r.log.String(), "\xFF") {
		t.Error("a name of the client's is in the log as it came")
	}
}
