// Package alarm keeps what is wrong now and wants a person: it is raised, lasts, and is
// cleared, which a line in a log cannot say. An alarm has a kind, from the table in
// catalogue.go, and a subject, such as a listener. It notifies nobody but the log; who shows
// and counts alarms asks for them.
//
// Rules: names are stable, and no subject comes from a peer that has proved nothing.
package alarm

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// activeMax bounds the alarms that last at once. A broker with as many has one cause, which
// the first of them name.
const activeMax = 1024

// Alarm is one that lasts.
type Alarm struct {
	Kind    *Kind
	Subject string // what it is about; empty: the node
	Why     string // what was seen, in words
	Since   time.Time
}

// Alarms are those of one node. All methods are safe for concurrent use.
type Alarms struct {
	log *slog.Logger

	mu     sync.Mutex // guards everything below
	active map[key]*Alarm
	counts map[*Kind]int64
}

type key struct {
	kind    *Kind
	subject string
}

// New has none yet; log is told of each that comes and goes.
func New(log *slog.Logger) *Alarms {
	return &Alarms{log: log, active: make(map[key]*Alarm), counts: make(map[*Kind]int64)}
}

// Raise says that something is wrong with subject, from now on or still. Saying the same
// again costs nothing; another reason is told, and the alarm keeps its beginning.
func (a *Alarms) Raise(now time.Time, kind *Kind, subject, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := key{kind, subject}
	known, lasts := a.active[k]
	switch {
	case lasts && known.Why == why:
		return
	case lasts:
		known.Why = why
	case len(a.active) == activeMax:
		a.log.Error("alarm; there are too many to list it", "alarm", kind.Name, "subject", subject, "why", why)
		return
	default:
		a.active[k] = &Alarm{Kind: kind, Subject: subject, Why: why, Since: now}
		a.counts[kind]++
	}
	a.log.Error("alarm", "alarm", kind.Name, "subject", subject, "why", why)
}

// Clear says that nothing of the kind is wrong with subject any more.
func (a *Alarms) Clear(now time.Time, kind *Kind, subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clear(now, key{kind, subject})
}

// Keep clears the alarms of a kind whose subject is not among these: those of listeners
// that are gone, say.
func (a *Alarms) Keep(now time.Time, kind *Kind, subjects ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.active {
		if k.kind == kind && !slices.Contains(subjects, k.subject) {
			a.clear(now, k)
		}
	}
}

func (a *Alarms) clear(now time.Time, k key) {
	was, lasts := a.active[k]
	if !lasts {
		return
	}
	delete(a.active, k)
	a.counts[k.kind]--
	a.log.Info("alarm cleared", "alarm", k.kind.Name, "subject", k.subject, "lasted", now.Sub(was.Since).Round(time.Second).String())
}

// Active are those that last, the oldest first.
func (a *Alarms) Active() []Alarm {
	a.mu.Lock()
	list := make([]Alarm, 0, len(a.active))
	for _, x := range a.active {
		list = append(list, *x)
	}
	a.mu.Unlock()
	slices.SortFunc(list, func(x, y Alarm) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Kind.Name, y.Kind.Name), cmp.Compare(x.Subject, y.Subject))
	})
	return list
}

// Count is how many of a kind last.
func (a *Alarms) Count(kind *Kind) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[kind]
}
