// Package observe watches for a limited time what clients publish and subscribe to, and
// writes the rules that would allow that and little more. It decides nothing, and keeps no
// payload; what it holds is bounded for each user and in all.
//
// Rules: checklist row P4.2; docs/ops/rules.md.
package observe

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/advice"
	"github.com/redoubtmq/redoubt/topic"
)

const (
	// KindsOfUser bounds what is kept of one user, so that nobody takes the places of others.
	KindsOfUser = 64
	// KindsMax bounds what is kept in all: a few MiB, 20 at the worst.
	KindsMax = 8192
	// TopicMax bounds a topic that is kept, in bytes, also with placeholders for the names.
	TopicMax = 256
	// variants is how many topics of one kind are written out; with more a level that
	// varies becomes +.
	variants = 4
)

// Observer has at most one observation under way. It is safe for concurrent use; the zero
// Observer watches nothing, which costs a look at a pointer.
type Observer struct {
	active atomic.Pointer[observation]

	mu   sync.Mutex // guards last
	last *observation
}

// observation is what was seen in one time.
type observation struct {
	from, until time.Time

	mu    sync.Mutex // guards everything below
	ended time.Time
	users map[string]*user
	kinds int
	left  int // that had no place
	odd   int // of clients without a user name, and of topics that are too long or hold ${
}

// user is what one user has done.
type user struct {
	kinds map[key]*kind // at most KindsOfUser
}

// key is one kind of topics.
type key struct {
	action  auth.Action
	pattern string
}

// kind is what was seen of it.
type kind struct {
	topics  []string // at most variants+1, with the names of the client as placeholders
	times   int      // it was judged
	refused int      // of these
}

// Start begins to watch; ok is false if that is under way.
func (o *Observer) Start(now time.Time, d time.Duration) (ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if was := o.active.Load(); was != nil && now.Before(was.until) {
		return false
	}
	o.last = &observation{from: now, until: now.Add(d), users: map[string]*user{}}
	o.active.Store(o.last)
	return true
}

// Stop ends it, and forget drops what was seen, too.
func (o *Observer) Stop(now time.Time, forget bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if was := o.active.Swap(nil); was != nil {
		was.end(now)
	}
	if forget {
		o.last = nil
	}
}

func (w *observation) end(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended.IsZero() {
		w.ended = now
	}
}

// Active tells whether somebody watches.
func (o *Observer) Active() bool { return o.active.Load() != nil }

// Saw notes one judgement. Of a shared subscription the filter inside counts, as for rules.
func (o *Observer) Saw(now time.Time, by *auth.Principal, action auth.Action, name string, allowed bool) {
	w := o.active.Load()
	if w == nil {
		return
	}
	if !now.Before(w.until) {
		if o.active.CompareAndSwap(w, nil) {
			w.end(w.until)
		}
		return
	}
	if action == auth.Subscribe {
		if _, inner, shared, err := topic.ParseShare(name); err == nil && shared {
			name = inner
		}
	}
	w.note(by, action, name, allowed)
}

func (w *observation) note(by *auth.Principal, action auth.Action, name string, allowed bool) {
	named, pattern := advice.Named(by, name), advice.Pattern(by, name)
	w.mu.Lock()
	defer w.mu.Unlock()
	// What a client writes as a placeholder would be one in the file.
	if strings.Contains(name, "${") || by.Username == "" || len(name) > TopicMax || len(named) > TopicMax || len(pattern) > TopicMax || len(by.Username) > TopicMax {
		w.odd++
		return
	}
	u := w.users[by.Username]
	at := key{action, pattern}
	if u == nil || u.kinds[at] == nil {
		if w.kinds >= KindsMax || u != nil && len(u.kinds) >= KindsOfUser {
			w.left++
			return
		}
		w.kinds++
	}
	if u == nil {
		u = &user{map[key]*kind{}}
		w.users[by.Username] = u
	}
	k := u.kinds[at]
	if k == nil {
		k = &kind{}
		u.kinds[at] = k
	}
	k.add(named, allowed)
}

func (k *kind) add(named string, allowed bool) {
	k.times++
	if !allowed {
		k.refused++
		return
	}
	for _, t := range k.topics {
		if t == named {
			return
		}
	}
	if len(k.topics) <= variants {
		k.topics = append(k.topics, named)
	}
}
