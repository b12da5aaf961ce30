package router

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// GroupHome is the Home of a reference that names a shared group of a Groups
// table and not a session. No loop has that number.
const GroupHome uint16 = 0xFFFF

// State tells what would become of a message that a session was given now.
type State uint32

// The states, the best one first.
const (
	Accepting State = iota // connected, and there is room in its window
	Full                   // connected, but the message would wait behind the window
	Offline                // without a connection: the message would wait for one
)

// Member is one session as the groups see it: a State and a Room that its home sets and
// that every publisher's loop reads. A session needs one, however many groups it is in,
// so that a full window costs one store and not one for each group. The zero value
// is Accepting, with room for everything.
type Member struct {
	state    atomic.Uint32
	room     atomic.Int32 // and one; 0: for everything
	promised atomic.Int32 // messages on their way to it
	judge    atomic.Pointer[func(name []byte) bool]
}

// SetJudge says who tells whether the session may have a message of that topic name. fn is
// called by publishers, on any goroutine. Only its home calls it.
func (m *Member) SetJudge(fn func(name []byte) bool) { m.judge.Store(&fn) }

// Judged tells whether SetJudge was called.
func (m *Member) Judged() bool { return m.judge.Load() != nil }

// may asks; who has no judge is asked nothing.
func (m *Member) may(name []byte) bool {
	fn := m.judge.Load()
	return fn == nil || (*fn)(name)
}

// SetState says what the session can do now. Only its home calls it.
func (m *Member) SetState(s State) { m.state.Store(uint32(s)) }

// SetRoom says how many messages it can send one after another. Only its home calls it.
func (m *Member) SetRoom(n int) { m.room.Store(int32(min(n, 1<<30)) + 1) }

// State is what SetState said last, or Full if what was promised to the session takes all
// its room.
func (m *Member) State() State {
	s := State(m.state.Load())
	if s == Accepting && m.Spare() == 0 {
		return Full
	}
	return s
}

// Said is what SetState said last.
func (m *Member) Said() State { return State(m.state.Load()) }

// Spare is how many messages more may be promised.
func (m *Member) Spare() int {
	room := m.room.Load()
	if room == 0 {
		return 1 << 30
	}
	return int(max(0, room-1-m.promised.Load()))
}

// promise counts a message that will come, unless there is no room for it.
func (m *Member) promise() bool {
	for {
		room, p := m.room.Load(), m.promised.Load()
		if room != 0 && p >= room-1 {
			return false
		}
		if m.promised.CompareAndSwap(p, p+1) {
			return true
		}
	}
}

// Arrived takes a promise back: the message has come, or never will.
func (m *Member) Arrived() {
	for {
		p := m.promised.Load()
		if p <= 0 || m.promised.CompareAndSwap(p, p-1) {
			return
		}
	}
}

// Forget takes all promises back: what is on its way goes to somebody else.
func (m *Member) Forget() { m.promised.Store(0) }

// Groups holds the members of shared subscriptions (§4.8.2). A group is a share
// name and a topic filter; it stands in an Index as one Subscriber whose Ref has
// the Home GroupHome, so that matching costs no more for a group than for a
// session, and Pick then says who of it gets the message. A Ref that named a group
// never names another one.
//
// All methods are safe for concurrent use, and Pick takes no lock. Groups and
// members are as many as there are subscriptions to them, which the sessions'
// limits bound; nothing is left of a group whose last member is gone (A042).
type Groups struct {
	index *Index
	seed  maphash.Seed
	byID  hashTree[groupID] // what Pick reads

	members, groups atomic.Int64

	mu     sync.Mutex // held by writers; before the lock of a shard of index
	byName hashTree[groupName]
	last   uint64 // id of the newest group
}

// groupID and groupName are the two ways to a group.
type (
	groupID struct {
		id uint64
		g  *group
	}
	groupName struct {
		tag uint32
		g   *group
	}
)

func (e groupID) hash() uint32   { return uint32(mix(e.id)) }
func (e groupName) hash() uint32 { return e.tag }

// group is a share name, a filter and who is in it.
type group struct {
	share, filter string
	id            uint64
	tag           uint32 // hash of share and filter

	roster atomic.Pointer[roster]
	turn   atomic.Uint64 // of RoundRobin

	seats hashTree[seatAt] // where in the roster a session is; the writer's
}

// seatAt is a session's place in a roster.
type seatAt struct {
	ref Ref
	at  uint32
}

func (s seatAt) hash() uint32 { return s.ref.hash() }

// NewGroups makes an empty table whose groups stand in index.
func NewGroups(index *Index) *Groups {
	return &Groups{index: index, seed: maphash.MakeSeed(), last: 1<<32 - 1} // so that Gen begins with 1
}

func refOf(id uint64) Ref { return Ref{Home: GroupHome, Slot: uint32(id), Gen: uint32(id >> 32)} }
func idOf(ref Ref) uint64 { return uint64(ref.Gen)<<32 | uint64(ref.Slot) }

// Join makes a session a member of the group, and the group if it is the first. If
// it is a member already, its subscription identifier, options and m are replaced
// [MQTT-3.8.4-3]. Every Match that starts after Join returned finds the group, and
// every Pick from then on the member.
//
// share and filter are what topic.ParseShare answered; both are copied. s.Opts are
// the member's own: each gets messages at the QoS it was granted [MQTT-4.8.2-3].
func (g *Groups) Join(share, filter string, s Subscriber, m *Member) (group Ref, replaced bool) {
	if m == nil {
		panic("BUG: router: a session joins a group without saying what it can do")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	tag := g.tagOf(share, filter)
	_, gr := g.find(tag, share, filter)
	if gr == nil {
		return g.found(tag, share, filter, seat{s, m}), false
	}
	r := gr.roster.Load()
	leaf, at := gr.seatOf(s.Ref)
	if leaf >= 0 {
		gr.roster.Store(r.with(at, seat{s, m}))
		return refOf(gr.id), true
	}
	gr.seats.put(-1, seatAt{s.Ref, uint32(r.n)})
	gr.roster.Store(r.with(r.n, seat{s, m}))
	g.members.Add(1)
	return refOf(gr.id), false
}

// found makes a group with its first member and puts it into the index last, so
// that whoever matches it can pick.
func (g *Groups) found(tag uint32, share, filter string, first seat) Ref {
	g.last++
	gr := &group{share: strings.Clone(share), filter: strings.Clone(filter), id: g.last, tag: tag}
	gr.seats.put(-1, seatAt{first.sub.Ref, 0})
	gr.roster.Store((&roster{}).with(0, first))
	g.byName.put(-1, groupName{tag, gr})
	g.byID.put(-1, groupID{gr.id, gr})
	g.groups.Add(1)
	g.members.Add(1)
	g.index.Subscribe(gr.filter, Subscriber{Ref: refOf(gr.id)})
	return refOf(gr.id)
}

// Leave ends a membership, and the group if it was the last, and tells whether
// there was one. No Pick that starts after Leave returned finds the member; one
// that runs meanwhile may, and who delivers then meets a session that has no such
// subscription any more.
func (g *Groups) Leave(share, filter string, member Ref) (existed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	tag := g.tagOf(share, filter)
	named, gr := g.find(tag, share, filter)
	if gr == nil {
		return false
	}
	leaf, at := gr.seatOf(member)
	if leaf < 0 {
		return false
	}
	g.members.Add(-1)
	r := gr.roster.Load()
	if r.n == 1 {
		g.index.Unsubscribe(gr.filter, refOf(gr.id))
		gr.roster.Store(&roster{}) // for a Pick that has found the group already
		g.byName.remove(tag, named)
		at, _ := g.at(gr.id)
		g.byID.remove(groupID{id: gr.id}.hash(), at)
		g.groups.Add(-1)
		return true
	}
	gr.seats.remove(member.hash(), leaf)
	if at != r.n-1 { // the last one takes the empty seat
		ref := r.at(r.n - 1).sub.Ref
		leaf, _ := gr.seatOf(ref)
		gr.seats.put(leaf, seatAt{ref, uint32(at)})
	}
	gr.roster.Store(r.without(at))
	return true
}

func (g *Groups) tagOf(share, filter string) uint32 {
	return uint32(maphash.Comparable(g.seed, [2]string{share, filter}))
}

// find is the group of that name and where byName has it.
func (g *Groups) find(tag uint32, share, filter string) (int, *group) {
	leaf := g.byName.leafOf(tag)
	for i, e := range leaf {
		if e.tag == tag && e.g.filter == filter && e.g.share == share {
			return i, e.g
		}
	}
	return -1, nil
}

// at is the group of that id and where byID has it.
func (g *Groups) at(id uint64) (int, *group) {
	leaf := g.byID.leafOf(groupID{id: id}.hash())
	for i := range leaf {
		if leaf[i].id == id {
			return i, leaf[i].g
		}
	}
	return -1, nil
}

// seatOf is where a session sits, and where seats has that.
func (gr *group) seatOf(ref Ref) (leaf, at int) {
	for i, s := range gr.seats.leafOf(ref.hash()) {
		if s.ref == ref {
			return i, int(s.at)
		}
	}
	return -1, -1
}

// Name is the share name and the filter of a group. ok is false if it has gone.
func (g *Groups) Name(group Ref) (share, filter string, ok bool) {
	if group.Home != GroupHome {
		return "", "", false
	}
	_, gr := g.at(idOf(group))
	if gr == nil {
		return "", "", false
	}
	return gr.share, gr.filter, true
}

// Stats counts the groups and their members. While others change them the two may
// be of slightly different moments.
func (g *Groups) Stats() (groups, members int) {
	return int(g.groups.Load()), int(g.members.Load())
}
