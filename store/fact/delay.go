package fact

import (
	"encoding/binary"

	"github.com/redoubtmq/redoubt/store"
)

// Delay is the body of store.Delay: a message that is to be published at Due, in Unix
// milliseconds, if the rules of then let Owner. The record's SID and Epoch are those of
// the publisher's session if that is durable, and At is when it was published. The
// message names no filters: who wants it is known when it is due.
type Delay struct {
	Owner
	Node    string // which took it, and publishes it
	Due     int64
	Message Message
	By      Token
}

// delayFormat is of a Delay whose sender had shown a token; one of anybody else has the format
// of before.
const delayFormat = 2

// DelayEnd is the body of store.DelayEnd: the delayed message that record Seq holds waits
// no more. It stands in one batch with what the message became.
type DelayEnd struct {
	Due int64 // as that record says
	Seq store.Seq
}

// Append appends the encoding to dst. The message is the rest of it, as Message.Append
// writes it. A message with filters and a QoS above 2 are the caller's mistake.
func (l *Delay) Append(dst []byte) []byte {
	if !l.Message.open() {
		panic("BUG: a delayed message that says who wants it")
	}
	is := byte(format)
	if l.By.Shown {
		is = delayFormat
	}
	dst = binary.AppendVarint(append(dst, is), l.Due)
	dst = appendString(l.Owner.appendFields(dst), l.Node)
	if l.By.Shown {
		dst = l.By.appendFields(dst)
	}
	return l.Message.Append(dst)
}

// Decode reads a whole body into l, of which the slices of Message are parts of b. After
// an error l is no delay.
func (l *Delay) Decode(b []byte) error {
	d, is := bodyOf(b, delayFormat)
	filters := l.Message.Filters
	*l = Delay{Due: d.signed("the time")}
	l.takeFields(&d)
	l.Node = d.string("the node")
	if is == delayFormat {
		l.By = d.token()
	}
	if d.bad == "" {
		l.Message.Filters = filters
		if err := l.Message.Decode(d.rest); err != nil {
			return err
		}
		d.rest = nil
		d.check(l.Message.open(), "the message")
	}
	return d.end("delay")
}

// open tells whether a message says nothing yet of whom it is for.
func (m *Message) open() bool { return !m.Broad && len(m.Filters) == 0 && m.Only == 0 }

// Append appends the encoding to dst. Number 0 is the caller's mistake.
func (e *DelayEnd) Append(dst []byte) []byte {
	if e.Seq == 0 {
		panic("BUG: the end of a delayed message without its number")
	}
	return binary.AppendUvarint(binary.AppendVarint(append(dst, format), e.Due), uint64(e.Seq))
}

// Decode reads a whole body into e. After an error e is no end.
func (e *DelayEnd) Decode(b []byte) error {
	d := body(b)
	*e = DelayEnd{Due: d.signed("the time"), Seq: d.seq("the number")}
	d.check(e.Seq != 0, "the number")
	return d.end("delay end")
}
