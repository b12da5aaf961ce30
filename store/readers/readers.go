// Package readers is a few goroutines that may wait for the disk on behalf of those
// who must not: a loop hands them a read and is told when it is done. It knows
// neither what is read nor for whom, and has no limit of its own: whoever asks bounds what
// stands in the line (broker/reads.go). What they read is mostly in the memory of the system, so that they
// compute as much as they wait: event loops come before them.
package readers

import (
	"sync"

	"github.com/redoubtmq/redoubt/internal/cores"
)

// Pool is the goroutines and the line before them. It is safe for concurrent use.
type Pool struct {
	running sync.WaitGroup
	caught  func(fault any) // nil: nobody is told

	mu     sync.Mutex // guards everything below
	some   sync.Cond
	line   []func()
	closed bool
}

// New starts a pool of n goroutines; Close ends them. caught, if it is not nil, is told of a
// bug in a read, by the goroutine that it would have ended.
func New(n int, caught func(fault any)) *Pool {
	p := &Pool{caught: caught}
	p.some.L = &p.mu
	for range n {
		p.running.Add(1)
		go p.run()
	}
	return p
}

// Do runs read on one of the goroutines, in its turn. After Close it does nothing.
func (p *Pool) Do(read func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.line = append(p.line, read)
		p.some.Signal()
	}
}

// Close ends the pool when the reads under way have ended; those in the line are
// dropped.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed, p.line = true, nil
	p.mu.Unlock()
	p.some.Broadcast()
	p.running.Wait()
}

func (p *Pool) run() {
	defer p.running.Done()
	cores.Behind(0)
	for {
		read := p.next()
		if read == nil {
			return
		}
		p.guard(read)
	}
}

// guard runs a read: what one session has asked for must not end the process.
func (p *Pool) guard(read func()) {
	defer func() {
		if fault := recover(); fault != nil && p.caught != nil {
			p.caught(fault)
		}
	}()
	read()
}

// next waits for a read; nil after Close.
func (p *Pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.line) == 0 {
		if p.closed {
			return nil
		}
		p.some.Wait()
	}
	read := p.line[0]
	p.line[0] = nil
	if p.line = p.line[1:]; len(p.line) == 0 {
		p.line = nil
	}
	return read
}
