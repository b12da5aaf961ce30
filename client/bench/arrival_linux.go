package bench

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// arrivals is how a run that sends at a rate reads: with the time at which the system had what it reads. From then on until
// the run comes to read it is the run's own doing, or that of whoever shares its processor, and no
// latency of the broker's.
type arrivals struct {
	control []byte
	tick    func() int64
	rested  *int64 // of the run
}

// timespecBytes is a struct timespec where a long has 64 bits.
const timespecBytes = 16

func newArrivals(r *run) *arrivals {
	return &arrivals{control: make([]byte, unix.CmsgSpace(timespecBytes)), tick: r.tick, rested: &r.rested}
}

// watch asks for the times of fd. Where the system has none, what is read came just now.
func (a *arrivals) watch(fd int) {
	if a != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	}
}

// read is unix.Read. What came in several segments has the time of the last.
func (a *arrivals) read(fd int, b []byte) (int, error) {
	if a == nil {
		return unix.Read(fd, b)
	}
	n, k, _, _, err := unix.Recvmsg(fd, b, a.control, 0)
	if err != nil {
		return n, err
	}
	a.tick()
	*a.rested = 0
	if at, ok := arrivedAt(a.control[:k]); ok {
		*a.rested = restOf(at, time.Now().UnixNano())
	}
	return n, nil
}

// restMax is more than anybody may keep us from reading: a longer rest is a clock that was set.
const restMax = int64(time.Second)

// restOf is how long ago at was, both in nanoseconds since 1970 by a clock that may be set.
func restOf(at, now int64) int64 {
	if d := now - at; 0 < d && d <= restMax {
		return d
	}
	return 0
}

// arrivedAt reads the time, in nanoseconds since 1970, from the first control message.
func arrivedAt(control []byte) (int64, bool) {
	head := unix.CmsgLen(0)
	if len(control) < head+timespecBytes {
		return 0, false
	}
	ne := binary.NativeEndian
	level, kind := ne.Uint32(control[head-8:]), ne.Uint32(control[head-4:])
	if level != unix.SOL_SOCKET || kind != unix.SO_TIMESTAMPNS_NEW {
		return 0, false
	}
	t := control[head:]
	return int64(ne.Uint64(t))*int64(time.Second) + int64(ne.Uint64(t[8:])), true
}
