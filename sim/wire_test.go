package sim

import (
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// wire is the loop of a node, which has one.
type wire struct {
	links map[broker.ConnRef]*link
	inbox []*broker.Batch

	mu     sync.Mutex // guards posted
	posted []func(now time.Time)
}

// link is a connection as the broker has it.
type link struct {
	sent   []session.Out
	closed bool
	why    mqtt.ReasonCode
	paused bool
}

func (w *wire) Send(c broker.ConnRef, o session.Out) bool {
	w.links[c].sent = append(w.links[c].sent, o)
	return true
}

func (w *wire) Close(c broker.ConnRef, say *mqtt.Disconnect, _ broker.Cause) {
	w.links[c].closed = true
	if say != nil {
		w.links[c].why = say.Reason
	}
}

func (w *wire) Pause(c broker.ConnRef, _ time.Time) { w.links[c].paused = true }
func (w *wire) Resume(c broker.ConnRef)             { w.links[c].paused = false }
func (w *wire) Again()                              {}
func (w *wire) Forward(_ int, batch *broker.Batch) bool {
	w.inbox = append(w.inbox, batch)
	return true
}

func (w *wire) Post(fn func(now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted = append(w.posted, fn)
}

// news runs what was posted, and tells whether there was anything.
func (w *wire) news(now time.Time) bool {
	w.mu.Lock()
	posted := w.posted
	w.posted = nil
	w.mu.Unlock()
	for _, fn := range posted {
		fn(now)
	}
	return len(posted) > 0
}
