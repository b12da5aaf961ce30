package broker

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/shrink"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// What becomes of a client that has proved who it is while others of that identity are
// connected. Another identity is never among the others: the session is not its own, and
// it is not counted with them.

// Newcomers is what an operator says about that; the zero Newcomers is what MQTT says.
type Newcomers struct {
	// Refuse has a connection keep its session: a newer one of that identity and client
	// identifier is sent away, in place of having it [MQTT-3.1.4-3].
	Refuse bool
	// Most is how many clients of one identity may be connected; 0: any number.
	Most int
}

// newcomers is what holds for clients of a listener.
func (s *Settings) newcomers(listener string) Newcomers {
	if e := s.Entrances[listener]; e != nil && e.Newcomers != nil {
		return *e.Newcomers
	}
	return s.Newcomers
}

// crowding tells whether anybody is counted.
func (s *Settings) crowding() bool {
	if s.MostAttribute != "" || s.Newcomers.Most > 0 {
		return true
	}
	for _, e := range s.Entrances {
		if e.Newcomers != nil && e.Newcomers.Most > 0 {
			return true
		}
	}
	return false
}

// most is how many clients of an identity may be connected when this one has come. What was
// found out about it counts more than what is written for everybody; a number that cannot
// be read lets nobody in.
func (s *Settings) most(by *auth.Principal) (int, *mqtt.Error) {
	if s.MostAttribute != "" && by.Claims != nil {
		if text, has := by.Claims.Attrs[s.MostAttribute]; has {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return 0, &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "the client attribute that limits.connections_attribute names is " + strconv.Quote(text) + ", which is no number"}
			}
			return int(n), nil
		}
	}
	return s.newcomers(by.Listener).Most, nil
}

// crowds counts the connected clients of each identity at its mountpoint, over all homes.
// It is exact, and has nobody while there is no limit. It is safe for concurrent use.
type crowds struct {
	mu   sync.Mutex // guards everything below
	by   map[Hoarder]int
	peak shrink.Most
}

// take counts one more, unless there are as many as there may be; 0: any number.
func (c *crowds) take(who Hoarder, most int) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.by[who]; most > 0 && n >= most {
		return false
	}
	if c.by == nil {
		c.by = make(map[Hoarder]int)
	}
	c.by[who]++
	return true
}

func (c *crowds) give(who Hoarder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[who]--; c.by[who] > 0 {
		return
	}
	delete(c.by, who)
	c.by = shrink.Map(c.by, &c.peak)
}

func (c *crowds) has(who Hoarder) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[who]
}

// room is a place among the connected clients of an identity, from the old connection of
// a session or newly taken, until the session has it. It is the arrival's while that waits for
// the disk: nobody else of the identity can have it then.
type room struct {
	who     Hoarder
	counted bool
}

// turnAway refuses a client that others of its identity leave no room for, and one whose
// number cannot be read, whomever it would take over. It has no effect.
func (h *Home) turnAway(by *auth.Principal, clientID string, set *Settings) *mqtt.Error {
	most, e := set.most(by)
	if e != nil {
		return e
	}
	old, present := h.lookup(keyOf(by, clientID))
	if present && old.s.Online() {
		if !set.newcomers(by.Listener).Refuse {
			return nil // it takes the other's place, too
		}
		return &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: fmt.Sprintf(
			"a client with this client id is connected from %v by listener %s, and limits.same_client keeps it; if that one is dead, it ends after one and a half times its keep alive",
			old.by.Addr, old.by.Listener)}
	}
	if most == 0 || h.seated[keyOf(by, clientID)] != nil { // it has the place of the one that waits
		return nil
	}
	return crowded(h.b.crowds.has(Hoarder{by.Mountpoint, by.Identity}), most)
}

func crowded(has, most int) *mqtt.Error {
	if has < most {
		return nil
	}
	return &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: fmt.Sprintf("the user has %d clients connected, and limits.connections_per_identity, or an attribute of the client, allows %d", has, most)}
}

// refuseNewcomer is turnAway for a client that is to be told.
func (h *Home) refuseNewcomer(a *Arrival, set *Settings) *mqtt.Error {
	if a.place.counted { // it was let in, and waited
		return nil
	}
	e := h.turnAway(&a.By, a.Connect.ClientID, set)
	if e != nil {
		h.countTurned(&a.By, a.Connect.ClientID, e)
	}
	return e
}

func (h *Home) countTurned(by *auth.Principal, clientID string, e *mqtt.Error) {
	if old, present := h.lookup(keyOf(by, clientID)); present && old.s.Online() && e.Reason != mqtt.NotAuthorized {
		h.count.Inc(metrics.NewcomersRefused.At(refusedSame))
		return
	}
	h.count.Inc(metrics.NewcomersRefused.At(refusedCrowd))
}

// Where metrics.NewcomersRefused has them.
const (
	refusedSame = iota
	refusedCrowd
)

// inherit has the connection that takes a session over have the place of the one before,
// which nobody else can take meanwhile.
func (h *Home) inherit(a *Arrival, r *resident) {
	h.vacateRoom(a)
	a.place = room{who: hoarderOf(r), counted: r.counted}
	r.counted = false
}

// vacateRoom gives the place of an arrival back.
func (h *Home) vacateRoom(a *Arrival) {
	if a.place.counted {
		h.b.crowds.give(a.place.who)
	}
	a.place = room{}
}

// takeRoom takes a place for an arrival that has none yet: that of an earlier one of its name
// that waits, or a new one. Two loops may ask at once, and one of them gets the last. Who takes
// over is let in whatever the number: it was no more before, and the connection that it takes
// the session from is closed already.
func (h *Home) takeRoom(key session.Key, a *Arrival, takesOver bool, set *Settings) *mqtt.Error {
	if first := h.seated[key]; first != nil && !a.place.counted {
		a.place, first.place = first.place, room{}
	}
	h.unseat(key)
	if a.place.counted || !set.crowding() {
		return nil
	}
	a.place.who = Hoarder{a.By.Mountpoint, a.By.Identity}
	most := 0
	if !takesOver {
		var e *mqtt.Error
		if most, e = set.most(&a.By); e != nil {
			return e
		}
	}
	if !h.b.crowds.take(a.place.who, most) {
		h.count.Inc(metrics.NewcomersRefused.At(refusedCrowd))
		return crowded(most, most)
	}
	a.place.counted = true
	return nil
}

// seat has an arrival that waits keep its place, for itself or for the next of its name.
func (h *Home) seat(key session.Key, a *Arrival) {
	if !a.place.counted {
		return
	}
	if h.seated == nil {
		h.seated = make(map[session.Key]*Arrival)
	}
	h.seated[key] = a
}

// GiveUp tells that an arrival does not come any more, such as one whose connection has ended
// while it waited. It may be called for any, and more than once.
func (h *Home) GiveUp(a *Arrival) {
	h.vacateRoom(a)
	if key := keyOf(&a.By, a.Connect.ClientID); h.seated[key] == a {
		h.unseat(key)
	}
}

func (h *Home) unseat(key session.Key) {
	if delete(h.seated, key); len(h.seated) == 0 {
		h.seated = nil
	}
}

// recount brings a session in line with whether there is a limit: one that has just been
// set finds who is connected already.
func (h *Home) recount(r *resident, crowding bool) {
	switch {
	case crowding && !r.counted && r.s.Online():
		r.counted = h.b.crowds.take(hoarderOf(r), 0)
	case !crowding:
		h.uncount(r)
	}
}

// uncount gives back the place of a session whose connection has ended.
func (h *Home) uncount(r *resident) {
	if r.counted {
		r.counted = false
		h.b.crowds.give(hoarderOf(r))
	}
}
