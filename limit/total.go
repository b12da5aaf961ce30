package limit

import "sync/atomic"

// Total counts something that exists (connections, handshakes, clients not yet
// authenticated) up to a cap. It is safe for concurrent use.
type Total struct {
	max atomic.Int64
	n   atomic.Int64
}

// NewTotal caps at max; 0 or less admits nobody.
func NewTotal(max int64) *Total {
	t := &Total{}
	t.max.Store(max)
	return t
}

// Acquire counts one more, unless the cap is reached.
func (t *Total) Acquire() bool {
	for {
		n := t.n.Load()
		if n >= t.max.Load() {
			return false
		}
		if t.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Take counts one more whatever the cap says: for somebody whose room another is
// about to leave.
func (t *Total) Take() { t.n.Add(1) }

// Release gives one back that was counted.
func (t *Total) Release() {
	if t.n.Add(-1) < 0 {
		panic("BUG: limit: a total was released more often than acquired")
	}
}

// InUse is how many exist now.
func (t *Total) InUse() int64 { return t.n.Load() }

// Max is the cap.
func (t *Total) Max() int64 { return t.max.Load() }

// SetMax changes the cap. Nothing that exists is taken away: with a lower cap,
// nobody new comes until enough have left.
func (t *Total) SetMax(max int64) { t.max.Store(max) }
