// Package listener is the policy at the door: which addresses are open, with
// which TLS, and who may come in before anybody has read a byte. It moves no
// bytes and starts no goroutine; package conn does, and asks here first.
//
// Rules: checklist rows P1.4 and P4.3; attacks A001 to A003, D-01, D-02.
package listener

import (
	"crypto/tls"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/pki"
)

// Listener is one named entrance for clients, with the sockets it listens on.
type Listener struct {
	Name      string
	Protocol  string                      // as in the configuration: mqtts, mqtt, wss, ws, quic, unix
	Chain     string                      // authentication chain
	TLS       *tls.Config                 // nil: plaintext
	Clients   atomic.Pointer[pki.Clients] // how certificates of clients are judged; nil: nobody is asked for one
	WebSocket *WebSocket                  // nil: packets come as they are
	Door      *Door
	Gate      Gate
	Access    atomic.Pointer[Access] // who may open a connection; nil: everybody
	Proxy     atomic.Pointer[Proxy]  // who speaks for clients first; nil: clients come by themselves

	SocketMode os.FileMode // of files of unix sockets, at most 0770; 0: UnixMode

	// Gone says that the listener was removed, or stopped with its clients: nobody gets in
	// any more, not even who had begun to.
	Gone atomic.Bool

	// Open is how many connections came in here and have not ended.
	Open  atomic.Int64
	Tally Tally

	mu       sync.Mutex // guards everything below, once others know the listener
	Sockets  []net.Listener
	backlogs []int    // of each socket that Bind opened: what the kernel granted
	bound    []string // of each: the address as Bind was given it
	drains   []draining
}

// Shakes tells whether something comes before the first packet that takes the
// broker's work and the client's time.
func (l *Listener) Shakes() bool { return l.TLS != nil || l.WebSocket != nil }

// Bind opens the sockets of l, all of them or none.
func (l *Listener) Bind(addresses []string) error {
	m, err := l.Move(addresses)
	if err != nil {
		return err
	}
	m.Commit()
	return nil
}

// Addresses are those listened on, with the port the system chose where the
// configuration said 0.
func (l *Listener) Addresses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, len(l.Sockets))
	for i, s := range l.Sockets {
		out[i] = s.Addr().String()
	}
	return out
}

// Close stops listening. Connections go on.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.Sockets {
		_ = s.Close() // it fails only if it was closed before
	}
}
