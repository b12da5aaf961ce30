package router

import (
	"strings"
	"sync"
)

// Exclusive remembers who holds the filters that one session may have at a time.
// A filter is taken as it is matched, so that nobody gets it twice under two names.
// Filters that overlap are not one another's: "a/+" and "a/b" may have two owners,
// as in EMQX.
//
// It is safe for concurrent use, and as large as there are such subscriptions,
// which the sessions' limits bound.
type Exclusive struct {
	mu   sync.Mutex // guards held
	held map[string]Ref
}

// NewExclusive makes an empty table.
func NewExclusive() *Exclusive { return &Exclusive{held: make(map[string]Ref)} }

// Take gives filter to by, unless somebody else has it: a session that has gone
// still does until Release. Who has it already may take it again.
func (e *Exclusive) Take(filter string, by Ref) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if has, taken := e.held[filter]; taken {
		return has == by
	}
	e.held[strings.Clone(filter)] = by // what the caller cut it from may be a whole packet
	return true
}

// Release takes filter back from by, if by has it. Once only: a session that was
// made anew in the same slot is another one.
func (e *Exclusive) Release(filter string, by Ref) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if has, taken := e.held[filter]; !taken || has != by {
		return
	}
	if delete(e.held, filter); len(e.held) == 0 {
		e.held = make(map[string]Ref) // a map keeps the memory of its best days (A042)
	}
}

// Owner is who has filter.
func (e *Exclusive) Owner(filter string) (Ref, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.held[filter]
	return r, ok
}
