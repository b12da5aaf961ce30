package backend

import (
	"fmt"
	"sync"
	"time"
)

// breaker keeps clients from a server that fails: after some failures in a row
// nobody is asked for a while, then one question goes out, and what becomes of it
// holds for all. It is a value that is told the time.
type breaker struct {
	failures int
	openFor  time.Duration

	mu    sync.Mutex // guards everything below
	row   int        // failures since the last answer
	open  bool
	until time.Time // it stays open; then one may ask
	trial bool      // one asks
	why   string    // the last failure
}

// admit tells whether to ask, and if not why. A trial is the one question that a
// breaker which is open lets through; outcome or withdraw ends it.
func (b *breaker) admit(now time.Time) (trial bool, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return false, ""
	}
	if b.trial || now.Before(b.until) {
		return false, b.words()
	}
	b.trial = true
	return true, ""
}

func (b *breaker) words() string {
	return fmt.Sprintf("was not asked: it failed %d times in a row, last with: %s", b.row, b.why)
}

// opened says why it is open; "" if it is not.
func (b *breaker) opened() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return ""
	}
	return b.words()
}

// withdraw ends a trial that was not asked after all.
func (b *breaker) withdraw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trial = false
}

// outcome is what became of a question: why it failed, "" if the server has answered.
// While the breaker is open only the trial counts: what was asked before it opened
// says nothing about now.
func (b *breaker) outcome(now time.Time, trial bool, why string) (changed, down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open && !trial {
		return false, true
	}
	if trial {
		b.trial = false
	}
	if why == "" {
		changed = b.open
		b.open, b.row, b.why = false, 0, ""
		return changed, false
	}
	b.row, b.why = b.row+1, why
	if b.row < b.failures && !b.open {
		return false, false
	}
	changed = !b.open
	b.open, b.until = true, now.Add(b.openFor)
	return changed, true
}
