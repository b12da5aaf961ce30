package mongodb

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redoubtmq/redoubt/backend"
)

// opMsg is the one kind of message there is (MongoDB 3.6).
const opMsg = 2013

// answerMax bounds a message of the server, in bytes: the documents that are wanted with
// what is around them. A server sends up to 48 MB, and all of it would be kept.
const answerMax = 2 * backend.AnswerBytesMax

// conn is a connection that one worker uses at a time.
type conn struct {
	net.Conn
	in   *bufio.Reader
	last uint32 // identifier of what was said last
}

func newConn(raw net.Conn) *conn { return &conn{Conn: raw, in: bufio.NewReader(raw)} }

func (c *conn) end() { _ = c.Close() }

// errGone is a connection that ended before a byte of an answer.
var errGone = errors.New("the server has closed the connection")

// run says a command and reads the document that it is answered with, until ctx is done.
func (c *conn) run(ctx context.Context, command []byte) (doc []byte, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if doc, err = c.exchange(command); err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return doc, err
}

func (c *conn) exchange(command []byte) ([]byte, error) {
	c.last++
	m := make([]byte, 0, 21+len(command))
	m = binary.LittleEndian.AppendUint32(m, uint32(21+len(command)))
	m = binary.LittleEndian.AppendUint32(m, c.last)
	m = binary.LittleEndian.AppendUint32(m, 0)
	m = binary.LittleEndian.AppendUint32(m, opMsg)
	m = binary.LittleEndian.AppendUint32(m, 0) // no flags
	m = append(m, 0)                           // one document
	if _, err := c.Write(append(m, command...)); err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	var head [21]byte
	if n, err := io.ReadFull(c.in, head[:]); err != nil {
		if n == 0 {
			return nil, fmt.Errorf("%w: %w", errGone, err)
		}
		return nil, backend.Failed(backend.Garbage, "the answer is cut off")
	}
	size := binary.LittleEndian.Uint32(head[:])
	flags := binary.LittleEndian.Uint32(head[16:])
	switch {
	case size < 26 || binary.LittleEndian.Uint32(head[8:]) != c.last || binary.LittleEndian.Uint32(head[12:]) != opMsg:
		return nil, backend.Failed(backend.Garbage, "the answer is none of MongoDB's")
	case flags&^1 != 0 || head[20] != 0: // a checksum, or more to come: nobody has asked for it
		return nil, backend.Failed(backend.Garbage, "the answer has parts that were not asked for")
	case size > answerMax:
		return nil, backend.Failed(backend.Excess, "the answer is longer than %d bytes", answerMax)
	}
	left := int(size) - len(head)
	if flags&1 != 0 {
		left -= 4 // a checksum, behind the document
	}
	if left < 5 {
		return nil, backend.Failed(backend.Garbage, "the answer is none of MongoDB's")
	}
	doc := make([]byte, left)
	if _, err := io.ReadFull(c.in, doc); err != nil {
		return nil, backend.Failed(backend.Garbage, "the answer is cut off")
	}
	if flags&1 != 0 {
		if _, err := c.in.Discard(4); err != nil {
			return nil, backend.Failed(backend.Garbage, "the answer is cut off")
		}
	}
	return doc, nil
}

// refusal is what a server says in place of an answer.
type refusal struct {
	code int64
	name string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers with an error (%s, code %d)", r.name, r.code)
}

// refused tells whether the document is one. Of its words only the name of the code is kept:
// the others may repeat what a client chose.
func refused(doc []byte) error {
	if err := elements(doc, func(string, value) error { return nil }); err != nil {
		return backend.Failed(backend.Garbage, "%v", err)
	}
	if ok, there := find(doc, "ok"); there && ok.asBool() {
		return nil
	}
	r := &refusal{name: "without a name"}
	if v, ok := find(doc, "code"); ok {
		r.code, _ = v.asNumber()
	}
	if v, ok := find(doc, "codeName"); ok {
		if text, ok := v.asText(); ok && len(text) <= 64 {
			r.name = fmt.Sprintf("%q", text)
		}
	}
	return r
}
