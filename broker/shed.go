package broker

import (
	"math/bits"
	"time"

	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Weights are what those weigh who could be closed: how many bytes the ones together
// keep that keep from 2^i to twice that, so that the largest are found without a list
// of all.
type Weights [64]int64

// Add adds those of another home.
func (w *Weights) Add(o *Weights) {
	for i := range w {
		w[i] += o[i]
	}
}

// Cut is the weight from which whoever is heavier together keeps at least so many bytes,
// and not less than VictimLeast. Where all of them keep less, it is all of them.
func (w *Weights) Cut(bytes int64) int64 {
	for i := len(w) - 1; i >= 0; i-- {
		if bytes -= w[i]; bytes <= 0 {
			return max(VictimLeast, int64(1)<<min(i, 62))
		}
	}
	return VictimLeast
}

// Above is what those keep together that keep as much as cut, which is a power of two.
func (w *Weights) Above(cut int64) (sum int64) {
	for i := weightClass(cut); i < len(w); i++ {
		sum += w[i]
	}
	return sum
}

func weightClass(bytes int64) int { return bits.Len64(uint64(max(bytes, 1))) - 1 } //nolint:gosec // positive

const (
	// VictimLeast is what one must keep to be closed for it, in bytes. An idle client
	// costs 1 KB over TCP and 12 KB over TLS: to close it gives back less than its coming
	// back takes, 30 KB and half a millisecond for a handshake, and all of them come at
	// once. So whoever keeps less than this is never closed for want of memory.
	VictimLeast = 16 << 10
	// silentAfter is how long somebody must not have sent a whole packet to be idle.
	silentAfter = 5 * time.Second
)

// Shed is one pass of a home over its sessions, in steps that its clients do not notice.
type Shed struct {
	Level load.Level
	// Cut: who keeps as much is closed, until Left bytes of them were. 0: nobody is, they
	// are weighed.
	Cut, Left int64
	// Done is called on the loop when the pass is over. It must not block.
	Done func(w *Weights, closed int)
}

// shedding is a pass under way.
type shedding struct {
	Shed
	under   bool
	at      int // next slot
	closed  int
	weights *Weights
}

// What a step is charged, as in list.go; to close somebody is to route a will and to say
// things to the log.
const (
	shedEffort  = 2000
	closeEffort = 50
)

// Shed begins a pass; one that is under way ends where it is.
func (h *Home) Shed(now time.Time, s Shed) {
	if h.work.shed.under {
		h.shedDone()
	}
	h.work.shed = shedding{Shed: s, under: true, weights: new(Weights)}
	h.shedSome(now)
}

func (h *Home) shedSome(now time.Time) {
	s := &h.work.shed
	if !s.under {
		return
	}
	for effort := shedEffort; effort > 0 && s.at < len(h.slots); s.at++ {
		effort--
		r := h.slots[s.at]
		if r == nil {
			continue
		}
		if s.Cut == 0 {
			effort -= h.dropQoS0(r)
		}
		if s.Level < load.Idle || !r.s.Online() {
			continue
		}
		weight, victim := h.weigh(r)
		switch {
		case !victim:
		case s.Cut == 0:
			s.weights[weightClass(weight)] += weight
		case weight >= s.Cut && s.Left > 0:
			s.Left -= weight
			s.closed++
			effort -= closeEffort
			h.closeFor(now, r)
		}
	}
	if s.at < len(h.slots) {
		h.wire.Again()
		return
	}
	h.shedDone()
}

func (h *Home) shedDone() {
	s := h.work.shed
	h.work.shed = shedding{}
	if s.Done != nil {
		s.Done(s.weights, s.closed)
	}
}

// dropQoS0 gives up what waits for r at QoS 0, if the level says so.
func (h *Home) dropQoS0(r *resident) (dropped int) {
	if h.work.shed.Level < load.QoS0 {
		return 0
	}
	if dropped = r.s.DropQoS0(); dropped > 0 {
		h.countDrops(r)
	}
	return dropped
}

// weigh is what a connected session keeps, and whether it may be closed for it at the
// level: it is silent and keeps buffers, or, later, it does not keep up. Who neither
// sends nor lags is never a victim, however large.
func (h *Home) weigh(r *resident) (bytes int64, victim bool) {
	c := h.wire.Holds(r.conn)
	queued, _ := r.s.Queued()
	lags := queued > 0 || r.s.Congested()
	bytes = c.In + c.Out + r.s.Backlog()
	switch {
	case bytes < VictimLeast:
		return bytes, false
	case !lags:
		return bytes, c.Silent >= silentAfter
	}
	return bytes, h.work.shed.Level >= load.Lagging
}

// closeFor ends a connection because of what it keeps. A session that outlives it is
// not touched: what it is owed is on disk.
func (h *Home) closeFor(now time.Time, r *resident) {
	say, class := &mqtt.Disconnect{Reason: mqtt.ServerBusy}, metrics.OverloadClosedIdle
	if queued, _ := r.s.Queued(); queued > 0 || r.s.Congested() {
		say, class = &mqtt.Disconnect{Reason: mqtt.QuotaExceeded}, metrics.OverloadClosedLagging
	}
	say.ReasonString = "the broker is short of memory"
	h.count.Inc(class)
	h.disconnect(now, r, say, CauseOverload)
}
