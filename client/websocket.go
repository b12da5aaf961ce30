package client

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// DefaultWebSocketPath is what MQTT's own examples use.
const DefaultWebSocketPath = "/mqtt"

// webSocket is a connection whose bytes travel in frames of RFC 6455: what is written is one
// binary frame, masked; of what is read the frames are taken off.
type webSocket struct {
	net.Conn
	in *bufio.Reader

	left int64 // payload bytes of the frame that is being read

	mu  sync.Mutex // guards what is written, so that a pong is no part of another frame
	out []byte
}

// Opcodes.
const (
	wsContinuation = 0
	wsBinary       = 2
	wsClose        = 8
	wsPing         = 9
	wsPong         = 10
	wsControlMax   = 125
)

// upgrade asks the server to speak WebSocket from now on.
func upgrade(ctx context.Context, conn net.Conn, o *Options) (*webSocket, error) {
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := "GET " + o.WebSocket + " HTTP/1.1\r\nHost: " + o.address() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, noUpgrade(ctx, o, err)
	}
	head := &io.LimitedReader{R: conn, N: wsAnswerMax}
	w := &webSocket{Conn: conn, in: bufio.NewReader(head)}
	answer, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return nil, noUpgrade(ctx, o, err)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 1.3; it guards nothing
	h := answer.Header
	switch {
	case answer.StatusCode != http.StatusSwitchingProtocols:
		return nil, noUpgrade(ctx, o, fmt.Errorf("it answered %s", Printable(answer.Status)))
	case h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]), !strings.EqualFold(h.Get("Upgrade"), "websocket"):
		return nil, noUpgrade(ctx, o, fmt.Errorf("its answer is not to our request"))
	case h.Get("Sec-WebSocket-Protocol") != "mqtt":
		return nil, noUpgrade(ctx, o, fmt.Errorf("it does not speak mqtt there [MQTT-6.0.0-4]"))
	case !stop():
		return nil, noUpgrade(ctx, o, ctx.Err())
	}
	head.N = math.MaxInt64
	return w, nil
}

// wsAnswerMax bounds the answer to the request, in bytes: a server may go on for ever.
const wsAnswerMax = 64 << 10

// noUpgrade is a server that does not speak WebSocket.
func noUpgrade(ctx context.Context, o *Options, err error) error {
	e := &Error{Kind: KindNoConnack, Err: err, What: fmt.Sprintf("the server at %s does not speak WebSocket at %s: %v", o.address(), Printable(o.WebSocket), err)}
	if ctx.Err() != nil {
		e.Kind = KindTimeout
		return e
	}
	e.Help = append(e.Help, "another path is --ws-path PATH; over TLS it is --protocol wss, without ws")
	return e
}

// Write sends b as one frame.
func (w *webSocket) Write(b []byte) (int, error) {
	if err := w.frame(wsBinary, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// frame sends one frame, masked as a client's have to be (RFC 6455 5.3).
func (w *webSocket) frame(opcode byte, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out[:0], 0x80|opcode)
	switch n := len(b); {
	case n <= wsControlMax:
		w.out = append(w.out, 0x80|byte(n))
	case n <= 0xffff:
		w.out = binary.BigEndian.AppendUint16(append(w.out, 0x80|126), uint16(n))
	default:
		w.out = binary.BigEndian.AppendUint64(append(w.out, 0x80|127), uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	w.out = append(w.out, mask[:]...)
	at := len(w.out)
	w.out = append(w.out, b...)
	for i := range b {
		w.out[at+i] ^= mask[i%4]
	}
	_, err := w.Conn.Write(w.out)
	if cap(w.out) > 1<<20 {
		w.out = nil
	}
	return err
}

// Read reads payload; control frames between are answered.
func (w *webSocket) Read(b []byte) (int, error) {
	for w.left == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(b[:min(int64(len(b)), w.left)])
	w.left -= int64(n)
	return n, err
}

// next reads the head of a frame, and the whole of one that is no data.
func (w *webSocket) next() error {
	var head [8]byte
	if _, err := io.ReadFull(w.in, head[:2]); err != nil {
		return err
	}
	opcode, size := head[0]&15, int64(head[1]&127)
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return fmt.Errorf("a WebSocket frame that no server may send")
	}
	switch size {
	case 126:
		if _, err := io.ReadFull(w.in, head[:2]); err != nil {
			return err
		}
		size = int64(binary.BigEndian.Uint16(head[:]))
	case 127:
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			return err
		}
		if size = int64(binary.BigEndian.Uint64(head[:])); size < 0 {
			return fmt.Errorf("a WebSocket frame of more bytes than there are")
		}
	}
	if opcode == wsBinary || opcode == wsContinuation {
		w.left = size
		return nil
	}
	if size > wsControlMax {
		return fmt.Errorf("a WebSocket frame that is none of data, with %d bytes", size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(w.in, payload); err != nil {
		return err
	}
	switch opcode {
	case wsPing:
		return w.frame(wsPong, payload)
	case wsPong:
		return nil
	case wsClose:
		_ = w.frame(wsClose, payload[:min(2, len(payload))]) // it ends either way
		return io.EOF
	}
	return fmt.Errorf("a WebSocket frame of a kind that carries no MQTT [MQTT-6.0.0-1]")
}
