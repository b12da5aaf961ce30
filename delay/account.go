package delay

import "sync"

// Limits bound what waits. 0 allows nothing. There are no defaults here: package
// config has them.
type Limits struct {
	Messages      int   // of all stores
	Bytes         int64 // memory in bytes, frames with their buffers and the stores' own
	OwnerMessages int   // of one owner, in all stores
	OwnerBytes    int64
}

// Account adds up what all stores of a node hold, for each owner and in sum: a
// client that says "in a year" as often as it may must fill its own share and not
// the memory (A066). An owner is whoever limits are for, whatever number of
// connections it has, so it is counted across loops, under a lock that is held for
// two additions. It is safe for concurrent use.
type Account struct {
	mu     sync.Mutex // guards everything below
	max    Limits
	held   usage
	owners map[string]usage // those who hold something
}

type usage struct {
	messages int
	bytes    int64
}

// fits tells whether size bytes more are within the limits.
func (u usage) fits(size int64, messages int, bytes int64) bool {
	return u.messages < messages && u.bytes+size <= bytes
}

// NewAccount makes an account that nobody uses yet.
func NewAccount(max Limits) *Account {
	return &Account{max: max, owners: make(map[string]usage)}
}

// SetMax changes the limits. What waits stays: with lower limits nothing comes in
// until enough has gone.
func (a *Account) SetMax(max Limits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.max = max
}

// Held is how many messages wait in all stores, and the memory they take in bytes.
func (a *Account) Held() (messages int, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held.messages, a.held.bytes
}

// HeldBy is the same for one owner.
func (a *Account) HeldBy(owner string) (messages int, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.owners[owner]
	return u.messages, u.bytes
}

// take counts a message; with force the limits are not asked, and there is no error.
func (a *Account) take(owner string, size int64, force bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.owners[owner]
	switch {
	case force:
	case !u.fits(size, a.max.OwnerMessages, a.max.OwnerBytes):
		return ErrOwner
	case !a.held.fits(size, a.max.Messages, a.max.Bytes):
		return ErrTotal
	}
	a.owners[owner] = usage{u.messages + 1, u.bytes + size}
	a.held = usage{a.held.messages + 1, a.held.bytes + size}
	return nil
}

func (a *Account) give(owner string, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.owners[owner]
	u = usage{u.messages - 1, u.bytes - size}
	a.held = usage{a.held.messages - 1, a.held.bytes - size}
	switch {
	case u.messages < 0 || u.bytes < 0:
		panic("BUG: delay: more given back than taken")
	case u.messages > 0:
		a.owners[owner] = u
	case len(a.owners) == 1: // a map that was large once stays so: start anew
		a.owners = make(map[string]usage)
	default:
		delete(a.owners, owner)
	}
}
