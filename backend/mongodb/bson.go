package mongodb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Types of BSON that are written or read here; bsonspec.org.
const (
	typeDouble   = 0x01
	typeString   = 0x02
	typeDocument = 0x03
	typeArray    = 0x04
	typeBinary   = 0x05
	typeObjectID = 0x07
	typeBool     = 0x08
	typeDateTime = 0x09
	typeNull     = 0x0a
	typeInt32    = 0x10
	typeInt64    = 0x12
)

// builder writes one document. Elements of documents within go between open and close.
type builder struct {
	b    []byte
	open []int // where the lengths of documents are that have not ended
}

func newBuilder() *builder { return &builder{b: make([]byte, 4, 256), open: []int{0}} }

// name begins an element. A zero byte would end it early; names are the operator's or ours.
func (w *builder) name(kind byte, name string) {
	w.b = append(w.b, kind)
	w.b = append(w.b, strings.ReplaceAll(name, "\x00", "")...)
	w.b = append(w.b, 0)
}

// text is a string, whatever is in it: its length stands before it.
func (w *builder) text(name, v string) *builder {
	w.name(typeString, name)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(v)+1))
	w.b = append(append(w.b, v...), 0)
	return w
}

func (w *builder) int32(name string, v int32) *builder {
	w.name(typeInt32, name)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(v))
	return w
}

func (w *builder) int64(name string, v int64) *builder {
	w.name(typeInt64, name)
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(v))
	return w
}

func (w *builder) double(name string, v float64) *builder {
	w.name(typeDouble, name)
	w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(v))
	return w
}

func (w *builder) bool(name string, v bool) *builder {
	w.name(typeBool, name)
	if v {
		w.b = append(w.b, 1)
		return w
	}
	w.b = append(w.b, 0)
	return w
}

func (w *builder) null(name string) *builder {
	w.name(typeNull, name)
	return w
}

func (w *builder) bytes(name string, v []byte) *builder {
	w.name(typeBinary, name)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(v)))
	w.b = append(append(w.b, 0), v...)
	return w
}

// begin opens a document, or an array, whose names are 0, 1, 2...
func (w *builder) begin(kind byte, name string) *builder {
	w.name(kind, name)
	w.open = append(w.open, len(w.b))
	w.b = append(w.b, 0, 0, 0, 0)
	return w
}

// end closes what was opened last.
func (w *builder) end() *builder {
	at := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	w.b = append(w.b, 0)
	binary.LittleEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
	return w
}

// document is all of it; the builder is of no use afterwards.
func (w *builder) document() []byte { return w.end().b }

// value is one of a document that came.
type value struct {
	kind byte
	raw  []byte
}

// errBSON is what is no document.
var errBSON = errors.New("the answer is no BSON")

// elements calls fn for each element of a document, in order. It looks at nothing that is
// within one, so that no depth costs anything. What is cut short, or longer than it says, is
// an error.
func elements(doc []byte, fn func(name string, v value) error) error {
	if len(doc) < 5 || uint64(binary.LittleEndian.Uint32(doc)) != uint64(len(doc)) || doc[len(doc)-1] != 0 {
		return errBSON
	}
	for rest := doc[4 : len(doc)-1]; len(rest) > 0; {
		kind := rest[0]
		at := bytes.IndexByte(rest[1:min(len(rest), 1+nameMax)], 0)
		if at < 0 {
			return errBSON
		}
		name := string(rest[1 : 1+at])
		rest = rest[2+at:]
		n, ok := size(kind, rest)
		if !ok || n > len(rest) {
			return errBSON
		}
		if err := fn(name, value{kind, rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// nameMax bounds the name of an element that is read, in bytes.
const nameMax = 1024

// size is how many bytes a value takes.
func size(kind byte, b []byte) (n int, ok bool) {
	long := func(more, least uint64) (int, bool) {
		if len(b) < 4 {
			return 0, false
		}
		l := uint64(binary.LittleEndian.Uint32(b))
		if l < least || l+more > uint64(len(b)) {
			return 0, false
		}
		return int(l + more), true
	}
	switch kind {
	case typeDouble, typeDateTime, typeInt64, 0x11: // timestamp
		return 8, true
	case typeString, 0x0d, 0x0e: // code, symbol
		return long(4, 1)
	case typeDocument, typeArray:
		return long(0, 5)
	case typeBinary:
		return long(5, 0)
	case 0x06, typeNull, 0x7f, 0xff: // undefined, the keys of shards
		return 0, true
	case typeObjectID:
		return 12, true
	case typeBool:
		return 1, true
	case typeInt32:
		return 4, true
	case 0x13: // decimal128
		return 16, true
	case 0x0b: // a regular expression: two texts that end with a zero
		first := bytes.IndexByte(b, 0)
		if first < 0 {
			return 0, false
		}
		second := bytes.IndexByte(b[first+1:], 0)
		return first + second + 2, second >= 0
	case 0x0c: // a pointer
		n, ok := long(4, 1)
		return n + 12, ok
	case 0x0f: // code with a scope
		return long(0, 14)
	}
	return 0, false
}

// find is the first element of that name.
func find(doc []byte, name string) (v value, ok bool) {
	_ = elements(doc, func(n string, e value) error {
		if n == name && !ok {
			v, ok = e, true
		}
		return nil
	})
	return v, ok
}

// asText is a string.
func (v value) asText() (string, bool) {
	if v.kind != typeString || v.raw[len(v.raw)-1] != 0 {
		return "", false
	}
	return string(v.raw[4 : len(v.raw)-1]), true
}

// asNumber is a number of any kind that has no fraction.
func (v value) asNumber() (int64, bool) {
	switch v.kind {
	case typeInt32:
		return int64(int32(binary.LittleEndian.Uint32(v.raw))), true
	case typeInt64:
		return int64(binary.LittleEndian.Uint64(v.raw)), true
	case typeDouble:
		f := math.Float64frombits(binary.LittleEndian.Uint64(v.raw))
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	return 0, false
}

// asBytes are those of binary data.
func (v value) asBytes() ([]byte, bool) {
	if v.kind != typeBinary {
		return nil, false
	}
	return v.raw[5:], true
}

func (v value) asBool() bool {
	n, ok := v.asNumber()
	return v.kind == typeBool && v.raw[0] == 1 || ok && n == 1
}

// column is a value as a row has it: text, a number without a fraction, true or false, the
// digits of an identifier, or nothing.
func (v value) column() (text string, null, ok bool) {
	switch v.kind {
	case typeNull, 0x06:
		return "", true, true
	case typeString:
		text, ok = v.asText()
		return text, false, ok && utf8.ValidString(text)
	case typeBool:
		return strconv.FormatBool(v.raw[0] == 1), false, v.raw[0] <= 1
	case typeObjectID:
		return hex.EncodeToString(v.raw), false, true
	}
	n, ok := v.asNumber()
	return strconv.FormatInt(n, 10), false, ok
}
