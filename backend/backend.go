// Package backend asks somebody else's server a question for the sake of a client:
// a bounded queue in which networks take turns, a fixed number of workers, a time
// limit that counts from the question and not from its turn, and a breaker, so that
// a server that stalls costs what is bounded here and nothing more. It knows no
// protocol (the drivers are the packages below), no client and no rule; package
// auth/lookup makes answers of rows.
//
// Everything that a client chose is in Question.Args, each apart: a driver binds it
// and never writes it into a text.
//
// Rules: ADR 0016; checklist row P4.1: a back end that cannot be asked lets nobody in.
package backend

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Question is one that a Driver is asked. Which text and arguments it wants is the
// driver's to say.
type Question struct {
	// Text is the operator's: a statement with places for Args. Nothing of a client
	// is ever in it.
	Text string
	// Args are what fills the places, in order, as it came from clients.
	Args []string
	// Secret is a password that the back end itself is to judge, or a text that has one in
	// it; empty: none.
	Secret secret.Value
	// RowsMax is how many rows the answer may have; one more is Excess.
	RowsMax int
	// Understood looks at an answer before it counts as one; an error is BadAnswer. nil:
	// any is. It must not panic.
	Understood func([]Row) error
}

// Field is a column of a Row, as text.
type Field struct {
	Name  string
	Value string // "" if Null
	Null  bool
}

// ManyValues stands behind the name of a column in the text of a question where a driver may
// find several values in one place: the row then has a field of that name for each.
const ManyValues = "+"

// Row is one of an answer, in the order of its columns.
type Row []Field

// Driver speaks one protocol. Its methods may be called at the same time, Ask as
// often as the Backend has workers.
type Driver interface {
	// Ask answers no rows and no error where there is nothing. An error that is no
	// *Error counts as Down. It returns soon after ctx is done.
	Ask(ctx context.Context, q Question) ([]Row, error)
	// Ping is a question that anybody who is there answers.
	Ping(ctx context.Context) error
	// Close ends connections that nobody uses at the moment, and others when their
	// question is answered.
	Close()
}

// Kind is why there is no answer.
type Kind uint8

// The kinds.
const (
	Answered  Kind = iota // there is one
	Down                  // nobody answers, or somebody who cannot help: refused, reset, no such table
	Timeout               // not in time, with the waiting
	Rejected              // the server judged what the client chose, and does not take it
	Garbage               // an answer that is none: cut off, or of a form that is not understood
	Excess                // an answer with more rows or bytes than are taken; of one client, mostly
	QueueFull             // too many wait, in all or of this network
	Open                  // not asked: it failed over and over a moment ago
	Closed                // not asked: shutting down, or the configuration has another now
	BadAnswer             // an answer that says nothing: an error of the service, or not of the form that was agreed
)

// KindNames are those of metrics, by Kind.
var KindNames = []string{"answered", "down", "timeout", "rejected", "garbage", "excess", "queue_full", "breaker_open", "closed", "bad_answer"}

// String is the name that metrics have.
func (k Kind) String() string {
	if int(k) < len(KindNames) {
		return KindNames[k]
	}
	return "invalid kind"
}

// Error is why a question has no answer.
type Error struct {
	Kind   Kind
	Detail string // for the operator; never what a client chose, never a credential
}

// Error is the detail.
func (e *Error) Error() string { return e.Detail }

// KindOf is that of err; Answered without one, Down if it has none.
func KindOf(err error) Kind {
	if err == nil {
		return Answered
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Closed
	}
	return Down
}

// Failed is a driver's word for an error of the kind.
func Failed(kind Kind, format string, args ...any) error {
	return &Error{kind, fmt.Sprintf(format, args...)}
}

// Options are the limits of a Backend. A zero field takes its default.
type Options struct {
	Workers  int           // questions under way at once, a connection each; default 8
	Queue    int           // questions that may wait; default 1,000
	Share    int           // of them from one network (/24, /56); default a quarter
	Timeout  time.Duration // of a question, waiting included; default 2 s
	Failures int           // one after the other, after which nobody is asked; default 5
	OpenFor  time.Duration // how long then; default 5 s

	// Changed is told when the breaker opens and why, and when it closes; nil: nobody is.
	Changed func(now time.Time, down bool, why string)
	// Caught is told of a bug in what is done with an answer; nil: nobody is.
	Caught func(fault any)
}

func (o Options) withDefaults() Options {
	o.Workers, o.Queue = byDefault(o.Workers, 8), byDefault(o.Queue, 1000)
	o.Share = byDefault(o.Share, max(o.Queue/4, 1))
	o.Timeout, o.OpenFor = byDefault(o.Timeout, 2*time.Second), byDefault(o.OpenFor, 5*time.Second)
	o.Failures = byDefault(o.Failures, 5)
	return o
}

func byDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Backend is one server, or several that are the same, as its clients' questions see
// it. It is safe for concurrent use.
type Backend struct {
	name    string
	driver  Driver
	clock   clock.Clock
	opt     Options
	pool    *Pool
	breaker breaker
	counts  [10]atomic.Uint64 // by Kind
	took    [8]atomic.Uint64  // by TookBounds, and the rest
	ended   chan struct{}     // the one who tends has ended
	nudge   chan struct{}     // for who tends: the breaker has opened
	stop    context.CancelFunc
}

// New starts the workers, which own driver from here on; Close ends them.
func New(name string, driver Driver, clk clock.Clock, opt Options) *Backend {
	opt = opt.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	b := &Backend{
		name: name, driver: driver, clock: clk, opt: opt,
		pool:    NewPool(clk, PoolOptions{Workers: opt.Workers, Queue: opt.Queue, Share: opt.Share, Timeout: opt.Timeout, Caught: opt.Caught}),
		breaker: breaker{failures: opt.Failures, openFor: opt.OpenFor},
		ended:   make(chan struct{}), nudge: make(chan struct{}, 1), stop: stop,
	}
	go b.tend(ctx)
	return b
}

// Name is how the configuration calls it.
func (b *Backend) Name() string { return b.name }

// Ask calls done exactly once: before it returns if nobody is asked, else from a
// worker. It never blocks. from is whose turn is taken, the address of the client. A done that
// a bug ends in a worker is called again, with an error: it may have told nobody yet.
func (b *Backend) Ask(from netip.Addr, q Question, done func([]Row, error)) {
	trial, why := b.breaker.admit(b.clock.Now())
	if why != "" {
		b.refuse(done, Open, why)
		return
	}
	answered := false // and counted, and the breaker knows
	b.pool.Do(from, func(ctx context.Context) {
		if !trial {
			if why := b.breaker.opened(); why != "" { // while this one waited
				b.refuse(done, Open, why)
				return
			}
		}
		rows, err := b.question(ctx, trial, func(ctx context.Context) ([]Row, error) { return b.driver.Ask(ctx, q) })
		if err == nil && len(rows) > q.RowsMax {
			err = Failed(Excess, "the answer has more than %d rows", q.RowsMax)
		}
		if err == nil && q.Understood != nil {
			if wrong := q.Understood(rows); wrong != nil {
				err = Failed(BadAnswer, "%v", wrong)
			}
		}
		kind := KindOf(err)
		b.counts[kind].Add(1)
		answered = true
		if err != nil {
			rows, err = nil, &Error{kind, fmt.Sprintf("back end %s: %v", b.name, plain(err))}
		}
		done(rows, err)
	}, func(kind Kind) {
		if answered {
			done(nil, &Error{kind, "back end " + b.name + " " + refusals[kind]})
			return
		}
		if trial {
			b.breaker.withdraw()
		}
		b.refuse(done, kind, refusals[kind])
	})
}

// refusals are the words of a question that did not get its turn.
var refusals = map[Kind]string{
	Timeout:   "was not asked: it kept those before this question waiting for too long",
	QueueFull: "was not asked: too many questions wait for it, in all or from this network",
	Closed:    "was not asked: it is being closed",
	Garbage:   "is of no help: BUG: a bug was caught in what follows its answer",
}

// plain drops from the errors of others what is no help.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

func (b *Backend) refuse(done func([]Row, error), kind Kind, why string) {
	b.counts[kind].Add(1)
	done(nil, &Error{kind, "back end " + b.name + " " + why})
}

// question asks the driver, and lets the breaker know what came of it.
func (b *Backend) question(ctx context.Context, trial bool, ask func(context.Context) ([]Row, error)) ([]Row, error) {
	began := b.clock.Now()
	rows, err := guarded(ctx, ask)
	now := b.clock.Now()
	kind := KindOf(err)
	if kind == Down && ctx.Err() != nil { // a driver words the end of our patience in its own way
		if kind, err = Timeout, context.DeadlineExceeded; errors.Is(ctx.Err(), context.Canceled) {
			kind, err = Closed, Failed(Closed, "it is being closed")
		}
	}
	b.took[bucket(now.Sub(began))].Add(1)
	why := ""
	if kind == Down || kind == Timeout || kind == Garbage {
		why = plain(err).Error()
	} else if kind == Closed {
		if trial {
			b.breaker.withdraw()
		}
		return rows, err
	}
	if changed, down := b.breaker.outcome(now, trial, why); changed {
		if down {
			select {
			case b.nudge <- struct{}{}:
			default:
			}
		}
		if b.opt.Changed != nil {
			b.opt.Changed(now, down, why)
		}
	}
	return rows, err
}

// guarded keeps what a server sends from ending the process, where a library takes it
// for impossible.
func guarded(ctx context.Context, ask func(context.Context) ([]Row, error)) (rows []Row, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			rows, err = nil, Failed(Garbage, "the answer broke the driver: %v", broken)
		}
	}()
	return ask(ctx)
}

// tend asks a server that is down whether it is back, when nobody else does: an
// alarm must end by itself also at night.
func (b *Backend) tend(ctx context.Context) {
	defer close(b.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.nudge:
		}
		for b.breaker.opened() != "" {
			t := time.NewTimer(b.opt.OpenFor + b.opt.OpenFor/4) // a client's question comes first
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			if trial, why := b.breaker.admit(b.clock.Now()); why == "" && trial {
				within, cancel := context.WithTimeout(ctx, b.opt.Timeout)
				_, _ = b.question(within, true, func(ctx context.Context) ([]Row, error) { return nil, b.driver.Ping(ctx) })
				cancel()
			}
		}
	}
}

// TookBounds are the times by which questions that were asked are counted.
var TookBounds = [7]time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 10 * time.Second}

func bucket(took time.Duration) int {
	for i, b := range TookBounds {
		if took <= b {
			return i
		}
	}
	return len(TookBounds)
}

// Stats are of now, and counts since New.
type Stats struct {
	Waiting, Asking int
	Open            bool       // the breaker is not closed
	Why             string     // it is not
	Counts          [10]uint64 // by Kind
	// Took are the questions that took no longer than each of TookBounds, and at last all.
	Took [8]uint64
}

// Stats is what was counted so far.
func (b *Backend) Stats() (s Stats) {
	s.Waiting, s.Asking = b.pool.Load()
	s.Why = b.breaker.opened()
	s.Open = s.Why != ""
	for i := range s.Counts {
		s.Counts[i] = b.counts[i].Load()
	}
	sum := uint64(0)
	for i := range s.Took {
		sum += b.took[i].Load()
		s.Took[i] = sum
	}
	return s
}

// Close refuses what waits and what comes, breaks off what is under way, and returns
// once every goroutine has ended. It must not be called from a done function.
func (b *Backend) Close() {
	b.stop()
	b.pool.Close()
	<-b.ended
	b.driver.Close()
}

// Drain is Close, but those who wait get their answer first, within Options.Timeout.
func (b *Backend) Drain() {
	b.pool.Drain()
	b.Close()
}
