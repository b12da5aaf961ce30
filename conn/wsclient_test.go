package conn

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/redoubtmq/redoubt/listener"
)

// overWebSocket makes everything of a rig travel in frames.
func overWebSocket(r *rig) { r.web = &listener.WebSocket{Path: "/mqtt"} }

// webSocket is the client's end of one. What is written travels in one frame, in
// several, or in fragments with a ping between them, in turns.
type webSocket struct {
	net.Conn
	t     testing.TB
	in    *bufio.Reader
	left  int // payload bytes of the frame that is being read
	turn  int
	pongs int
	end   uint16 // status of the broker's close frame
}

const upgradeRequest = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: foo, mqtt\r\n\r\n"

// openWebSocket opens one as a device does.
func (r *rig) openWebSocket() *webSocket {
	r.t.Helper()
	w := &webSocket{Conn: r.transport(), t: r.t}
	w.in = bufio.NewReader(w.Conn)
	if _, err := io.WriteString(w.Conn, upgradeRequest); err != nil {
		r.t.Fatal(err)
	}
	w.upgraded()
	return w
}

// upgraded reads the answer to the request.
func (w *webSocket) upgraded() {
	w.t.Helper()
	answer, err := http.ReadResponse(w.in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Sec-WebSocket-Protocol") != "mqtt" || len(answer.Header["Sec-Websocket-Extensions"]) > 0 {
		w.t.Fatalf("the upgrade was answered %s %v", answer.Status, answer.Header)
	}
}

// frame is one frame of a client.
func frame(first byte, payload []byte) []byte {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

func (w *webSocket) Write(b []byte) (int, error) {
	var out []byte
	half := len(b) / 2
	switch w.turn++; w.turn % 3 {
	case 0:
		out = frame(0x82, b)
	case 1:
		out = append(frame(0x82, b[:half]), frame(0x82, b[half:])...)
	case 2:
		out = append(frame(0x02, b[:half]), frame(0x89, []byte("still there?"))...)
		out = append(append(out, frame(0x00, nil)...), frame(0x80, b[half:])...)
	}
	if _, err := w.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (w *webSocket) Read(b []byte) (int, error) {
	for w.left == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

// next reads headers until there is data. The broker's own frames must be
// exactly as the RFC wants them: a strict client would leave.
func (w *webSocket) next() error {
	head := make([]byte, 2)
	if _, err := io.ReadFull(w.in, head); err != nil {
		return err
	}
	n, least := uint64(head[1]), uint64(0)
	long := map[byte]int{126: 2, 127: 8}[head[1]]
	if long > 0 {
		size := make([]byte, 8)
		if _, err := io.ReadFull(w.in, size[8-long:]); err != nil {
			return err
		}
		n, least = binary.BigEndian.Uint64(size), map[int]uint64{2: 126, 8: 1 << 16}[long]
	}
	if n < least || (n == 0 && head[0] == 0x82) {
		return fmt.Errorf("the broker wrote a frame of %d bytes behind % x", n, head)
	}
	switch head[0] {
	case 0x82:
		w.left = int(n)
		return nil
	case 0x88, 0x8a:
		payload := make([]byte, n)
		if _, err := io.ReadFull(w.in, payload); err != nil {
			return err
		}
		if head[0] == 0x88 {
			w.end = binary.BigEndian.Uint16(payload)
			return w.rest()
		}
		if w.pongs++; !bytes.Equal(payload, []byte("still there?")) && len(payload) != 0 {
			return fmt.Errorf("a pong says %q", payload)
		}
		return nil
	}
	return fmt.Errorf("the broker wrote a frame that begins % x", head)
}

// rest expects that nothing follows the close frame.
func (w *webSocket) rest() error {
	if b, err := w.in.ReadByte(); err == nil {
		return fmt.Errorf("%#x behind the close frame", b)
	}
	return io.EOF
}
