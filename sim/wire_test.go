package sim

import (
	"math/rand/v2"
	"slices"
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

	mu      sync.Mutex // guards everything below
	posted  []func(now time.Time)
	reading bool                  // what is posted now comes from a goroutine that reads
	held    []func(now time.Time) // of such: it may have been overtaken by what was posted later
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
func (w *wire) Broad(bool) bool                     { return false }
func (w *wire) Holds(broker.ConnRef) broker.Holding { return broker.Holding{} }
func (w *wire) Forward(_ int, batch *broker.Batch) bool {
	w.inbox = append(w.inbox, batch)
	return true
}

func (w *wire) Post(fn func(now time.Time)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reading {
		w.held = append(w.held, fn)
		return
	}
	w.posted = append(w.posted, fn)
}

// read runs a read, whose answer is held back.
func (w *wire) read(read func()) {
	w.mu.Lock()
	w.reading = true
	w.mu.Unlock()
	read()
	w.mu.Lock()
	w.reading = false
	w.mu.Unlock()
}

// release posts an answer that was held back; false if there is none.
func (w *wire) release(rnd *rand.Rand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) == 0 {
		return false
	}
	i := rnd.IntN(len(w.held))
	w.posted = append(w.posted, w.held[i])
	w.held = slices.Delete(w.held, i, i+1)
	return true
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
