package web

import (
	"sync"
	"time"
)

// TroubleAfter is how long nothing but answers that are none must come before that is said:
// one client can cause a few, and whoever is told must not hear of each.
const TroubleAfter = 10 * time.Second

// trouble notices a service that is there and answers nobody: our credential is wrong (401),
// the path is (404), or it fails at each question (500). It leaves nobody without an answer,
// as the breaker does; it is for the alarm.
type trouble struct {
	mu   sync.Mutex // guards everything below
	row  int
	from time.Time // of the first in the row
	said bool      // there is trouble
	why  string
	at   time.Time // said became what it is

	telling telling
}

// telling has its turn: what was told last is what holds. It is never taken with the lock of
// trouble held, so that a question does not wait for who is told.
type telling struct {
	mu   sync.Mutex // guards everything below
	told bool
}

func (t *trouble) good(now time.Time, tell func(time.Time, bool, string)) {
	t.mu.Lock()
	t.row = 0
	changed := t.said
	if changed {
		t.said, t.at = false, now
	}
	t.mu.Unlock()
	if changed {
		t.tell(tell)
	}
}

func (t *trouble) bad(now time.Time, failures int, why string, tell func(time.Time, bool, string)) {
	if t.worse(now, failures, why, tell != nil) {
		t.tell(tell)
	}
}

// worse tells whether there is trouble from now on.
func (t *trouble) worse(now time.Time, failures int, why string, told bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.row++; t.row == 1 {
		t.from = now
	}
	if !told || failures == 0 || t.said || t.row < failures || now.Sub(t.from) < TroubleAfter {
		return false
	}
	t.said = true
	t.why, t.at = why, now
	return true
}

// tell says what is so by now, if that is not what was said last: of two changes that meet here
// in the other order the later one holds.
func (t *trouble) tell(tell func(time.Time, bool, string)) {
	t.telling.mu.Lock()
	defer t.telling.mu.Unlock()
	t.mu.Lock()
	now, said, why := t.at, t.said, t.why
	t.mu.Unlock()
	switch {
	case said == t.telling.told:
	case said:
		tell(now, true, "no question has a good answer any more, the last one: "+why)
	default:
		tell(now, false, "")
	}
	t.telling.told = said
}
