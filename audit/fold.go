package audit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// A run of redoubt doctor has some twenty refusals at each entrance, under names that nobody
// has seen before and nobody will again. They are refused, counted and kept like anybody's; the
// log has one line of them for each run, or they would be most of what it has.

// foldAfter is how long after its last user a run is taken to be over: it makes them as it
// goes, at most a step apart.
const foldAfter = 10 * time.Second

// foldedMax bounds the users of one line.
const foldedMax = 256

// folding is what is said of users made for probes, since the last line of them.
type folding struct {
	some atomic.Bool // names has any

	mu       sync.Mutex      // guards everything below
	names    map[string]bool // whether it is there still
	alive    int
	since    time.Time // the first was made
	ended    time.Time // the last has ended, or was made
	refusals int
	others   int
	last     latest
}

// ProbeMade has what is said of a user folded who was made for a probe. The name must be one
// that nobody chose.
func (l *Log) ProbeMade(now time.Time, user string) {
	f := &l.probes
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.names) >= foldedMax {
		l.unfold(now)
	}
	if f.names == nil {
		f.names, f.since = make(map[string]bool), now
		f.some.Store(true)
	}
	f.names[user] = true
	f.alive++
	f.ended = now
}

// ProbeEnded tells that such a user is no more. What is said of it later is folded as well, for
// a while: it is refused once it has ended.
func (l *Log) ProbeEnded(now time.Time, user string) {
	f := &l.probes
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names[user] {
		f.names[user] = false
		f.alive--
		f.ended = now
	}
}

// probe tells whether user was made for a probe.
func (l *Log) probe(user string) bool {
	f := &l.probes
	if !f.some.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.names[user]
	return is
}

// fold counts what would be a line of user, if it was made for a probe; last has a reference if
// it is a refusal.
func (l *Log) fold(user string, last latest) (folded bool) {
	f := &l.probes
	if !f.some.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, is := f.names[user]; !is {
		return false
	}
	l.count.Inc(metrics.LogLinesSuppressed)
	if last.ref == 0 {
		f.others++
		return true
	}
	f.refusals++
	f.last = last
	return true
}

// foldEvent is fold of a line about an identity, and perhaps a client of it.
func (l *Log) foldEvent(who string) bool {
	identity, _, _ := strings.Cut(who, "\x00")
	return l.fold(identity, latest{})
}

// sweepProbes writes the line of a run that is over.
func (l *Log) sweepProbes(now time.Time) {
	f := &l.probes
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names != nil && f.alive == 0 && now.Sub(f.ended) >= foldAfter {
		l.unfold(now)
	}
}

// unfold writes the line and begins anew with the users that are there. It is called with mu
// held.
func (l *Log) unfold(now time.Time) {
	f := &l.probes
	if f.refusals+f.others > 0 {
		attrs := []slog.Attr{slog.Int("users", len(f.names)), slog.Int("refusals", f.refusals), slog.Int("other_lines", f.others)}
		if f.refusals > 0 { // the others are in redoubt why by the same user
			attrs = append(attrs, slog.String("ref", f.last.ref.String()), slog.String("user", f.last.user), slog.String("client_id", f.last.client))
		}
		attrs = append(attrs, slog.String("within", now.Sub(f.since).Round(time.Second).String()))
		l.out.LogAttrs(context.Background(), slog.LevelInfo, "refusals of users that redoubt doctor made for its probes", attrs...)
	}
	left := make(map[string]bool)
	for name, there := range f.names {
		if there {
			left[name] = true
		}
	}
	f.refusals, f.others, f.last, f.since = 0, 0, latest{}, now
	if f.names = left; len(left) == 0 {
		f.names = nil
	}
	f.some.Store(f.names != nil)
}
