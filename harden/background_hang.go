package harden

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
)

// A look may hang: whoever asks for a file of a network file system whose server is gone waits in
// the kernel, and no deadline ends that.

const (
	// hangsAfter is when a look that has not ended is one that hangs, its rests not counted. What obeys its deadline has ended by then.
	hangsAfter = lookWithin + 5*time.Second
	// stopWithin is how long the stop of the broker waits for a look.
	stopWithin = 2 * time.Second
)

// lookedAt is what a run is looking at.
type lookedAt struct {
	row  string // name of the check
	what string // a path; empty: nobody said
}

// touch notes the path that is looked at next.
func (e *Env) touch(path string) {
	now := lookedAt{what: path}
	if at := e.seen.at.Load(); at != nil {
		now.row = at.row
	}
	e.seen.at.Store(&now)
}

// Hang is a look that has not ended.
type Hang struct {
	Since time.Time
	Row   string // name of the check that it is at
	What  string // the path that it is looking at; empty: not known
}

// String says it in words.
func (h *Hang) String() string {
	text := fmt.Sprintf("the look of %s has not ended: it hangs at %s", h.Since.UTC().Format("2006-01-02 15:04:05 UTC"), h.Row)
	if h.What != "" {
		text += ", " + h.What
	}
	return text
}

// Hangs is the look that does; nil: none.
func (b *Background) Hangs() *Hang { return b.hung.Load() }

// ended is one run, with what follows from it, how long of it only a disk or the time was waited for, and how long was rested;
// nil: it hung, and nothing follows. ended is false where the broker stops. There is no second run while one hangs, and so
// never more than one goroutine that waits for a file.
func (b *Background) ended(ctx context.Context) (rep *Report, idle, slept time.Duration, ended bool) {
	e := b.o.Env()
	e.Quiet = true
	e.seen.at.Store(&lookedAt{row: "the broker's account of itself"})
	within, giveUp := context.WithCancel(ctx)
	defer giveUp()
	pace := newPace(e.Clock, within.Done())
	e.seen.pace = pace
	done := make(chan *Report, 1) // nobody may be there to take it any more
	go func() { done <- b.look(ctx, within, e) }()
	began := b.o.Clock.Now()
	timer := time.NewTimer(lookWithin)
	defer timer.Stop()
	for {
		select {
		case rep := <-done:
			now := b.o.Clock.Now()
			hung := b.hung.Swap(nil) != nil
			b.o.Alarms.Clear(now, alarm.HardeningHangs, "")
			switch {
			case ctx.Err() != nil || rep == nil:
				return nil, 0, 0, false
			case hung:
				return nil, 0, 0, true
			}
			waited := b.follow(e, rep)
			return rep, e.seen.paused + waited, pace.restedFor(), true
		case <-ctx.Done():
			if b.hung.Load() != nil { // that is not waited for
				return nil, 0, 0, false
			}
			stop := time.NewTimer(stopWithin)
			defer stop.Stop()
			select {
			case <-done:
			case <-stop.C: // it waits in the kernel, and changes nothing when it goes on
			}
			return nil, 0, 0, false
		case <-timer.C:
			now, at := b.o.Clock.Now(), e.seen.at.Load()
			worked := now.Sub(began) - pace.restedFor()
			if worked >= lookWithin {
				giveUp()
			}
			if worked < hangsAfter && b.hung.Load() == nil {
				next := hangsAfter
				if worked < lookWithin {
					next = lookWithin
				}
				timer.Reset(next - worked)
				continue
			}
			h := &Hang{Since: began, Row: at.row, What: printable(at.what)}
			b.hung.Store(h)
			b.o.Alarms.Raise(now, alarm.HardeningHangs, "", h.String()+". Nothing is known of the hardening as it is now")
			b.auditWaivers(now, e.Config.Waivers) // they end all the same
			timer.Reset(b.next(now).Sub(now))
		}
	}
}
