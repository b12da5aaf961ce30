package bench

import "encoding/binary"

// StampBytes is what the beginning of every payload says: which run it is of,
// which publisher, the how-manieth of that publisher, and when it was to be sent.
const StampBytes = 16

// A stamp counts time in ticks of 100 ns since 1970, 48 bits of them: they come
// round after 325 days, and only differences count.
const (
	tickNanos = 100
	tickMask  = 1<<48 - 1
	idMask    = 1<<24 - 1
)

// publishersMax is how many publishers a stamp can tell apart.
const publishersMax = idMask

type stamp struct {
	run, publisher uint32 // 24 bits each
	seq            uint32
	tick           uint64
}

// put writes s to the first StampBytes of b.
func (s stamp) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(s.run&idMask)<<40|uint64(s.publisher&idMask)<<16|s.tick>>32&0xffff)
	binary.BigEndian.PutUint32(b[8:], uint32(s.tick))
	binary.BigEndian.PutUint32(b[12:], s.seq)
}

// readStamp reads what put wrote; false: too short to hold one.
func readStamp(b []byte) (s stamp, ok bool) {
	if len(b) < StampBytes {
		return s, false
	}
	a := binary.BigEndian.Uint64(b)
	s.run, s.publisher = uint32(a>>40), uint32(a>>16)&idMask
	s.tick = a&0xffff<<32 | uint64(binary.BigEndian.Uint32(b[8:]))
	s.seq = binary.BigEndian.Uint32(b[12:])
	return s, true
}

// tickOf is the tick of a time in nanoseconds since 1970.
func tickOf(unixNanos int64) uint64 { return uint64(unixNanos/tickNanos) & tickMask }

// since is how many nanoseconds passed from tick to now. What lies in the future, by clocks
// that differ, is negative.
func since(tick uint64, unixNanos int64) int64 {
	d := int64((tickOf(unixNanos)-tick)&tickMask) << 16 >> 16 // with the sign of bit 47
	return d * tickNanos
}
