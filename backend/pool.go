package backend

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// PoolOptions are the limits of a Pool; all are needed.
type PoolOptions struct {
	Workers, Queue, Share int
	Timeout               time.Duration // from Do to the end of the work

	// Caught is told of a bug that the work or its refusal had; nil: nobody is.
	Caught func(fault any)
}

// Pool is a fixed number of goroutines and a bounded queue before them, in which
// networks take turns. Work that does not get its turn in time is refused in time. It
// is safe for concurrent use.
type Pool struct {
	clock   clock.Clock
	timeout time.Duration
	queue   *queue
	nudge   chan struct{} // somebody waits again
	caught  func(fault any)
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	warden  sync.WaitGroup
}

// NewPool starts the workers; Close ends them.
func NewPool(clk clock.Clock, opt PoolOptions) *Pool {
	p := &Pool{clock: clk, timeout: opt.Timeout, queue: newQueue(opt.Queue, opt.Share), nudge: make(chan struct{}, 1), caught: opt.Caught}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for range opt.Workers {
		p.workers.Add(1)
		go p.work()
	}
	p.warden.Add(1)
	go p.expire()
	return p
}

// Do has one of the two called, exactly once: run from a worker, whose context ends
// with the time there is, or refuse, perhaps before Do returns. Where a bug ends run, refuse is
// called as well, with Garbage: whom it was for must not wait for ever, and what run may have
// answered by then is the caller's to know. It never blocks.
func (p *Pool) Do(from netip.Addr, run func(context.Context), refuse func(Kind)) {
	j := &job{run: run, refuse: refuse, deadline: p.clock.Now().Add(p.timeout)}
	why, out, alone := p.queue.push(from, j)
	if alone {
		select {
		case p.nudge <- struct{}{}:
		default:
		}
	}
	if why != Answered {
		refuse(why)
	}
	if out != nil {
		out.refuse(QueueFull)
	}
}

func (p *Pool) work() {
	defer p.workers.Done()
	for {
		j := p.queue.pop()
		if j == nil {
			return
		}
		p.run(j)
	}
}

// run gives the place back whatever becomes of the work.
func (p *Pool) run(j *job) {
	defer p.queue.finished(j)
	ctx, cancel := context.WithTimeout(p.ctx, j.deadline.Sub(p.clock.Now()))
	defer cancel()
	if !p.guard(func() { j.run(ctx) }) {
		p.guard(func() { j.refuse(Garbage) })
	}
}

// guard keeps a bug that the bytes of a client or of a server set off from ending the worker,
// and the process with it. It tells whether there was none.
func (p *Pool) guard(do func()) (whole bool) {
	defer func() {
		if fault := recover(); fault != nil && p.caught != nil {
			p.caught(fault)
		}
	}()
	do()
	return true
}

// expire refuses those whose time passes while they wait: workers that hang must not
// keep the answer from them, too.
func (p *Pool) expire() {
	defer p.warden.Done()
	for {
		now := p.clock.Now()
		late, next := p.queue.late(now)
		for _, j := range late {
			p.guard(func() { j.refuse(Timeout) })
		}
		var due <-chan time.Time
		var timer *time.Timer
		if !next.IsZero() {
			timer = time.NewTimer(max(next.Sub(now), time.Millisecond))
			due = timer.C
		}
		select {
		case <-p.ctx.Done():
		case <-p.nudge:
		case <-due:
		}
		if timer != nil {
			timer.Stop()
		}
		if p.ctx.Err() != nil {
			return
		}
	}
}

// Load is how many wait, and how many are under way.
func (p *Pool) Load() (waiting, under int) { return p.queue.load() }

// Close refuses what waits and what comes, breaks off what is under way, and returns
// when all goroutines have ended. It must not be called by the work.
func (p *Pool) Close() {
	for _, j := range p.queue.close(true) {
		j.refuse(Closed)
	}
	p.cancel()
	p.workers.Wait()
	p.warden.Wait()
}

// Drain refuses what comes and returns when what waits has had its turn. Close comes
// after it.
func (p *Pool) Drain() {
	p.queue.close(false)
	p.workers.Wait()
}
