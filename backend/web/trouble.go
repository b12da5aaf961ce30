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
	said bool
}

func (t *trouble) good(now time.Time, tell func(time.Time, bool, string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row = 0
	if t.said {
		t.said = false
		tell(now, false, "")
	}
}

func (t *trouble) bad(now time.Time, failures int, why string, tell func(time.Time, bool, string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.row++; t.row == 1 {
		t.from = now
	}
	if tell == nil || failures == 0 || t.said || t.row < failures || now.Sub(t.from) < TroubleAfter {
		return
	}
	t.said = true
	tell(now, true, "no question has a good answer any more, the last one: "+why)
}
