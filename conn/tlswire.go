package conn

import (
	"net"
	"os"
	"time"
)

// recordMax is the longest content of a TLS record, bytes (RFC 8446 §5.1).
const recordMax = 16 << 10

// errWouldBlock is what a tlsWire answers when it has nothing to read. crypto/tls
// keeps an error and answers it for ever, unless it says that it is temporary:
// then it keeps what it has of a record and goes on with the next Read. That is
// how the code is, not what its documentation promises; a test pins it and runs
// with every new version of Go.
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// tlsWire is what tls.Conn has for a network connection once its handshake is
// done. It never blocks: what is read is what the loop has put into in, and what
// is written goes to the end of an out-buffer that the loop empties.
type tlsWire struct {
	in     []byte
	append func(ciphertext []byte)
	before net.Conn // does the work while the handshake runs; nil afterwards
}

// Read implements net.Conn.
func (w *tlsWire) Read(b []byte) (int, error) {
	if w.before != nil {
		return w.before.Read(b)
	}
	if len(w.in) == 0 {
		return 0, errWouldBlock
	}
	n := copy(b, w.in)
	w.in = w.in[n:]
	return n, nil
}

// Write implements net.Conn. It takes everything: crypto/tls has encrypted it, and
// a record that is half written could never be repaired.
func (w *tlsWire) Write(b []byte) (int, error) {
	if w.before != nil {
		return w.before.Write(b)
	}
	w.append(b)
	return len(b), nil
}

// Close implements net.Conn; the descriptor is the socket's.
func (w *tlsWire) Close() error { return nil }

// LocalAddr implements net.Conn; nothing asks.
func (w *tlsWire) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn; nothing asks.
func (w *tlsWire) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn; deadlines are the loop's.
func (w *tlsWire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (w *tlsWire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn. crypto/tls calls it around close_notify.
func (w *tlsWire) SetWriteDeadline(time.Time) error { return nil }

// errHandshakeTime ends a handshake at its connection's deadline.
var errHandshakeTime = os.ErrDeadlineExceeded
