package kerberos

import (
	"sync"
	"time"
)

const (
	// replaysMax bounds how many authenticators are remembered: 16,384 in ten minutes are 27
	// logins a second, and some 2 MB.
	replaysMax = 16_384
	// replaysOfOne is how many of those one client may have, so that nobody with a ticket
	// keeps the others out.
	replaysOfOne = 1024
)

// replays are the authenticators that were shown, for as long as each would be taken again.
// What is full takes no more: what cannot be remembered cannot be let in.
type replays struct {
	keep time.Duration

	mu    sync.Mutex // guards everything below
	seen  map[[32]byte]struct{}
	of    map[string]int // by client
	order []shown        // oldest first
}

type shown struct {
	what [32]byte
	who  string
	end  time.Time
}

// The answers of note.
type noted int

const (
	isNew noted = iota
	isReplay
	isFull
)

// note remembers an authenticator by its hash.
func (r *replays) note(now time.Time, who string, what [32]byte) noted {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && !now.Before(r.order[0].end) {
		o := r.order[0]
		r.order[0] = shown{}
		delete(r.seen, o.what)
		if r.of[o.who]--; r.of[o.who] <= 0 {
			delete(r.of, o.who)
		}
		r.order = r.order[1:]
	}
	if len(r.order) == 0 {
		r.seen, r.of, r.order = map[[32]byte]struct{}{}, map[string]int{}, nil
	}
	if _, again := r.seen[what]; again {
		return isReplay
	}
	if len(r.order) >= replaysMax || r.of[who] >= replaysOfOne {
		return isFull
	}
	r.seen[what] = struct{}{}
	r.of[who]++
	r.order = append(r.order, shown{what, who, now.Add(r.keep)})
	return isNew
}
