package broker

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// overload is what all homes know of how hard pressed the node is. Somebody else looks
// and decides (limit/load); the homes only do as they are told.
type overload struct {
	short atomic.Pointer[Short] // nil: nothing is
	level atomic.Uint32         // a load.Level
	soon  atomic.Pointer[func()]
}

// Short is what there is too little of for new sessions. Where several things are, it is
// not the store: see lacks.
type Short struct {
	Of  load.Shortage
	Why string // in words, for the log
}

// Press puts a level in force: what waits for clients, and who gets a new session.
// short is nil where everybody does.
func (b *Broker) Press(level load.Level, short *Short) {
	b.overload.level.Store(uint32(level))
	b.short.Store(short)
	p := session.NoPressure
	switch {
	case level >= load.Lagging:
		p = session.NoQueues
	case level >= load.QoS0:
		p = session.NoQoS0
	}
	if a := b.Settings().Session.Account; a != nil {
		a.Press(p)
	}
}

// LookSoon says what a home calls when most of what it may take in has come: it must
// not block.
func (b *Broker) LookSoon(fn func()) { b.soon.Store(&fn) }

// full tells whether a client is to be refused because there is no room for one more
// session at the moment. That is not its fault: it is told to come again.
func (h *Home) full(by *auth.Principal, c *mqtt.Connect, set *Settings) bool {
	if _, present := h.lookup(keyOf(by, c.ClientID)); present {
		return false
	}
	return h.lacks(c, set) != nil || h.b.sessions.Load()+h.b.unsaid.Load() >= int64(set.SessionsTotal)
}

// lacks answers what there is too little of for the new session that a client asks for;
// nil: nothing. A store that is too slow is no reason to refuse a session that ends with its
// connection: nothing of it is ever written down.
func (h *Home) lacks(c *mqtt.Connect, set *Settings) *Short {
	short := h.b.short.Load()
	if short != nil && short.Of == load.OfStore && set.expiry(c) == 0 {
		return nil
	}
	return short
}

// busy refuses who would get a new session while something that it needs is short. Who has
// one comes back to it: what that costs is here already, and it was promised.
func (h *Home) busy(present bool, c *mqtt.Connect, set *Settings) *mqtt.Error {
	short := h.lacks(c, set)
	if short == nil || present {
		return nil
	}
	h.count.Inc(metrics.OverloadRefused.At(int(short.Of)))
	return &mqtt.Error{Reason: mqtt.ServerBusy, Detail: short.Why}
}

// intake is what a home takes from its publishers, and how much it may until somebody
// has looked at the memory. It makes the time between two looks harmless: whatever
// comes in it is bounded, by not reading who sends it.
type intake struct {
	bytes int64        // of messages so far; it only grows
	shown atomic.Int64 // what it was, with deliveries, at the end of the last turn
	mark  atomic.Int64 // where publishers wait
	half  atomic.Int64 // where somebody is to look
	asked int64        // the half for which it was asked

	of  Ref // whose messages come past the mark
	at  time.Time
	run int64 // bytes of them in this turn
}

// What a message and a delivery may make the node keep beside the message's bytes, in
// bytes: a frame with the slack of its buffer, and a place in a queue.
const (
	intakeMessage  = 256
	intakeDelivery = 96
)

// Boundless is an allowance that is none.
const Boundless = math.MaxInt64

// Allow lets a home take so many bytes more. Any goroutine may call it.
func (h *Home) Allow(bytes int64) {
	i := &h.work.intake
	now := i.shown.Load()
	if bytes >= Boundless-now {
		i.half.Store(Boundless)
		i.mark.Store(Boundless)
		return
	}
	i.half.Store(now + bytes/2)
	i.mark.Store(now + bytes)
}

// Taken is what the home has taken in so far, in bytes. Any goroutine may call it.
func (h *Home) Taken() int64 { return h.work.intake.shown.Load() }

func (h *Home) intakeNow() int64 { return h.work.intake.bytes + int64(h.spent)*intakeDelivery }

// takeIn accounts a message, before it is routed. Past the mark its publisher is not
// read for a while; nothing that was read is dropped for it.
func (h *Home) takeIn(now time.Time, r *resident, bytes int) {
	i := &h.work.intake
	i.bytes += int64(bytes) + intakeMessage
	if h.intakeNow() <= i.mark.Load() {
		return
	}
	if i.of != r.ref || i.at != now {
		i.of, i.at, i.run = r.ref, now, 0
	}
	i.run += int64(bytes) + intakeMessage
	h.count.Inc(metrics.OverloadPauses)
	h.talk(r).Throttled++
	h.pauseAlso(r, now.Add(h.b.overload.pause(i.run)))
}

// Publishers wait for the next look, which comes within a tenth of a second. Where even
// closing those who lag has not helped yet they wait the longer the more they bring, up
// to a second for a whole read of a socket: a crowd of them is as bad as a fast one, and
// who sends a small message now and then hardly notices.
const (
	pauseShort = 100 * time.Millisecond
	pauseLong  = time.Second
	pauseBytes = 64 << 10
)

func (o *overload) pause(bytes int64) time.Duration {
	if load.Level(o.level.Load()) < load.Lagging { //nolint:gosec // a level
		return pauseShort
	}
	return max(pauseShort, pauseLong*time.Duration(min(bytes, pauseBytes))/pauseBytes)
}

// showIntake ends a turn.
func (h *Home) showIntake() {
	i := &h.work.intake
	now := h.intakeNow()
	i.shown.Store(now)
	if half := i.half.Load(); now > half && half != i.asked {
		i.asked = half
		if fn := h.b.soon.Load(); fn != nil {
			(*fn)()
		}
	}
}
