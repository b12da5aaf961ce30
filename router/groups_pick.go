package router

import (
	"math/bits"
	"slices"
)

// Strategy is how a group chooses the member that gets a message.
type Strategy uint8

// The strategies.
const (
	// RoundRobin goes from one member to the next, by one count for the group. It
	// passes over who cannot take the message, and their turns are nobody's: those
	// who can get equal parts. With several publishers at work at once the parts
	// are equal in the long run.
	RoundRobin Strategy = iota
	// Random gives every member the same chance.
	Random
	// Sticky keeps to one member, chosen at random, until it leaves or stops
	// accepting while another accepts. A change of members at the very moment of
	// the choice may have it made again.
	Sticky
	// HashClientID gives the messages of one publisher to one member, and
	// HashTopic those of one topic. A member that leaves, or stops accepting,
	// loses its messages to all others in equal parts and moves nobody else's; one
	// that joins takes its part from all. What a member gets belongs to its Ref,
	// so it is not the same after the session was made anew.
	HashClientID
	HashTopic
)

// Choice is what a group may look at to choose.
type Choice struct {
	Strategy  Strategy
	Publisher uint64 // hash of the publisher's client identifier, for HashClientID
	Topic     uint64 // hash of the topic name, for HashTopic
	Random    uint64 // anything, evenly spread, for Random and Sticky
	// Not are members that must not get the message: who has it, or refused it.
	// [MQTT-4.8.2-6] has the caller discard what a client refused by reason code.
	Not []Ref
	// Together is for a message that comes right after another one of the same publisher. If nobody
	// accepts, RoundRobin has it wait with the member whose turn was last, without a turn of its own.
	Together bool
	// Name is the topic name. Who has the option Check is asked whether it may have that,
	// and passed over if not. Empty: nobody is asked.
	Name []byte
}

// Pick chooses who of the group gets one message: by the strategy among those that
// accept, if none does among those that are Full, and then among those Offline;
// never one of by.Not, or who may not have by.Name. ok is false if nobody remains or the group has gone.
//
// The answer is of one moment. The caller copes with a member that has left since,
// or whose window has filled up. Pick allocates nothing. Mostly it looks at one
// member or few; at worst (the hash strategies, or many that do not accept) it
// looks once at each, which is less than it takes to deliver to so many
// subscribers that are not a group.
func (g *Groups) Pick(group Ref, by Choice) (s Subscriber, ok bool) {
	if group.Home != GroupHome {
		return Subscriber{}, false
	}
	_, gr := g.at(idOf(group))
	if gr == nil {
		return Subscriber{}, false
	}
	r := gr.roster.Load()
	i := gr.choose(r, by)
	if i < 0 {
		return Subscriber{}, false
	}
	return r.at(i).sub, true
}

// choose answers where in the roster the chosen member is; -1: nobody.
func (gr *group) choose(r *roster, by Choice) int {
	if r.n == 0 {
		return -1
	}
	switch by.Strategy {
	case RoundRobin:
		return gr.next(r, &by)
	case Random:
		i, _ := r.random(by.Random, &by)
		return i
	case Sticky:
		return r.keep(by.Random, &by)
	case HashClientID:
		return r.highest(by.Publisher, &by)
	case HashTopic:
		return r.highest(by.Topic, &by)
	}
	panic("BUG: router: no such strategy")
}

// claimsMax is how often Claim chooses again because somebody else had the last room.
const claimsMax = 8

// Claim is Pick among those only that can send the message now, and promises it to the
// member: the caller has it call Arrived when it has come, or never will. ok is false if
// nobody can.
func (g *Groups) Claim(group Ref, by Choice) (s Subscriber, m *Member, ok bool) {
	if group.Home != GroupHome {
		return Subscriber{}, nil, false
	}
	_, gr := g.at(idOf(group))
	if gr == nil {
		return Subscriber{}, nil, false
	}
	for range claimsMax {
		r := gr.roster.Load()
		i := gr.choose(r, by)
		if i < 0 {
			break
		}
		seat := r.at(i)
		if seat.able(by.Not) != Accepting {
			break
		}
		if seat.m.promise() {
			return seat.sub, seat.m, true
		}
	}
	return Subscriber{}, nil, false
}

// Spare is how many messages the members of a group can send now, at most most.
func (g *Groups) Spare(group Ref, most int) (n int) {
	if group.Home != GroupHome {
		return 0
	}
	_, gr := g.at(idOf(group))
	if gr == nil {
		return 0
	}
	for _, page := range gr.roster.Load().pages {
		for i := range page {
			if m := page[i].m; m.Said() == Accepting {
				if n += min(m.Spare(), most-n); n >= most {
					return most
				}
			}
		}
	}
	return n
}

// excluded is the State of who must not get the message. It is worse than all others.
const excluded = Offline + 1

func (s *seat) able(not []Ref) State {
	if len(not) > 0 && slices.Contains(not, s.sub.Ref) {
		return excluded
	}
	return s.m.State()
}

// state is able, also of who may not have the message. Who is worse than worst is not asked.
func (s *seat) state(by *Choice, worst State) State {
	able := s.able(by.Not)
	if able <= worst && able != excluded && len(by.Name) > 0 && s.sub.Opts&Check != 0 && !s.m.may(by.Name) {
		return excluded
	}
	return able
}

// Best is the state of who could have a message soonest of those that Pick chooses among.
// barred tells that there are members, and nobody may have it. It looks no further than at
// who is as good as enough.
func (g *Groups) Best(group Ref, by Choice, enough State) (best State, barred bool) {
	if group.Home != GroupHome {
		return Offline, false
	}
	_, gr := g.at(idOf(group))
	if gr == nil {
		return Offline, false
	}
	r := gr.roster.Load()
	best = excluded
	for i := 0; i < r.n && best > enough; i++ {
		best = min(best, r.at(i).state(&by, best-1))
	}
	return min(best, Offline), best == excluded && r.n > 0
}

// next takes a turn. Turns of those who cannot take the message are used up with
// it, or the member behind them would get theirs as well.
func (gr *group) next(r *roster, by *Choice) int {
	if by.Together {
		if last := gr.turn.Load(); last > 0 {
			if best, _, state := r.first(last-1, by); state != Accepting {
				return best
			}
		}
	}
	turn := gr.turn.Add(1) - 1
	best, skip, _ := r.first(turn, by)
	if skip > 0 { // unless somebody else has moved on meanwhile
		gr.turn.CompareAndSwap(turn+1, turn+1+uint64(skip)) //nolint:gosec // not negative
	}
	return best
}

// first answers the first of those in the best state that anybody has, from whose turn it is on, how
// many it passed over, and that state.
func (r *roster) first(turn uint64, by *Choice) (best, skip int, state State) {
	start := int(turn % uint64(r.n)) //nolint:gosec // less than n
	best, state = -1, excluded
	for k := range r.n {
		i := start + k
		if i >= r.n {
			i -= r.n
		}
		if s := r.at(i).state(by, state-1); s < state {
			best, skip, state = i, k, s
			if s == Accepting {
				break
			}
		}
	}
	return best, skip, state
}

// random answers one of those in the best state that anybody has, and that state,
// and gives each the same chance: to take the neighbour of who does not accept
// would give that one two.
func (r *roster) random(random uint64, by *Choice) (best int, state State) {
	i := below64(random, r.n)
	if r.at(i).state(by, Accepting) == Accepting {
		return i, Accepting
	}
	best, state = -1, excluded
	seen := 0 // in that state so far; each one is as likely as the others to be best
	for i := range r.n {
		switch s := r.at(i).state(by, state); {
		case s < state:
			best, state, seen = i, s, 1
		case s == state && s != excluded:
			seen++
			random = mix(random + golden)
			if below64(random, seen) == 0 {
				best = i
			}
		}
	}
	return best, state
}

// keep answers the member that is kept, unless a better one must be chosen.
func (r *roster) keep(random uint64, by *Choice) int {
	for {
		kept := r.kept.Load()
		was := excluded
		if kept > 0 {
			if was = r.at(int(kept)-1).state(by, Offline); was == Accepting {
				return int(kept) - 1
			}
		}
		best, state := r.random(random, by)
		switch {
		case kept > 0 && was != excluded && was <= state:
			return int(kept) - 1
		case best < 0:
			return -1
		case kept > 0 && was == excluded: // of this message only
			return best
		}
		if r.kept.CompareAndSwap(kept, uint32(best)+1) {
			return best
		}
	}
}

// highest answers the member with the highest score for key among those in the
// best state that anybody has (rendezvous hashing: Thaler and Ravishankar, 1998).
// A member's score for a key depends on nobody else, so whoever leaves moves
// nothing but its own.
func (r *roster) highest(key uint64, by *Choice) int {
	key = mix(key)
	best, state, top := -1, excluded, uint64(0)
	i := 0
	for _, page := range r.pages {
		for j := range page {
			x := page[j].sub.Ref.score(key)
			if able := page[j].able(by.Not); able < state || able == state && x >= top {
				if s := page[j].state(by, able); s != excluded {
					state, top, best = s, x, i
				}
			}
			i++
		}
	}
	return best
}

func (r Ref) score(key uint64) uint64 {
	return mix((uint64(r.Slot)<<32 | uint64(r.Gen)) ^ uint64(r.Home)*golden ^ key)
}

const golden = 0x9E3779B97F4A7C15

// mix spreads every bit of x over all others (the last step of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xFF51AFD7ED558CCD
	x = (x ^ x>>33) * 0xC4CEB9FE1A85EC53
	return x ^ x>>33
}

// below64 is random scaled to 0..n-1.
func below64(random uint64, n int) int {
	hi, _ := bits.Mul64(random, uint64(n))
	return int(hi)
}
