package conn

import (
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
)

// kind says what an event is.
type kind uint8

const (
	evArrived kind = iota + 1 // a new connection
	evInput                   // buf holds bytes
	evWritten                 // the socket has taken what it was given
	evEnded                   // the peer closed, or the network failed: why
	evVerdict                 // authentication answered
	evHome                    // an authenticated connection moves to its session's loop
	evReady                   // its session may begin, or may not: err
	evCall                    // fn runs on the loop
)

// event is one entry of a control lane.
type event struct {
	conn    *Conn
	buf     []byte
	verdict auth.Result
	fn      func(*Loop)
	err     error
	kind    kind
}

// InboxDataBytesMax bounds a loop's data lane, in bytes of messages: two hundred
// full reads. A burst is smoothed out; a loop that is behind makes its senders
// wait.
const InboxDataBytesMax = 8 << 20

// inbox is how everybody else reaches a Loop: appended to in batches, drained
// once per turn. Control entries are bounded by what exists (a connection has at
// most one input, one write and one verdict or its like on its way) and are never refused;
// only the data lane answers false, at dataMax, and the caller applies
// backpressure. It never blocks and never drops in silence.
type inbox struct {
	// Set once.
	wake    func() // ends the poller's wait
	dataMax int    // InboxDataBytesMax; a test makes it small

	mu        sync.Mutex // guards everything below
	control   []event
	data      []*broker.Batch
	dataBytes int
	refused   []*Loop // senders to wake once there is room
	asleep    bool    // the loop waits, or is about to
	poked     bool    // somebody wants a turn without an entry
}

// post adds to the control lane.
func (in *inbox) post(e event) {
	in.mu.Lock()
	in.control = append(in.control, e)
	in.rouse()
}

// ring asks for a turn.
func (in *inbox) ring() {
	in.mu.Lock()
	in.poked = true
	in.rouse()
}

// rouse lets go of mu and wakes the loop if it sleeps: once, whoever comes first.
func (in *inbox) rouse() {
	asleep := in.asleep
	in.asleep = false
	in.mu.Unlock()
	if asleep {
		in.wake()
	}
}

// offer adds to the data lane, or remembers who to wake when there is room. An
// empty lane takes any batch, so that one larger than the bound still passes.
func (in *inbox) offer(b *broker.Batch, from *Loop) bool {
	in.mu.Lock()
	if in.dataBytes > 0 && in.dataBytes+b.Bytes() > in.dataMax {
		if !slices.Contains(in.refused, from) {
			in.refused = append(in.refused, from)
		}
		in.mu.Unlock()
		return false
	}
	in.data = append(in.data, b)
	in.dataBytes += b.Bytes()
	in.rouse()
	return true
}

// rest tells whether the loop may wait: nothing has come. Whoever comes from now
// on wakes it.
func (in *inbox) rest() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.asleep = len(in.control) == 0 && len(in.data) == 0 && !in.poked
	return in.asleep
}

// eventsKept is how many events, of some 200 bytes, the room of a turn is kept
// for: a storm of connections makes many at once and must not leave it behind.
const eventsKept = 1024

// drain takes everything, or the control lane only. The slices handed in are reused for the
// next turn.
func (in *inbox) drain(control []event, data []*broker.Batch, all bool) ([]event, []*broker.Batch) {
	if cap(control) > eventsKept {
		control = nil
	}
	in.mu.Lock()
	c := in.control
	in.control = control[:0]
	d, waiting := data[:0], []*Loop(nil)
	if all {
		d, waiting = in.data, in.refused
		in.data, in.dataBytes, in.refused = data[:0], 0, nil
	}
	in.asleep, in.poked = false, false
	in.mu.Unlock()
	for _, l := range waiting {
		l.inbox.ring()
	}
	return c, d
}
