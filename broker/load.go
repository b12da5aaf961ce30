package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store/fact"
)

// loading is what a home is going to say to the indexes that all homes share, while its
// sessions come back: all at once costs half of what one at a time does, and nobody asks
// them before every home has its sessions.
type loading struct {
	subs    []router.Filtered
	filters []router.Filtered // as filters has them; an empty filter: a member of a group
	came    []Ref             // the sessions, in the order in which they came
	after   []func(now time.Time)
	own     map[string]int // of the session at hand, where in subs a filter is; nil: it has one
}

// afterRestore has fn done when all sessions are, and tells that they are not yet: until then nobody knows what waits
// for them, and what is said of one to the log could say that nothing does.
func (h *Home) afterRestore(fn func(now time.Time)) (later bool) {
	if h.loading == nil {
		return false
	}
	h.loading.after = append(h.loading.after, fn)
	return true
}

// begin begins with another session.
func (l *loading) begin(subs int) {
	if subs <= 1 {
		l.own = nil
		return
	}
	l.own = make(map[string]int, subs)
}

// index makes a subscription known to publishers, and tells whether the session had that
// filter: under another name, such as $exclusive/, it may.
func (h *Home) index(real string, s router.Subscriber) (replaced bool) {
	l := h.loading
	if l == nil {
		return h.b.index.Subscribe(real, s)
	}
	if l.own != nil {
		if i, has := l.own[real]; has {
			l.subs[i].Sub = s
			return true
		}
		l.own[real] = len(l.subs)
	}
	l.subs = append(l.subs, router.Filtered{Filter: real, Sub: s})
	return false
}

// load says what has collected.
func (h *Home) load() {
	l := h.loading
	if l == nil {
		return
	}
	h.loading = nil
	h.b.index.SubscribeAll(l.subs)
	h.b.filters.addAll(l.filters, h.id)
}

// addAll is add for very many, which come with their filters as the index has them.
func (f *filters) addAll(list []router.Filtered, home uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.uses) == 0 {
		f.uses = make(map[fact.FilterID]use, len(list)*f.homes) // the other homes have as many
	}
	fresh := list[:0]
	for i := range list {
		id := filterOf(list[i].Sub.Ref)
		if n, known := f.uses[id]; known {
			f.uses[id] = n.plus(home, f.homes)
			continue
		}
		f.uses[id] = use{home: home, n: 1}
		if list[i].Filter != "" {
			fresh = append(fresh, list[i])
		}
	}
	f.index.SubscribeAll(fresh)
	f.some.Add(int64(len(fresh)))
	f.joined.Add(uint64(len(fresh)))
}
