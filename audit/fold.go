package audit

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// A run of redoubt doctor has some twenty refusals at each entrance, under names that nobody
// has seen before and nobody will again. They are refused, counted and kept like anybody's; the
// log has two lines of each run, or they would be most of what it has.

// foldAfter is how long after its last user a run is taken to be over: it makes them as it
// goes, at most a step apart.
const foldAfter = 10 * time.Second

// foldedMax bounds the users of one line.
const foldedMax = 256

// ProbeMarkBytes is how much of the name of a user of probes begins the client identifiers of a
// run: its strangers, who have no name of ours, are known by that. Half of it is random, and
// nobody has it but who made the user. MQTT 3.1 has identifiers of 23 bytes.
const ProbeMarkBytes = len("probe-") + 8

// folding is what is said of users made for probes, since the last line of them.
type folding struct {
	some atomic.Bool // names has any

	mu       sync.Mutex      // guards everything below
	run      Ref             // names it in the log
	names    map[string]bool // whether it is there still
	marks    map[string]bool // of names
	alive    int
	since    time.Time // the first was made
	ended    time.Time // the last has ended, or was made
	refusals int
	others   int
	last     latest
	asked    map[string]int // what administrators did with them
	callers  map[Caller]bool
}

// Caller is a process that uses the administration socket, as the kernel says.
type Caller struct{ UID, PID int }

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
		f.run, f.since = newRef(), now
		f.names, f.marks, f.asked, f.callers = make(map[string]bool), make(map[string]bool), make(map[string]int), make(map[Caller]bool)
		f.some.Store(true)
	}
	f.names[user] = true
	f.mark(user)
	f.alive++
	f.ended = now
}

func (f *folding) mark(user string) {
	if len(user) > ProbeMarkBytes {
		f.marks[user[:ProbeMarkBytes]] = true
	}
}

// ProbeAsked tells what an administrator did with such a user, which is then counted in the
// line of the run, and answers whether it is. The first time each caller has a line of its own.
func (l *Log) ProbeAsked(what string, by Caller, request string) bool {
	f := &l.probes
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		return false
	}
	f.asked[what]++
	if !f.callers[by] && len(f.callers) < foldedMax {
		f.callers[by] = true
		l.out.LogAttrs(context.Background(), slog.LevelInfo, "redoubt doctor has begun: one line at its end has its users and what it was refused; handshakes and packets that fail meanwhile may be its probes",
			slog.String("run", f.run.String()), slog.Int("peer_uid", by.UID), slog.Int("peer_pid", by.PID), slog.String("request_id", request))
	}
	return true
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

// probe tells whether user was made for a probe, or client is a stranger's of such a run.
func (l *Log) probe(user, client string) bool {
	f := &l.probes
	if !f.some.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.has(user, client)
}

// has is called with mu held.
func (f *folding) has(user, client string) bool {
	_, is := f.names[user]
	return is || len(client) > ProbeMarkBytes && f.marks[client[:ProbeMarkBytes]]
}

// fold counts what would be a line of user, if it was made for a probe, or of client, if that is
// a stranger of a run; empty: it is about none. last has a reference if it is a refusal.
func (l *Log) fold(user, client string, last latest) (folded bool) {
	f := &l.probes
	if !f.some.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.has(user, client) {
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
	return l.fold(identity, "", latest{})
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
	attrs := []slog.Attr{slog.String("run", f.run.String()), slog.Int("users", len(f.names))}
	for _, what := range slices.Sorted(maps.Keys(f.asked)) {
		attrs = append(attrs, slog.Int(what, f.asked[what]))
	}
	attrs = append(attrs, slog.Int("refusals", f.refusals), slog.Int("other_lines", f.others))
	if f.refusals > 0 { // the others are in redoubt why by the same user
		attrs = append(attrs, slog.String("ref", f.last.ref.String()), slog.String("user", f.last.user), slog.String("client_id", f.last.client))
	}
	l.out.LogAttrs(context.Background(), slog.LevelInfo, "redoubt doctor has ended", append(attrs, slog.String("within", now.Sub(f.since).Round(time.Second).String()))...)
	left := make(map[string]bool)
	clear(f.marks)
	clear(f.asked)
	for name, there := range f.names {
		if there {
			left[name] = true
			f.mark(name)
		}
	}
	f.refusals, f.others, f.last, f.since = 0, 0, latest{}, now
	if f.names = left; len(left) == 0 {
		f.names, f.marks, f.asked, f.callers = nil, nil, nil, nil
	}
	f.some.Store(f.names != nil)
}
