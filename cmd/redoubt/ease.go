package main

import (
	"context"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// ease lets others go first while a reload is under way: what it does in one go are tens of milliseconds where there are
// many rules, and on one core the event loops would wait for them, or share the core with them. To ask the runtime
// for a turn would not be enough: a loop waits for its sockets, on a thread that the kernel lets
// wait for ours. So it sleeps.
type ease struct {
	clock  clock.Clock
	done   <-chan struct{} // ends a rest, and there is none afterwards
	began  time.Time       // of the work since the last rest
	rested time.Duration
}

const (
	// easePiece is how long is worked before a rest: what a client waits for more than it did.
	easePiece = 150 * time.Microsecond
	// easePart: what is done is followed by this many times as long without.
	easePart = 3
	// easeMost bounds all rests of one reload, which somebody waits for.
	easeMost = time.Second
)

func newEase(ctx context.Context, c clock.Clock) *ease {
	return &ease{clock: c, done: ctx.Done(), began: c.Now()}
}

// rest sleeps, where it has been worked long enough for that.
func (e *ease) rest() {
	now := e.clock.Now()
	took := now.Sub(e.began)
	if took < easePiece || e.rested >= easeMost {
		return
	}
	timer := time.NewTimer(easePart * min(took, 10*easePiece)) // what took long did so while others had the core
	select {
	case <-timer.C:
	case <-e.done:
		timer.Stop()
		e.rested = easeMost
	}
	e.began = e.clock.Now()
	e.rested += e.began.Sub(now)
}
