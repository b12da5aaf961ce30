package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// webServer answers one request by answer, on the other end of a pipe, and then does work.
func webServer(t *testing.T, answer string, work func(c net.Conn, in *bufio.Reader)) (*webSocket, error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		in := bufio.NewReader(far)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if req.URL.Path != "/mqtt" || req.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
			t.Errorf("request %s %v", req.URL, req.Header)
		}
		sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = io.WriteString(far, strings.ReplaceAll(answer, "KEY", base64.StdEncoding.EncodeToString(sum[:])))
		if work != nil {
			work(far, in)
		}
	}()
	o := DefaultOptions()
	o.WebSocket = "/mqtt"
	o.complete()
	w, err := upgrade(context.Background(), near, &o)
	t.Cleanup(func() { _ = near.Close(); <-done })
	return w, err
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

// unmask reads one frame of a client.
func unmask(t *testing.T, in *bufio.Reader) (first byte, payload []byte) {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil {
		t.Error(err)
		return 0, nil
	}
	n := int(head[1] & 127)
	if n == 126 {
		var long [2]byte
		_, _ = io.ReadFull(in, long[:])
		n = int(long[0])<<8 | int(long[1])
	}
	body := make([]byte, 4+n)
	if _, err := io.ReadFull(in, body); err != nil || head[1]&128 == 0 {
		t.Errorf("%x is not masked (%v)", head, err)
	}
	for i := range body[4:] {
		body[4+i] ^= body[i%4]
	}
	return head[0], body[4:]
}

// Bytes go and come in frames: a fragment, a ping between, a frame of 16-bit length, and the end.
func TestWebSocketCarriesBytes(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 300)
	w, err := webServer(t, switching, func(c net.Conn, in *bufio.Reader) {
		if first, b := unmask(t, in); first != 0x82 || !bytes.Equal(b, long) {
			t.Errorf("frame %x of %d bytes", first, len(b))
		}
		_, _ = c.Write([]byte{0x02, 2, 'a', 'b', 0x89, 1, 'p'})
		if first, b := unmask(t, in); first != 0x8a || string(b) != "p" {
			t.Errorf("a ping is answered %x %q", first, b)
		}
		_, _ = c.Write(append([]byte{0x80, 1, 'c', 0x82, 126, 1, 44}, long...))
		_, _ = c.Write([]byte{0x88, 2, 3, 0xe8})
		if first, b := unmask(t, in); first != 0x88 || len(b) != 2 {
			t.Errorf("a close is answered %x %q", first, b)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(long); n != 300 || err != nil {
		t.Fatal(n, err)
	}
	got, err := io.ReadAll(w)
	if want := "abc" + string(long); string(got) != want || err != nil {
		t.Errorf("%d bytes %.10q, %v", len(got), got, err)
	}
}

func TestWebSocketThatIsNone(t *testing.T) {
	for want, answer := range map[string]string{
		"404":                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"not to our":         strings.ReplaceAll(switching, "KEY", "none"),
		"does not speak":     strings.ReplaceAll(switching, "mqtt", "chat"),
		"malformed":          "220 smtp.example ESMTP\r\n\r\n",
		"speak WebSocket at": switching[:40],
		"unexpected EOF":     "HTTP/1.1 101 X\r\nA: " + strings.Repeat("a", 2*wsAnswerMax),
	} {
		_, err := webServer(t, answer, nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != KindNoConnack || !strings.Contains(e.What, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for want, frame := range map[string][]byte{
		"no server may send": {0xc2, 1, 'x'}, "carries no MQTT": {0x81, 1, 'x'}, "none of data": {0x89, 126, 1, 0}, "than there are": {0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0},
	} {
		w, err := webServer(t, switching, func(c net.Conn, _ *bufio.Reader) { _, _ = c.Write(frame) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Read(make([]byte, 9)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %v", frame, err)
		}
	}
}
