package admin

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/topic"
)

// RowsMax is the largest page of a listing with a cursor: about a megabyte of
// JSON. What is longer is read page by page, so that nobody ever sorts or copies
// all of it (A179).
const RowsMax = 1000

// PageQuery asks for a page. It is exported because huma looks into exported
// embedded fields only.
type PageQuery struct {
	Cursor string `query:"cursor" doc:"Where the page before ended (meta.cursor); nothing: the start. It is good for one run of the broker."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Rows on a page, at most."`
}

// Resolve implements huma.Resolver: a limit that is none is a bad request (A174).
func (*PageQuery) Resolve(ctx huma.Context) []error {
	text := ctx.Query("limit")
	if n, err := strconv.Atoi(text); text != "" && (err != nil || n < 1 || n > RowsMax) {
		return []error{newProblem(http.StatusBadRequest, "limit is a number from 1 to "+strconv.Itoa(RowsMax))}
	}
	return nil
}

// PageMeta says where a page ended.
type PageMeta struct {
	Limit   int    `json:"limit" doc:"Rows that were asked for."`
	Count   int    `json:"count" doc:"Rows on this page. A page may be short, or empty, and not be the last."`
	HasNext bool   `json:"hasnext" doc:"Whether there may be another page."`
	Cursor  string `json:"cursor,omitempty" doc:"Asks for the next page; absent on the last."`
}

// cursors makes and reads cursors. One is written for our own reading: kind, the
// run of the broker it belongs to, and a place. It grants nothing, so it is not
// signed; what does not read well is refused (A174).
type cursors struct{ run [4]byte }

func newCursors() *cursors {
	c := &cursors{}
	_, _ = rand.Read(c.run[:]) // never fails: it ends the program instead
	return c
}

// Kinds of cursors.
const (
	cursorSessions      = 's'
	cursorSubscriptions = 'f'
	cursorRetained      = 'r'
)

// cursorBytesMax bounds a cursor: the longest place is a topic name and a little.
const cursorBytesMax = topic.BytesMax + 64

func badCursor() error {
	return newProblem(http.StatusBadRequest, "cursor is not one that this list of this run of the broker gave out; leave it out to begin at the start")
}

func (c *cursors) encode(kind byte, place []byte) string {
	b := append([]byte{kind}, c.run[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, place...))
}

// decode answers the place; nil is the start.
func (c *cursors) decode(kind byte, s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > base64.RawURLEncoding.EncodedLen(cursorBytesMax) {
		return nil, badCursor()
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 5 || b[0] != kind || string(b[1:5]) != string(c.run[:]) {
		return nil, badCursor()
	}
	return b[5:], nil
}

// placeBytes is a conn.Place in a cursor: loop, slot, generation, what is left.
const placeBytes = 16

func (c *cursors) encodePlace(kind byte, p conn.Place) string {
	b := make([]byte, 0, placeBytes)
	for _, n := range []uint32{uint32(p.Loop), p.Slot, p.Gen, p.Left} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return c.encode(kind, b)
}

func (c *cursors) decodePlace(kind byte, s string) (p conn.Place, err error) {
	b, err := c.decode(kind, s)
	if err != nil || b == nil {
		return p, err
	}
	if len(b) != placeBytes || binary.BigEndian.Uint32(b) > 1<<16 {
		return p, badCursor()
	}
	n := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	return conn.Place{Loop: int(n(0)), Place: broker.Place{Slot: n(1), Gen: n(2), Left: n(3)}}, nil
}
