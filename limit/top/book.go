package top

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Book is the rooms of a node. It is safe for concurrent use.
type Book struct {
	seed      maphash.Seed
	strangers *Room

	mu    sync.Mutex // guards everything below
	began time.Time  // when something was first counted or asked; zero: never
	rooms []*Room
}

// NewBook has counted nothing.
func NewBook() *Book {
	b := &Book{seed: maphash.MakeSeed()}
	b.strangers = b.Room()
	return b
}

// AnyLoop is all of them, and a room that is no loop's.
const AnyLoop = -1

// Room adds one that is no loop's.
func (b *Book) Room() *Room { return b.RoomOf(AnyLoop) }

// RoomOf adds one, for a loop.
func (b *Book) RoomOf(loop int) *Room {
	r := &Room{seed: b.seed, loop: loop}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rooms = append(b.rooms, r)
	return r
}

// Begin says since when is counted.
func (b *Book) Begin(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.began.IsZero() {
		b.began = now
	}
}

// Stranger counts what somebody has done who has not proved who he is. There is no name
// to give: he could take any.
func (b *Book) Stranger(now time.Time, addr netip.Addr, listener string, m Measure) {
	b.strangers.stranger(now, addr, listener, m)
}

// Row is one of those that have most.
type Row struct {
	Who
	AtMost, AtLeast uint64
}

// List is who has most.
type List struct {
	Measure Measure
	By      By
	Window  time.Duration // about, for which is counted
	Total   uint64        // with strangers; of what loops have handed in, exactly
	Rows    []Row         // by what they have at least
}

// Top is the n that have most of a measure lately.
func (b *Book) Top(now time.Time, m Measure, by By, n int) List {
	return b.TopOf(AnyLoop, now, m, by, n)
}

// TopOf is Top of one loop alone, with strangers, who are on none.
func (b *Book) TopOf(loop int, now time.Time, m Measure, by By, n int) List {
	b.mu.Lock()
	rooms, began := slices.Clone(b.rooms), b.began
	b.mu.Unlock()
	rooms = slices.DeleteFunc(rooms, func(r *Room) bool { return loop != AnyLoop && r.loop != loop && r != b.strangers })
	l := List{Measure: m, By: by, Window: window(now, began)}
	found, floor, seen := make(map[uint64]*Row), uint64(0), new([2]sketch)
	for _, r := range rooms {
		l.Total += r.look(now, m, by, seen)
		for i := range seen {
			floor += seen[i].into(found)
		}
	}
	for _, row := range found {
		row.AtMost += floor
		l.Rows = append(l.Rows, *row)
	}
	slices.SortFunc(l.Rows, func(x, y Row) int {
		return cmp.Or(cmp.Compare(y.AtLeast, x.AtLeast), cmp.Compare(y.AtMost, x.AtMost), cmp.Compare(x.Identity, y.Identity),
			cmp.Compare(x.ClientID, y.ClientID), x.Addr.Compare(y.Addr))
	})
	l.Rows = l.Rows[:min(n, len(l.Rows))]
	return l
}

// look copies what a room knows of a measure, and answers the total of it: a loop waits for
// the copy only, and not until somebody has gone through it.
func (r *Room) look(now time.Time, m Measure, by By, seen *[2]sketch) (total uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	for i, t := range [...]*table{&r.now, &r.last} {
		seen[i].n, seen[i].floor = 0, 0
		if s := t[by][m]; s != nil {
			seen[i] = *s
		}
		if s := t[ByNetwork][m]; s != nil {
			total += s.total
		}
	}
	return total
}

// into adds what s knows to rows, less what somebody may have of whom it knows nothing,
// which it answers: the caller adds that to everybody's. Until then a row may be below zero.
func (s *sketch) into(rows map[uint64]*Row) (floor uint64) {
	floor = s.floor
	for i := range s.n {
		row := rows[s.hashes[i]]
		if row == nil {
			row = &Row{Who: s.names[i]}
			rows[s.hashes[i]] = row
		} else {
			row.saw(&s.names[i], s.names[i].FromAddr)
		}
		row.AtMost += s.most[i] - floor
		row.AtLeast += s.most[i] - s.doubt[i]
	}
	return floor
}

// window is since when sketches count: since the one before that of now began.
func window(now, began time.Time) time.Duration {
	since := time.Unix((spanOf(now)-1)*int64(Span/time.Second), 0)
	if began.After(since) {
		since = began
	}
	return max(time.Second, now.Sub(since))
}
