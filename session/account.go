package session

import (
	"math"
	"sync/atomic"
	"time"
)

// Account adds up the bytes that all sessions of a node hold for their clients:
// what waits and what is unacknowledged. It is what keeps many sessions, each
// within its own limits, from filling the memory together (A066, A067). A message
// that many sessions share counts once for each, so the account errs on the safe
// side. It is safe for concurrent use; a nil Account counts nothing.
type Account struct {
	max      atomic.Int64
	held     atomic.Int64
	coming   atomic.Int64 // of held: what was reserved
	pressure atomic.Int32 // a Pressure
	epoch    atomic.Pointer[time.Time]
}

// NewAccount bounds the sum at max bytes.
func NewAccount(max int64) *Account {
	a := &Account{}
	a.max.Store(max)
	return a
}

// instant is a moment, in nanoseconds since the first that a session of the account kept: eight
// bytes where a time.Time has twenty-four. It goes on as the clock of the machine that nobody sets.
type instant int64

// instant is t as sessions of the account keep it; without one they count from 1970.
func (a *Account) instant(t time.Time) instant {
	if a == nil {
		return instant(t.UnixNano())
	}
	if a.epoch.Load() == nil {
		first := t                          // a copy, so that t itself is no garbage each time
		a.epoch.CompareAndSwap(nil, &first) // all loops have one
	}
	return instant(t.Sub(*a.epoch.Load()))
}

func (a *Account) time(i instant) time.Time {
	if a == nil {
		return time.Unix(0, int64(i))
	}
	return a.epoch.Load().Add(time.Duration(i))
}

// SetMax changes the bound; what is held stays.
func (a *Account) SetMax(max int64) { a.max.Store(max) }

// Max is the bound, bytes.
func (a *Account) Max() int64 {
	if a == nil {
		return math.MaxInt64
	}
	return a.max.Load()
}

// Held is the sum, bytes.
func (a *Account) Held() int64 {
	if a == nil {
		return 0
	}
	return a.held.Load()
}

// room tells whether size more bytes fit into a queue. Queues leave an eighth of the
// bound to what clients are sending: otherwise those that fill their queues would
// have everybody disconnected who publishes more than a read takes (A067). What is being
// sent takes nothing of the queues' part: otherwise a large packet that comes, beside queues
// that somebody keeps full, would cost others messages that have room (A087).
func (a *Account) room(size int64) bool {
	if a == nil {
		return true
	}
	held, most := a.held.Load()+size, a.max.Load()
	return held <= most && held-a.coming.Load() <= most-most/8
}

// roomIn tells whether size more bytes of what a client sends fit.
func (a *Account) roomIn(size int64) bool {
	return a == nil || a.held.Load()+size <= a.max.Load()
}

// Reserve counts size bytes more that something outside a session holds for a
// client, unless they do not fit. Release gives them back.
func (a *Account) Reserve(size int64) bool {
	if a == nil {
		return true
	}
	if a.held.Add(size) > a.max.Load() {
		a.held.Add(-size)
		return false
	}
	a.coming.Add(size)
	return true
}

// Owe is Reserve whether they fit or not, of what was taken in already.
func (a *Account) Owe(size int64) {
	if a != nil {
		a.coming.Add(size)
		a.held.Add(size)
	}
}

// Room tells whether size more bytes fit.
func (a *Account) Room(size int64) bool { return a.room(size) }

// Release gives back what was reserved.
func (a *Account) Release(size int64) {
	if a != nil {
		a.coming.Add(-size)
		a.held.Add(-size)
	}
}

// add counts size bytes more, or fewer.
func (a *Account) add(size int64) {
	if a != nil {
		a.held.Add(size)
	}
}
