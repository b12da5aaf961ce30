package harden

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// wsConn carries MQTT in binary WebSocket frames (RFC 6455), as much of it as a
// probe needs: one frame per write, and control frames read past.
type wsConn struct {
	net.Conn
	r    *bufio.Reader
	left uint64 // of the frame being read
}

// upgrade asks for the mqtt subprotocol on c [MQTT-6.0.0-3].
func upgrade(c net.Conn, host, path string) (*wsConn, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails: it ends the program instead
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", path, host, key)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()                                               // of a 101 it is empty: what follows is read from r
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §1.3; not for security
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("the upgrade was answered %s", shortened(resp.Status))
	case resp.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return nil, errors.New("the upgrade was answered with another key")
	case resp.Header.Get("Sec-WebSocket-Protocol") != "mqtt":
		return nil, errors.New("the upgrade was answered without the mqtt subprotocol")
	}
	return &wsConn{Conn: c, r: r}, nil
}

// Write sends b as one masked binary frame.
func (w *wsConn) Write(b []byte) (int, error) {
	const final, binaryFrame, masked = 0x80, 0x02, 0x80
	out := []byte{final | binaryFrame}
	switch n := len(b); {
	case n < 126:
		out = append(out, masked|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, masked|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, masked|127), uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails: it ends the program instead
	out = append(out, mask[:]...)
	for i, x := range b {
		out = append(out, x^mask[i%4])
	}
	if _, err := w.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read answers bytes of data frames. A close frame is the end.
func (w *wsConn) Read(b []byte) (int, error) {
	for w.left == 0 {
		op, n, err := w.header()
		if err != nil {
			return 0, err
		}
		const closing, control = 0x8, 0x8
		switch {
		case op == closing:
			return 0, io.EOF
		case op&control != 0:
			if _, err := io.CopyN(io.Discard, w.r, int64(n)); err != nil {
				return 0, err
			}
		default:
			w.left = n
		}
	}
	n, err := w.r.Read(b[:min(uint64(len(b)), w.left)])
	w.left -= uint64(n)
	return n, err
}

func (w *wsConn) header() (op byte, size uint64, err error) {
	var b [8]byte
	if _, err = io.ReadFull(w.r, b[:2]); err != nil {
		return 0, 0, err
	}
	op, size = b[0]&0x0f, uint64(b[1]&0x7f)
	switch size {
	case 126:
		_, err = io.ReadFull(w.r, b[:2])
		size = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		_, err = io.ReadFull(w.r, b[:8])
		size = binary.BigEndian.Uint64(b[:])
	}
	if err == nil && size > packetReadMax {
		err = fmt.Errorf("a frame of %d bytes", size)
	}
	return op, size, err
}
