package harden

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"
)

func selfSigned(t *testing.T) tls.Certificate { return certificateOf(t, "localhost") }

func certificateOf(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost", "old.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serverWS is the other side of wsConn: it takes masked frames, one after the
// other, and answers each write with a ping in between.
type serverWS struct {
	net.Conn
	r    *bufio.Reader
	rest []byte
}

func acceptWebSocket(conn net.Conn) (*serverWS, error) {
	r := bufio.NewReader(conn)
	req, err := http.ReadRequest(r)
	if err != nil || req.URL.Path != "/mqtt" || req.Header.Get("Sec-WebSocket-Protocol") != "mqtt" || req.Header.Get("Sec-WebSocket-Version") != "13" {
		return nil, errors.New("no upgrade")
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	return &serverWS{Conn: conn, r: r}, err
}

func (w *serverWS) Write(b []byte) (int, error) {
	out := []byte{0x89, 1, 'p', 0x82} // a ping before each frame
	if len(b) < 126 {
		out = append(out, byte(len(b)))
	} else {
		out = binary.BigEndian.AppendUint16(append(out, 126), uint16(len(b)))
	}
	if _, err := w.Conn.Write(append(out, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (w *serverWS) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		var h [2]byte
		if _, err := io.ReadFull(w.r, h[:]); err != nil {
			return 0, err
		}
		n := uint64(h[1] & 0x7f)
		var ext [8]byte
		switch n {
		case 126:
			_, _ = io.ReadFull(w.r, ext[:2])
			n = uint64(binary.BigEndian.Uint16(ext[:]))
		case 127:
			_, _ = io.ReadFull(w.r, ext[:])
			n = binary.BigEndian.Uint64(ext[:])
		}
		var mask [4]byte
		if _, err := io.ReadFull(w.r, mask[:]); err != nil || h[0] != 0x82 || h[1]&0x80 == 0 {
			return 0, errors.New("a frame no client may send")
		}
		w.rest = make([]byte, n)
		if _, err := io.ReadFull(w.r, w.rest); err != nil {
			return 0, err
		}
		for i := range w.rest {
			w.rest[i] ^= mask[i%4]
		}
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}
