package harden

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// A look in the background is done in pieces, each followed by a rest: an event loop that wakes
// meanwhile waits for the piece that is under way at most, where a look in one go would have it
// wait until the scheduler of the machine takes its turn.

const (
	// pieceLeast is how long is worked at least before a rest; what is shorter goes on.
	pieceLeast = 500 * time.Microsecond
	// restMost bounds one rest, and restsMost all of one look: what is owed beyond that is rested
	// when the look is over.
	restMost  = time.Second
	restsMost = 2 * time.Minute
)

// pace is the rests of one look. It belongs to the goroutine of the look, but for rested.
type pace struct {
	clock  clock.Clock
	done   <-chan struct{} // ends a rest, and there is none afterwards
	began  time.Time       // of the piece
	paused time.Duration   // seen.paused when it began
	rested atomic.Int64    // nanoseconds, of all rests
}

// newPace begins the first piece.
func newPace(c clock.Clock, done <-chan struct{}) *pace {
	return &pace{clock: c, done: done, began: c.Now()}
}

// restedFor is how long was rested so far; on nil, nothing.
func (p *pace) restedFor() time.Duration {
	if p == nil {
		return 0
	}
	return time.Duration(p.rested.Load())
}

// breathe rests, where a look in the background has worked long enough for that. Whoever waits
// for a run, as at redoubt doctor, wants it done: there it does nothing.
func (e *Env) breathe() {
	p := e.seen.pace
	if p == nil {
		return
	}
	now := p.clock.Now()
	took := now.Sub(p.began) - (e.seen.paused - p.paused)
	if took < pieceLeast {
		return
	}
	if rest := min(restPart*took, restMost, restsMost-p.restedFor()); rest > 0 {
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-p.done:
			timer.Stop()
		}
		after := p.clock.Now()
		p.rested.Add(int64(after.Sub(now)))
		now = after
	}
	p.began, p.paused = now, e.seen.paused
}

// breather is a table of the kernel that is read with rests in between. What listens is in the first
// lines of one, and those of a thousand connections fit into a piece: a rest is where it loses nothing.
type breather struct {
	io.Reader
	e *Env
}

// Read implements io.Reader.
func (b breather) Read(p []byte) (int, error) {
	b.e.breathe()
	return b.Reader.Read(p)
}
