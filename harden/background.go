package harden

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// How often a broker looks at itself.
const (
	// firstAfter the start, and as much again at most: who comes back after it has the processor first.
	firstAfter  = 10 * time.Second
	changeAfter = time.Second // of a change of the configuration, and as much again at most
	lookEvery   = time.Hour
	jitterPart  = 10               // an hour is up to a tenth longer or shorter
	lookWithin  = 30 * time.Second // of work: rests are beside it
	// restPart: what is done is followed by this many times as long without, so that it takes a
	// hundredth of one processor at most, however often somebody changes the configuration. Most
	// of that is within the run, see breathe; what is left is between two.
	restPart = 99
)

// Background judges the rows that need no more than a look (Check.Looks) on the broker it is part
// of: after the start, every hour, after each change of the configuration, and when a waiver
// ends. It connects to nothing and starts no program.
type Background struct {
	o    BackgroundOptions
	soon chan struct{} // the configuration has changed
	last atomic.Pointer[Report]
	hung atomic.Pointer[Hang] // nil: no run does

	mu      sync.Mutex // guards everything below
	waivers []waiverSeen
	audited bool

	// Of the goroutine of Run.
	history  []scored
	fullAt   time.Time // of the next full account in the log; zero: not settled yet
	unsigned string    // why the last report is not signed; told once
}

// BackgroundOptions are what a Background works with.
type BackgroundOptions struct {
	Clock  clock.Clock
	Log    *slog.Logger
	Alarms *alarm.Alarms
	// Env is what one run looks at: the configuration in force, and the broker itself.
	Env func() *Env
	// Checks are the rows; nil: all that only look.
	Checks []*Check
	// Checker is the version of the program, for reports that are signed and kept in the data
	// directory; empty: none is.
	Checker string
}

// NewBackground makes one that does nothing until Run.
func NewBackground(o BackgroundOptions) *Background {
	if o.Checks == nil {
		o.Checks = slices.DeleteFunc(slices.Clone(Checks), func(c *Check) bool { return !c.Looks })
	}
	return &Background{o: o, soon: make(chan struct{}, 1)}
}

// Last is the last run; nil: there was none yet.
func (b *Background) Last() *Report { return b.last.Load() }

// Changed says that the configuration in force is another one. It never waits. On a nil
// Background it does nothing.
func (b *Background) Changed(c *config.Config) {
	if b == nil {
		return
	}
	b.auditWaivers(b.o.Clock.Now(), c.Waivers)
	select {
	case b.soon <- struct{}{}:
	default: // somebody has said so already
	}
}

// Run looks until ctx is done, one run at a time. It is one goroutine, and starts one for each run, which it
// waits for: see ended.
func (b *Background) Run(ctx context.Context) {
	select {
	case <-b.soon: // what it starts with is no change
	default:
	}
	now := b.o.Clock.Now()
	due, rested := now.Add(jittered(firstAfter)), now
	timer := time.NewTimer(due.Sub(now))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.soon:
			now := b.o.Clock.Now()
			if at := latest(now.Add(jittered(changeAfter)), rested); at.Before(due) {
				due = at
				timer.Reset(due.Sub(now))
			}
			continue
		case <-timer.C:
		}
		rep, idle, slept, ended := b.ended(ctx)
		if !ended { // the broker stops
			return
		}
		now := b.o.Clock.Now()
		if rep == nil { // it hung, and what it has seen is of then
			due = now.Add(jittered(changeAfter))
			timer.Reset(due.Sub(now))
			continue
		}
		worked := max(now.Sub(rep.Started)-idle-slept, 0)
		rested = now.Add(max(restPart*worked-slept, 0))
		due = latest(b.next(now), rested)
		timer.Reset(due.Sub(now))
	}
}

// next is when to look again, should nothing happen: in an hour, or when a waiver ends.
func (b *Background) next(now time.Time) time.Time {
	span := int64(lookEvery / jitterPart)
	at := now.Add(lookEvery + time.Duration(rand.Int64N(2*span)-span)) //nolint:gosec // so that nodes do not do it together; nobody has to guess it
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waivers {
		if end := b.waivers[i].Expires.End(); end.After(now) && end.Before(at) {
			at = end
		}
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// jittered is d, and up to as much again.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d))) //nolint:gosec // see next
}

// look is one run, with rests in it; nil: the broker stops. What is not seen when within is done is unknown.
func (b *Background) look(ctx, within context.Context, e *Env) *Report {
	rep := &Report{Baseline: e.baseline(), ConfigFile: printable(e.File), RulesFile: printable(e.Config.Authz.RulesFile), Started: e.Clock.Now()}
	if r, err := e.broker(within); err == nil {
		rep.Node, rep.Version = printable(r.Node), printable(r.Version)
	}
	for _, c := range b.o.Checks {
		if e.breathe(); ctx.Err() != nil {
			return nil
		}
		e.seen.at.Store(&lookedAt{row: c.Name()})
		began, slept := e.Clock.Now(), e.seen.pace.restedFor()
		rep.add(e, c, b.judge(within, e, c))
		rep.Rows[len(rep.Rows)-1].Took = e.Clock.Now().Sub(began) - (e.seen.pace.restedFor() - slept)
	}
	if ctx.Err() != nil { // what was broken off is no verdict
		return nil
	}
	rep.findIdle(e.Config.Waivers)
	rep.Duration = e.Clock.Now().Sub(rep.Started)
	return rep
}

// follow does what follows from a run, and answers for how long it only waited.
func (b *Background) follow(e *Env, rep *Report) (idle time.Duration) {
	now := e.Clock.Now()
	b.auditWaivers(now, e.Config.Waivers)
	b.sign(e, rep) // waits for the disk, and takes no processor
	signing := e.Clock.Now().Sub(now)
	was := b.last.Swap(rep)
	b.tell(was, rep)
	b.tellIdle(was, rep)
	b.tellAll(now, rep)
	b.alarms(now, rep)
	return signing
}

// judge runs one check. A bug in it costs its row, and not the broker.
func (b *Background) judge(ctx context.Context, e *Env, c *Check) (results []Result) {
	defer func() {
		if bug := recover(); bug != nil {
			b.o.Log.Error("BUG: a check of the hardening has failed", "event", "hardening_bug", "id", c.Name(), "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
			results = unknown(e, "a bug in the check itself; the log has it")
		}
	}()
	return judge(ctx, e, c)
}
