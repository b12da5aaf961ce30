package mqtt

// A large PUBLISH is read straight into the memory in which its subscribers share it: whoever
// reads knows from the fixed header how large it is, and asks for a room. What comes before the
// payload is put in front of it when the message is looked at; the payload stays where it was
// read.

// RoomMax is the size of the largest packet for which there is a room: memory that is made anew for
// each message is cheaper to ask for when all of it has come.
const RoomMax = pooledMax

// RoomBytes is how much memory the room for a packet of n bytes takes.
func RoomBytes(n int) int { return classBytes(classOf(n)) }

// NewRoom is a frame without a message, with one reference, the caller's: only Room and Release
// may be asked of it, until Publish.Frame has made a message of it. n is at most RoomMax.
func NewRoom(n int) *Frame {
	f := takeFrame(n)
	f.fresh()
	return f
}

// Room is where a packet of n bytes, its fixed header included, is to be read to: to the end of
// the memory, so that what is left lies in front of it.
func (f *Frame) Room(n int) []byte {
	b := f.buf[:cap(f.buf)]
	return b[len(b)-n:]
}

// Frame makes a frame of the packet as a message about topic, which may be another one than the
// packet says; see NewFrame. If the packet lies in a room of its own, that becomes the frame,
// and p.Room is nil afterwards: what the packet, and topic, had of bytes may have been
// overwritten then, except for the payload.
func (p *Publish) Frame(topic []byte) *Frame {
	if f := p.Room; f != nil && f.become(topic, p.Props, p.Payload) {
		p.Room = nil
		return f
	}
	return NewFrame(topic, p.Props, p.Payload)
}

// headScratch is how long properties may be of which some are left out, for a room to become the
// message: they are put together beside it.
const headScratch = 512

// become makes a room the message whose payload is in it, or tells that it does not fit.
func (f *Frame) become(topic, props, payload []byte) bool {
	room := f.buf[:cap(f.buf)]
	at := len(room) - len(payload)
	if len(payload) == 0 || at < 0 || &room[at] != &payload[0] {
		return false
	}
	if kept := forwardable(props); kept != len(props) {
		if kept > headScratch {
			return false
		}
		var scratch [headScratch]byte
		props = appendForwardable(scratch[:0], props)
	}
	from := at - len(props) - len(topic) - 2
	if from < 0 {
		return false
	}
	copy(room[at-len(props):], props) // first: the topic may be written over where they were
	copy(room[from+2:], topic)
	room[from], room[from+1] = byte(len(topic)>>8), byte(len(topic))
	f.buf, f.from = room, int32(from) //nolint:gosec // within a packet
	f.topicLen, f.propsLen = uint16(len(topic)), int32(len(props))
	return true
}

// forwardable is how many bytes of a validated section go on to subscribers.
func forwardable(raw []byte) int {
	n := len(raw)
	for i := 0; i < len(raw); {
		size := propSize(raw[i:])
		if uint64(perHop)&(1<<raw[i]) != 0 {
			n -= size
		}
		i += size
	}
	return n
}
