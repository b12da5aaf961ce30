package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/session"
)

// Two clients that have one client identifier throw each other out for ever (A057). What a
// session may still be taken over is with the session; where it ends for a clean start, it is
// here until there is another of that name, which may take as long as the log takes to hear
// of the end. Otherwise the war would begin anew with each.

// wars are those allowances, of sessions that have ended. Each is forgotten when it would be
// whole again, so that there are no more than a home's takeovers in that time.
type wars struct {
	by    map[session.Key]*limit.Bucket
	order []truce // oldest first; some are not in by any more
}

type truce struct {
	key session.Key
	war *limit.Bucket
	end time.Time // it is whole again
}

// put keeps an allowance of most, one a second.
func (w *wars) put(now time.Time, key session.Key, war *limit.Bucket, most int) {
	w.sweep(now)
	if most == 0 {
		return
	}
	if w.by == nil {
		w.by = make(map[session.Key]*limit.Bucket)
	}
	w.by[key] = war
	w.order = append(w.order, truce{key, war, now.Add(time.Duration(most) * time.Second)})
}

// take is the allowance of a session that begins; nil: it has all of it.
func (w *wars) take(now time.Time, key session.Key) *limit.Bucket {
	w.sweep(now)
	war := w.by[key]
	delete(w.by, key)
	return war
}

// sweep forgets some that are over, and tells whether there are more.
func (w *wars) sweep(now time.Time) (more bool) {
	for n := 0; len(w.order) > 0 && !now.Before(w.order[0].end); n++ {
		if n == forgetMost {
			return true
		}
		if t := w.order[0]; w.by[t.key] == t.war {
			delete(w.by, t.key)
		}
		w.order = w.order[1:]
	}
	if len(w.order) == 0 {
		w.by, w.order = nil, nil
	}
	return false
}

// fought is the allowance of takeovers of a session, of which most never need one.
func (r *resident) fought(most int) *limit.Bucket {
	m := r.more()
	if m.war == nil {
		m.war = new(limit.Bucket)
	}
	m.war.PerSecond, m.war.Burst = int64(min(most, 1)), int64(most)
	return m.war
}
