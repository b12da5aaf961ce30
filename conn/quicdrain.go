package conn

import (
	"context"
	"sync"

	"github.com/quic-go/quic-go"
)

// draining is the life of a socket of QUIC, which carries the connections that came in
// there. When nobody is to get in any more it refuses, and is closed after the last; until
// then the address is its own, so that it can be opened again. It implements
// listener.Carrier.
type draining struct {
	until context.Context // ends when it is to be closed
	end   context.CancelFunc
	ended chan struct{} // closed when it is

	mu         sync.Mutex // guards everything below
	inside     int        // connections, from admission to their end
	shut, held bool
	closing    bool
}

// begin is before everything else.
func (d *draining) begin() {
	d.until, d.end = context.WithCancel(context.Background())
	d.ended = make(chan struct{})
}

// enter counts a connection in, unless it is shut.
func (d *draining) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return false
	}
	d.inside++
	return true
}

// leave counts it out.
func (d *draining) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	d.judge()
}

// judge closes it after the last.
func (d *draining) judge() {
	if d.shut && !d.held && d.inside == 0 {
		d.closing = true
		d.end()
	}
}

// Hold implements listener.Carrier. One that is being closed is closed when it returns.
func (d *draining) Hold() bool {
	d.mu.Lock()
	d.held = !d.closing
	ok := d.held
	d.mu.Unlock()
	if !ok {
		<-d.ended
	}
	return ok
}

// Open implements listener.Carrier.
func (d *draining) Open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut, d.held = false, false
}

// Shut implements listener.Carrier.
func (d *draining) Shut() {
	if d.shutNow() {
		<-d.ended
	}
}

// shutNow is Shut that does not wait. It tells whether it is being closed.
func (d *draining) shutNow() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut, d.held = true, false
	d.judge()
	return d.closing
}

// Carries implements listener.Carrier.
func (d *draining) Carries() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.closing
}

// giveUp waits for the last connection of a socket that has failed.
func (d *draining) giveUp() {
	d.shutNow()
	<-d.until.Done()
}

// finish closes the socket. accepts is nil if it never listened.
func (e *quicEntrance) finish(accepts *quic.EarlyListener) {
	e.shutNow()
	if accepts != nil {
		_ = accepts.Close()
	}
	_ = e.carrier.Close()
	_ = e.socket.Close()
	e.end()
	close(e.ended)
}
