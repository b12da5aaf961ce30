package mqtt

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Frame is one application message, encoded once. Its bytes never change, so that
// every queue and every subscriber shares them; only the few bytes that differ
// are made for each delivery, by AppendWire.
//
// Frames are reference counted to be used again. Whoever keeps one calls Hold,
// and Release when done. Forgetting Release costs a pool miss and no more;
// releasing too often would hand bytes in use to another message, and panics.
//
// The exported fields belong to whoever made the frame until it is first shared,
// and are read-only afterwards.
type Frame struct {
	QoS       QoS           // as published
	Retain    bool          // as published
	Used      atomic.Uint32 // 1: somebody asked for it lately; of whoever keeps retained messages
	ExpiresAt int64         // unix milliseconds; 0: never
	CreatedAt int64         // unix milliseconds
	From      uint64        // publishing session, opaque
	Version   uint64        // version of the retained message; 0: not retained

	refs     atomic.Int32
	class    int8 // size class of buf, or unpooled
	topicLen uint16
	propsLen int32
	from     int32 // where the message begins in buf: not 0 where it was read straight into it
	// buf[from:] is topic length (2 bytes), topic, properties, payload: the pieces of a
	// PUBLISH in their order, so that a delivery copies runs of it.
	buf []byte
}

const (
	// frameBytes is what a Frame takes besides its buffer, rounded up to the
	// allocator's size class.
	frameBytes = 96
	// pooledMax is the largest buffer that is kept for reuse, in bytes. Larger
	// messages are rare, and zeroing them costs little beside copying them.
	pooledMax = 1 << 17
	// Four size classes for each doubling, from 64 bytes on: at most a fifth of a
	// buffer is slack, which matters for messages that are retained for years.
	classShift = 6
	classCount = (17-classShift)*4 + 1

	unpooled = -1
)

var framePools [classCount]sync.Pool

// classOf is the smallest class whose buffers hold n bytes.
func classOf(n int) int {
	if n <= 1<<classShift {
		return 0
	}
	e := bits.Len(uint(n-1)) - 1
	return (e-classShift)*4 + (n-1)>>(e-2)&3 + 1
}

// classBytes is the size of the buffers of a class.
func classBytes(class int) int {
	if class == 0 {
		return 1 << classShift
	}
	e := (class-1)/4 + classShift
	return 1<<e + ((class-1)%4+1)<<(e-2)
}

// takeFrame answers a frame with an empty buffer of at least n bytes.
func takeFrame(n int) *Frame {
	if n > pooledMax {
		return &Frame{class: unpooled, buf: make([]byte, 0, n)}
	}
	class := classOf(n)
	if f, ok := framePools[class].Get().(*Frame); ok {
		return f
	}
	return &Frame{class: int8(class), buf: make([]byte, 0, classBytes(class))}
}

// NewFrame copies a message into a frame with one reference, the caller's. topic
// is at most StringMax bytes: a caller that makes topics longer checks first
// (A026). props is a raw section that a decoder or PublishProperties made, or
// nil; Message Expiry, Topic Alias and Subscription Identifiers belong to one hop
// and are left out.
func NewFrame(topic, props, payload []byte) *Frame {
	f := takeFrame(2 + len(topic) + len(props) + len(payload))
	f.fresh()
	b := appendField(f.buf[:0], topic)
	f.topicLen = uint16(len(topic))
	b = appendForwardable(b, props)
	f.propsLen = int32(len(b) - 2 - len(topic))
	f.buf = append(b, payload...)
	return f
}

// fresh forgets the message before, and gives the caller the one reference.
func (f *Frame) fresh() {
	f.QoS, f.Retain, f.ExpiresAt, f.CreatedAt, f.From, f.Version = 0, false, 0, 0, 0, 0
	f.Used.Store(0)
	f.from = 0
	f.refs.Store(1)
}

// message is the bytes of it.
func (f *Frame) message() []byte { return f.buf[f.from:] }

// Topic is the topic name. Like the other two it is valid while the caller holds
// the frame, and not to be changed.
func (f *Frame) Topic() []byte {
	end := 2 + int(f.topicLen)
	return f.message()[2:end:end]
}

// Props is the raw property section that goes to 5.0 subscribers, without its
// length.
func (f *Frame) Props() []byte {
	start := 2 + int(f.topicLen)
	end := start + int(f.propsLen)
	return f.message()[start:end:end]
}

// Payload is the application's message.
func (f *Frame) Payload() []byte {
	return f.buf[int(f.from)+2+int(f.topicLen)+int(f.propsLen) : len(f.buf) : len(f.buf)]
}

// Size is how many bytes of memory the frame holds. It does not change while the
// frame is held, so that an account can be charged and discharged with it.
func (f *Frame) Size() int { return frameBytes + cap(f.buf) }

// Bytes is how long the message is: topic name, properties and payload.
func (f *Frame) Bytes() int { return len(f.message()) - 2 }

// Hold adds a reference and answers f. The caller must hold one already, or be
// sure that somebody does meanwhile.
func (f *Frame) Hold() *Frame {
	if f.refs.Add(1) <= 1 {
		panic("BUG: mqtt: frame held after its last release")
	}
	return f
}

// Release gives a reference back; after the last one the bytes may belong to
// another message.
func (f *Frame) Release() {
	n := f.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("BUG: mqtt: frame released more often than held")
	}
	if f.class != unpooled {
		framePools[f.class].Put(f)
	}
}
