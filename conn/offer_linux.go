package conn

import (
	"net"

	"golang.org/x/sys/unix"
)

// offer lets another thread that waits for the processor have it first. Meanwhile its place of the runtime is free, and nobody who stops the world waits
// for it.
func offer() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// GiveWay is for the callbacks of a handshake (tls.Config): what it computes takes half a millisecond, and in between others may have
// the processor. c is the connection that they are told of.
func GiveWay(c net.Conn) {
	if w, ok := c.(*tlsWire); ok {
		if h, ok := w.before.(*handshake); ok {
			h.giveWay()
		}
	}
}

func (h *handshake) giveWay() {
	if k := h.by.Load(); k.loop == nil {
		k.letOthers()
	}
}
