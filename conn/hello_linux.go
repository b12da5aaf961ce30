package conn

import (
	"crypto/tls"
	"io"

	"golang.org/x/sys/unix"
)

// Sizes of what comes before a handshake, bytes.
const (
	recordHeader  = 5
	helloMax      = 16 << 10 // of the ClientHello message
	helloRecords  = 4        // it may be spread over
	messageHeader = 4

	// peekMax is how much of the beginning is looked at. What needs more is refused:
	// the descriptor would be readable for ever and never show it.
	peekMax = helloMax + helloRecords*recordHeader + messageHeader
)

// awaitBytes lets epoll report the socket only once n bytes have come. To look at
// half a ClientHello each time the level-triggered descriptor says that it is
// readable would cost a processor.
func (s *fdSocket) awaitBytes(n int) {
	_ = unix.SetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
	s.arm()
}

// awaitGreeting waits for the first bytes of a handshake.
func (s *fdSocket) awaitGreeting() {
	if s.conn.listener.TLS == nil { // a request of HTTP may be short, and is not looked at here
		s.arm()
		return
	}
	s.awaitBytes(recordHeader)
}

// hello looks at what has come of a ClientHello without taking it. Until all of
// it is there nothing is allocated; what is not one is closed here.
func (s *fdSocket) hello(hungUp bool) {
	l, c := s.poll.loop, s.conn
	if s.inLine { // it has sent all it had to: only the end is reported now
		l.hungUp(c)
		return
	}
	n, _, err := unix.Recvfrom(int(s.fd), s.poll.in[:peekMax], unix.MSG_PEEK)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		l.ended(c, io.EOF)
		return
	}
	if c.listener.TLS == nil {
		s.enter()
		return
	}
	need, ok := helloSize(s.poll.in[:n])
	switch {
	case !ok:
		var head tls.RecordHeaderError
		copy(head.RecordHeader[:], s.poll.in[:n])
		head.Msg = "first record does not look like a TLS handshake"
		_, _ = unix.Write(int(s.fd), notTLS)
		l.shaken(c, head)
	case n >= need:
		_ = unix.SetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1)
		s.enter()
	case hungUp:
		l.ended(c, io.EOF)
	default:
		s.awaitBytes(need)
	}
}

// enter begins the handshake, or puts it off until its network may have one more.
func (s *fdSocket) enter() {
	if s.poll.loop.mayBegin(s.conn) {
		s.begin()
	} else if s.conn.stage == greeting {
		s.inLine = true
		s.disarm()
	}
}

// helloSize tells how many bytes must have come before the handshake can go on
// without waiting, as far as b shows it; ok is false for what can never be a
// ClientHello.
func helloSize(b []byte) (need int, ok bool) {
	at, body := 0, 0
	message := messageHeader // bytes of the handshake message, as far as known
	var head [messageHeader]byte
	for range helloRecords {
		if len(b)-at < recordHeader {
			return at + recordHeader, at > 0 || len(b) == 0 || b[0] == 22
		}
		if b[at] != 22 || b[at+1] != 3 {
			return 0, false
		}
		length := int(b[at+3])<<8 | int(b[at+4])
		if length == 0 || length > recordMax {
			return 0, false
		}
		at += recordHeader
		for i := 0; i < length && body+i < messageHeader && at+i < len(b); i++ {
			head[body+i] = b[at+i]
		}
		if body == 0 && len(b) > at && b[at] != 1 {
			return 0, false // not a ClientHello
		}
		if body+min(length, len(b)-at) >= messageHeader {
			message = messageHeader + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
			if message > helloMax {
				return 0, false
			}
		}
		body += length
		at += length
		if body >= message {
			return at, at <= peekMax
		}
		if len(b) < at {
			return at + recordHeader, true
		}
	}
	return 0, false
}
