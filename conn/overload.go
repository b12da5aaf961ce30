package conn

import (
	"context"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/limit/load"
)

// Pulse measures how late the loops of a server come to their work: how long something
// that is posted to a loop lies in its inbox. It is safe for concurrent use.
type Pulse struct {
	server *Server

	mu    sync.Mutex  // guards everything below
	asked []time.Time // by loop; zero: it has answered
	worst time.Duration
	by    int // loop that was
}

// NewPulse measures s.
func NewPulse(s *Server) *Pulse { return &Pulse{server: s, asked: make([]time.Time, len(s.loops))} }

// Beat answers the most that a loop was late since the last call, or is by now, and which one
// that was, and asks those that have answered again.
func (p *Pulse) Beat(now time.Time) (worst time.Duration, loop int) {
	p.mu.Lock()
	worst, loop = p.worst, p.by
	p.worst = 0
	var ask []*Loop
	for i, l := range p.server.loops {
		if at := p.asked[i]; !at.IsZero() {
			if late := now.Sub(at); late > worst {
				worst, loop = late, i
			}
			continue
		}
		p.asked[i] = now
		ask = append(ask, l)
	}
	p.mu.Unlock()
	for _, l := range ask {
		l.inbox.post(event{kind: evCall, fn: p.answer})
	}
	return worst, loop
}

func (p *Pulse) answer(l *Loop) {
	now := p.server.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if late := now.Sub(p.asked[l.id]); late > p.worst {
		p.worst, p.by = late, int(l.id)
	}
	p.asked[l.id] = time.Time{}
}

// Allow shares out how much all homes together may take from their publishers until the
// next call.
func (s *Server) Allow(bytes uint64) {
	each := int64(min(bytes/uint64(len(s.loops)), broker.Boundless)) //nolint:gosec // it fits
	for _, l := range s.loops {
		l.home.Allow(each)
	}
}

// Taken is what all homes together have taken so far, in bytes.
func (s *Server) Taken() (bytes int64) {
	for _, l := range s.loops {
		bytes += l.home.Taken()
	}
	return bytes
}

// Shed does what a level says on all loops, and where the level closes somebody, closes
// those who keep most until they kept excess bytes together, or nobody is left who may be
// closed. It returns when that is done, or with ctx; then it goes on all the same.
func (s *Server) Shed(ctx context.Context, level load.Level, excess uint64) (closed int, err error) {
	if level < load.QoS0 { // whoever is here is not concerned
		return 0, nil
	}
	found, err := s.pass(ctx, func(int) broker.Shed { return broker.Shed{Level: level} })
	if err != nil || level < load.Idle || excess == 0 {
		return 0, err
	}
	var all broker.Weights
	for i := range found {
		all.Add(&found[i].weights)
	}
	wanted := int64(min(excess, 1<<62)) //nolint:gosec // it fits
	cut := all.Cut(wanted)
	above := all.Above(cut)
	if above == 0 {
		return 0, nil
	}
	found, err = s.pass(ctx, func(i int) broker.Shed {
		part := float64(found[i].weights.Above(cut)) / float64(above)
		return broker.Shed{Level: level, Cut: cut, Left: int64(part * float64(wanted))}
	})
	for i := range found {
		closed += found[i].closed
	}
	return closed, err
}

// passed is what a pass of one home answered.
type passed struct {
	loop    int
	weights broker.Weights
	closed  int
}

// pass has every home make one, and waits for all. Its answer is by loop.
func (s *Server) pass(ctx context.Context, of func(loop int) broker.Shed) ([]passed, error) {
	answers := make(chan passed, len(s.loops)) // room for all: a loop never waits for whoever has given up
	for _, l := range s.loops {
		order := of(l.id)
		order.Done = func(w *broker.Weights, closed int) { answers <- passed{l.id, *w, closed} }
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.home.Shed(l.now, order) }})
	}
	out := make([]passed, len(s.loops))
	for range s.loops {
		select {
		case a := <-answers:
			out[a.loop] = a
		case <-ctx.Done():
			return out, ctx.Err()
		case <-s.ended:
			return out, ErrEnded
		}
	}
	return out, nil
}
