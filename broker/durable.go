package broker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/internal/shrink"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// Durable is what a broker needs whose sessions survive it: the log, an index of it,
// and somebody who reads while the loops go on. A session with an expiry is kept:
// whatever its client was told is a record by then, and what it is owed at QoS 1 and
// 2 comes to it from the log, in the order of the log.
type Durable struct {
	Log   store.Log
	Index Index
	Key   *fact.Key
	Node  string // who claims the sessions
	// Do runs a read on a goroutine that may wait for the disk, at some time.
	Do func(read func())
	// Everywhere calls do, on any goroutine, once every node that is up has applied record
	// seq of a log that several nodes write: sessions move between them then. nil: this
	// node is the only one.
	Everywhere func(seq store.Seq, do func())
	// Process is a number that no other process has that ever wrote such a log, below
	// 1<<22. It makes the epochs of different processes different.
	Process uint32
}

// backing is what a broker has beside Durable.
type backing struct {
	durable  *Durable // nil: nothing outlives the process
	filters  *filters
	lines    *lines // nil with durable
	fair     fairTotals
	origins  origins
	applier  applier
	begun    atomic.Uint64 // messages up to this one may have been given out already
	told     atomic.Uint64 // and those up to this one have been
	full     atomic.Bool   // the log is as large as the operator allows
	gates    []*gate       // by home
	all      []*Home       // by home; complete before anything is applied
	abroad   abroad
	reads    reads // that sessions wait for
	scarcity scarcity
}

func (b *Broker) back(d *Durable, homes int) {
	b.durable = d
	if d == nil {
		return
	}
	b.filters, b.lines = newFilters(homes), newLines()
	if b.shared() {
		b.filters = newFilters(homes + 1) // the last stands for all other nodes
		b.abroad = make(abroad)
	}
	b.applier.news, b.applier.marked = make([]*news, homes), make([]bool, homes)
	b.all = make([]*Home, homes)
	for range homes {
		b.gates = append(b.gates, newGate())
	}
}

// SetFull says whether the log is as large as the operator allows: then publishes that
// it must have are refused, but for removals of some bytes.
func (b *Broker) SetFull(full bool) {
	if !full {
		b.scarcity.freed.Store(0)
	}
	b.full.Store(full)
}

// Room tells that the log takes records again after it refused some. Any goroutine
// may call it.
func (b *Broker) Room() {
	for _, h := range b.all {
		h.wire.Post(h.Room)
	}
}

// Index is what a broker asks of the view of the log; see package view.
type Index interface {
	Wait(ctx context.Context, seq store.Seq) error
	Session(sid store.SID) (*view.Session, error)
	Pending(q *view.Query, dst []view.Posting) (list []view.Posting, upTo store.Seq, err error)
	Group(id fact.FilterID) (view.Group, bool)
	Member(group, of fact.FilterID) (start store.Seq, ok bool)
	Read(ctx context.Context, seqs []store.Seq, fn func(seq store.Seq, rec *store.Record, m *fact.Message) error) (lost int, err error)
	Reached() store.Seq
	RetainedCount() (messages int, bytes int64)
	RetainedBy(id fact.AuthorID) (messages int, bytes int64)
	RescuedBy(id fact.AuthorID) (bytes int64)
	RetainedFrom(ctx context.Context, atLeast store.Seq, from []byte, fn func(row *view.RetainedRow) (next []byte, done bool, err error)) (asOf store.Seq, err error)
}

// filters is which durable subscriptions there are, by filter. Each filter stands in
// an index of its own as one subscriber, whose reference spells its identifier.
type filters struct {
	index *router.Index
	homes int
	some  atomic.Int64 // filters in index
	// joined grows, with mu locked, when a filter comes that was not there.
	joined atomic.Uint64

	mu      sync.RWMutex // guards everything below; while it is held nothing is asked but index, and the log takes a batch: see hold
	uses    map[fact.FilterID]use
	most    shrink.Most
	members map[membership]*enlisted
}

// membership is a session in a shared group. Each has an identifier of its own, which a
// message carries that was given to this member of the group.
type membership struct{ session, group router.Ref }

// enlisted is that identifier, and whose it is.
type enlisted struct {
	id    fact.FilterID
	sid   store.SID
	epoch atomic.Uint64
	known atomic.Bool // the log has it as a member: what it is given will not be nobody's
}

// addressed is who wants a message from the log.
type addressed struct {
	ids   []fact.FilterID
	broad bool // more filters than a message names
}

// filterRef spells an identifier as the reference of a subscriber.
func filterRef(id fact.FilterID) router.Ref {
	return router.Ref{Slot: uint32(id >> 32), Gen: uint32(id)}
}

func filterOf(r router.Ref) fact.FilterID { return fact.FilterID(r.Slot)<<32 | fact.FilterID(r.Gen) }

func newFilters(homes int) *filters {
	return &filters{index: router.New(), homes: homes, uses: make(map[fact.FilterID]use), members: make(map[membership]*enlisted)}
}

// add counts a subscription of a home. Every publish that is matched after it
// returned names the filter, unless it is empty: then it is a membership.
func (f *filters) add(id fact.FilterID, filter string, home uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, known := f.uses[id]; known {
		f.uses[id] = n.plus(home, f.homes)
		return
	}
	f.uses[id] = use{home: home, n: 1}
	if filter != "" {
		f.some.Add(1)
		f.joined.Add(1)
		f.index.Subscribe(filter, router.Subscriber{Ref: filterRef(id)})
	}
}

// use is how many subscriptions of each home have a filter. Nearly every filter has one.
type use struct {
	more *[]uint32 // by home; nil: only one home has any
	n    uint32    // of that
	home uint16
}

// plus is one more of a home.
func (u use) plus(home uint16, homes int) use {
	if u.more == nil && home == u.home {
		u.n++
		return u
	}
	if u.more == nil {
		more := make([]uint32, homes)
		more[u.home], u.more = u.n, &more
	}
	(*u.more)[home]++
	return u
}

// minus is one less; left: there is another, of whichever home.
func (u use) minus(home uint16) (_ use, left bool) {
	switch {
	case u.more != nil:
		(*u.more)[home]--
		return u, slices.ContainsFunc(*u.more, func(n uint32) bool { return n > 0 })
	case u.n == 0:
		panic("BUG: a filter is left that nobody had")
	}
	u.n--
	return u, u.n > 0
}

// each calls fn for the homes that have some.
func (u use) each(fn func(home int)) {
	if u.more == nil {
		if u.n > 0 {
			fn(int(u.home))
		}
		return
	}
	for home, n := range *u.more {
		if n > 0 {
			fn(home)
		}
	}
}

// join lets publishers find the identifier of a member.
func (f *filters) join(m membership, id fact.FilterID, d *durable) {
	e := &enlisted{id: id, sid: d.sid}
	e.epoch.Store(d.epoch)
	f.mu.Lock()
	f.members[m] = e
	f.mu.Unlock()
}

func (f *filters) leave(m membership) {
	f.mu.Lock()
	delete(f.members, m)
	f.mu.Unlock()
}

// membership is what is known of a member; nil if its session ends with the process.
func (f *filters) membership(m membership) *enlisted {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.members[m]
}

// member is the identifier of a member; 0 if its session ends with the process.
func (f *filters) member(m membership) fact.FilterID {
	if e := f.membership(m); e != nil {
		return e.id
	}
	return 0
}

// remove takes it back.
func (f *filters) remove(id fact.FilterID, filter string, home uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, left := f.uses[id].minus(home); left {
		f.uses[id] = n
		return
	}
	if filter != "" {
		f.some.Add(-1)
		f.index.Unsubscribe(filter, filterRef(id))
	}
	delete(f.uses, id)
	f.uses = shrink.Map(f.uses, &f.most)
}

// mark sets in homes those that have a subscription with the filter.
func (f *filters) mark(id fact.FilterID, homes []bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.uses[id].each(func(home int) {
		if home < len(homes) { // what is behind them is not of this node
			homes[home] = true
		}
	})
}

// match answers the filters that want a message of that topic, in ids. broad tells
// that they are too many to name, or that not all were found.
func (f *filters) match(name []byte, m *router.Matches, ids []fact.FilterID) (_ []fact.FilterID, broad bool) {
	if f.some.Load() == 0 {
		return ids, false
	}
	f.index.Match(name, m)
	if len(m.Subs) > filtersMax || m.Truncated {
		return ids, true
	}
	for i := range m.Subs {
		ids = append(ids, filterOf(m.Subs[i].Ref))
	}
	return ids, false
}

// filtersMax leaves room for members of shared groups in what a message names.
const filtersMax = fact.FiltersMax / 2

// logged is a message of the log on its way to the sessions that want it. It owns a
// reference to the frame.
type logged struct {
	seq     store.Seq
	from    store.SID // of the publisher's session, if that is durable
	frame   *mqtt.Frame
	filters []fact.FilterID
	broad   bool
	lines   []*line         // of groups that it waits for
	late    []fact.FilterID // filters that joined after it was matched; of a retained message
}

// frameOf makes a frame of a message of the log.
func frameOf(rec *store.Record, m *fact.Message) *mqtt.Frame {
	f := mqtt.NewFrame(m.Topic, m.Props, m.Payload)
	f.QoS, f.Retain, f.ExpiresAt, f.CreatedAt = mqtt.QoS(m.QoS), m.Retain, m.ExpiresAt, rec.At
	return f
}
