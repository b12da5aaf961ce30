package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/backend"
)

var errGone = errors.New("the connection has ended")

// conn is one connection, which one question uses at a time.
type conn struct {
	net.Conn
	raw  net.Conn         // below TLS
	room io.LimitedReader // what may still be read of the answer
	in   *bufio.Reader    // of room
	last error            // of Read: who parses words it in another way
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.last = err
	return n, err
}

func newConn(said, raw net.Conn) *conn {
	c := &conn{Conn: said, raw: raw}
	c.room.R = c
	c.in = bufio.NewReaderSize(&c.room, 4096)
	return c
}

func (c *conn) end() { _ = c.Close() }

// quiet tells whether nothing has come since the last answer, neither below TLS nor in what
// TLS has read already: what has would be taken for the answer to the next question.
func (c *conn) quiet() bool {
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return false
	}
	n, err := c.Conn.Read(make([]byte, 1)) // with this deadline only what TLS holds
	var late net.Error
	return n == 0 && errors.As(err, &late) && late.Timeout() && c.SetReadDeadline(time.Time{}) == nil && quiet(c.raw)
}

// answer is what a service says to one question.
type answer struct {
	status int
	header http.Header
	body   []byte
}

const (
	// interimMax is how many answers that are none yet (1xx) are passed over.
	interimMax = 3
	// chunkedMax is how much longer a body may be that comes in pieces, each with its length.
	chunkedMax = 4
)

// say does not return later than ctx ends, however slowly bytes drip. again tells whether the
// connection can be used for another question.
func (c *conn) say(ctx context.Context, method string, text []byte) (a answer, again bool, err error) {
	until, _ := ctx.Deadline()
	if err := c.SetDeadline(until); err != nil {
		return a, false, errGone
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.Write(text); err != nil {
		return a, false, failed(err, errGone)
	}
	c.room.N = HeaderBytesMax
	if _, err := c.in.Peek(1); err != nil {
		return a, false, failed(c.last, errGone)
	}
	for range interimMax {
		resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
		switch {
		case err != nil && c.room.N <= 0:
			return a, false, backend.Failed(backend.Excess, "the answer has more than %d bytes of headers", HeaderBytesMax)
		case err != nil:
			return a, false, failed(c.last, backend.Failed(backend.Garbage, "the answer is not of HTTP/1.1"))
		case resp.StatusCode >= 100 && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		a.status, a.header = resp.StatusCode, resp.Header
		c.room.N = chunkedMax * BodyBytesMax
		a.body, err = io.ReadAll(io.LimitReader(resp.Body, BodyBytesMax+1))
		switch {
		case len(a.body) > BodyBytesMax || err != nil && c.room.N <= 0:
			return a, false, backend.Failed(backend.Excess, "the answer is longer than %d bytes", BodyBytesMax)
		case err != nil:
			return a, false, failed(c.last, backend.Failed(backend.Garbage, "the answer breaks off"))
		}
		_ = resp.Body.Close() // it was read to its end
		again = !resp.Close && resp.ProtoAtLeast(1, 1) && c.in.Buffered() == 0 && a.status != http.StatusSwitchingProtocols
		return a, again, nil
	}
	return a, false, backend.Failed(backend.Garbage, "the answer does not come, only others before it")
}

// failed is what an error of the connection means, if it is not that the time is over.
func failed(err, otherwise error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return context.DeadlineExceeded
	}
	return otherwise
}

// unable is a service that says of itself that it cannot answer now.
func unable(status int) error { return backend.Failed(backend.Down, "%s", statusText(status)) }

func statusText(status int) string {
	text := "the service answers " + strconv.Itoa(status)
	if words := http.StatusText(status); words != "" {
		text += " (" + words + ")"
	}
	return text
}

// row is the answer if it is one. A status says nothing about a client.
func (a *answer) row() (backend.Row, error) {
	row := backend.Row{{Name: "status", Value: strconv.Itoa(a.status)}, {Name: "body", Value: string(a.body)}}
	switch {
	case a.status == http.StatusNoContent:
		return row, nil
	case a.status == http.StatusBadGateway || a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout:
		return nil, unable(a.status)
	case a.status >= 300 && a.status < 400:
		return nil, backend.Failed(backend.BadAnswer, "%s; redirects are not followed", statusText(a.status))
	case a.status != http.StatusOK:
		return nil, backend.Failed(backend.BadAnswer, "%s", statusText(a.status))
	}
	kind, params, err := mime.ParseMediaType(strings.Join(a.header.Values("Content-Type"), ","))
	if err != nil || kind != "application/json" {
		return nil, backend.Failed(backend.BadAnswer, "the answer is of another Content-Type than application/json")
	}
	if set := params["charset"]; set != "" && !strings.EqualFold(set, "utf-8") || a.header.Get("Content-Encoding") != "" {
		return nil, backend.Failed(backend.BadAnswer, "the answer is encoded in another way than UTF-8")
	}
	if !utf8.Valid(a.body) || !json.Valid(a.body) {
		return nil, backend.Failed(backend.BadAnswer, "the answer is not JSON")
	}
	return row, nil
}
