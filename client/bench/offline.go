package bench

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/redoubtmq/redoubt/client"
)

// Defaults of Offline.
const (
	DefaultOfflineMessages   = 10
	DefaultOfflinePublishers = 20
	// offlineExpiry is how long the sessions last when nobody comes back for them, in seconds.
	offlineExpiry = 3600
	// offlineMax bounds what is accounted for: a bit for each message.
	offlineMax = 1 << 28
)

// OfflineReport is what waited for sessions that were away. Rates are of all of them.
type OfflineReport struct {
	Sessions    int     `json:"sessions"`
	PerSession  int     `json:"messages_per_session"`
	FillSeconds float64 `json:"fill_seconds"`
	FillPerSec  float64 `json:"acknowledged_per_second"`
	Present     int     `json:"sessions_present"` // that the broker still had
	DrainSecs   float64 `json:"drain_seconds"`
	DrainPerSec float64 `json:"drained_per_second"`
	// Lost were acknowledged and never came; Unacknowledged came although they were not.
	Lost           uint64  `json:"acknowledged_and_lost"`
	Unacknowledged uint64  `json:"delivered_unacknowledged"`
	CPUFill        float64 `json:"broker_cpu_fill_seconds,omitempty"`
	CPUDrain       float64 `json:"broker_cpu_drain_seconds,omitempty"`
}

// ledger says of each message whether it was acknowledged, and whether it came. The stamp's
// publisher is the session there, and the sequence number counts all messages.
type ledger struct {
	sessions    int
	total, next int
	acked, came []uint64
	due         int // were acknowledged and have not come
}

func newLedger(sessions, total int) *ledger {
	return &ledger{sessions: sessions, total: total, acked: make([]uint64, total/64+1), came: make([]uint64, total/64+1)}
}

func bit(m []uint64, i int) bool { return m[i/64]>>(i%64)&1 != 0 }
func setBit(m []uint64, i int)   { m[i/64] |= 1 << (i % 64) }

// settled is message n, acknowledged.
func (l *ledger) settled(n int) {
	if !bit(l.acked, n) && !bit(l.came, n) {
		l.due++
	}
	setBit(l.acked, n)
}

// again forgets what came: all that was acknowledged is to come once more.
func (l *ledger) again() {
	clear(l.came)
	l.due = 0
	for _, w := range l.acked {
		l.due += bits.OnesCount64(w)
	}
}

// offline lets sessions go away, fills them, and has them come back.
func (r *run) offline(ctx context.Context) error {
	o, rep := r.opt, &OfflineReport{}
	total := o.Count * o.Offline.Messages
	if total > offlineMax || o.Count > publishersMax {
		return usage("%d sessions with %d messages each are more than can be accounted for (%d messages)", o.Count, o.Offline.Messages, offlineMax)
	}
	rep.Sessions, rep.PerSession = o.Count, o.Offline.Messages
	r.cast()
	r.fan, r.track.streams = 0, nil // the ledger knows better
	r.ledger = newLedger(o.Count, total)
	r.crowd.strict, r.crowd.fresh = true, true
	r.enter("making sessions")
	if err := r.makeSessions(r.subs); err != nil {
		return err
	}
	defer func() {
		if !o.Offline.Keep && !o.Offline.Undrained {
			r.forget()
		}
	}()
	r.result.offline = rep

	r.enter("publishing")
	if err := r.crowd.connect(r.pubs); err != nil {
		return err
	}
	r.crowd.strict = !o.Offline.Killed
	err := r.measure(r.fill)
	rep.FillSeconds, rep.CPUFill = round(r.result.seconds), round(r.result.cpu)
	rep.FillPerSec = round(float64(r.total.acked) / r.result.seconds)
	r.crowd.disconnect(r.pubs)
	if err != nil || o.Offline.Undrained {
		return err
	}
	if o.Offline.Killed {
		if err := r.awaitReturn(ctx); err != nil {
			return err
		}
	}

	r.enter("draining")
	r.crowd.fresh = false
	r.subs = r.again(r.subs)
	var spent float64
	err = r.measure(func() error {
		began := r.after(0)
		r.total.lastDelivery = began
		if err := r.crowd.connect(r.subs); err != nil {
			return err
		}
		// However long it takes: it is what is measured, and a silence ends it.
		quiet := func() bool { return r.ledger.due == 0 || r.now-r.total.lastDelivery > int64(o.Pace.Drain) }
		err := r.until(forever, quiet)
		spent = float64(max(r.total.lastDelivery-began, 1)) / 1e9
		return err
	})
	rep.CPUDrain, rep.DrainSecs = round(r.result.cpu), round(spent)
	rep.DrainPerSec = round(float64(r.total.delivered) / spent)
	for _, p := range r.subs {
		if p.present {
			rep.Present++
		}
	}
	if err == nil { // else what has not come was not waited for
		rep.Lost, rep.Unacknowledged = r.ledger.judge()
	}
	r.leave()
	return err
}

// returnWithin is how long a broker that was killed may take to be back.
const returnWithin = 2 * time.Minute

// awaitReturn waits until the broker that was killed answers again. One that was not is told of:
// nothing was tried.
func (r *run) awaitReturn(ctx context.Context) error {
	if r.ledger.next >= r.ledger.total {
		return &client.Error{
			Kind: client.KindOptions, What: fmt.Sprintf("all %d messages were sent, and the broker was to be killed before: nothing was tried", r.ledger.total),
			Help: []string{"more --messages, or kill it earlier"},
		}
	}
	r.enter("waiting for the broker")
	for deadline := r.after(returnWithin); ; {
		err := r.probe(ctx)
		switch {
		case err == nil:
			return nil
		case r.after(0) > deadline:
			return err
		case !pause(ctx, returnEvery):
			return errInterrupted
		}
	}
}

const returnEvery = 50 * time.Millisecond

// again makes peers that come back under the same names.
func (r *run) again(old []*peer) []*peer {
	out := make([]*peer, len(old))
	for i, p := range old {
		out[i] = r.newPeer(p.role, p.index)
	}
	return out
}

// fill publishes to everybody in turn, until all is acknowledged or nothing comes any more.
func (r *run) fill() error {
	r.tick()
	r.total.lastDelivery = r.now
	for _, p := range r.pubs {
		r.feed(p)
	}
	err := r.until(forever, func() bool {
		if r.opt.Offline.Killed && r.crowd.live == 0 {
			return true
		}
		l := r.ledger
		under := 0
		for _, p := range r.pubs {
			if p.state == ready { // to others nothing comes any more
				under += p.pub.ids.under()
			}
		}
		return l.next >= l.total && under == 0 || r.now-r.total.lastDelivery > int64(r.opt.Pace.Drain)
	})
	if err == nil && r.total.acked == 0 {
		e := &client.Error{Kind: client.KindPublishRefused, What: "no message was acknowledged"}
		for name, n := range r.total.refusals {
			e.Details = append(e.Details, fmt.Sprintf("%d refused: %s", n, name))
		}
		err = e
	}
	return err
}

// sessionsOfWave are connected at a time while sessions are made, so that there may be more of them
// than of connections.
const sessionsOfWave = 5000

// makeSessions lets peers come and go.
func (r *run) makeSessions(peers []*peer) error {
	for wave := range slices.Chunk(peers, sessionsOfWave) {
		if err := r.crowd.connect(wave); err != nil {
			return err
		}
		r.crowd.disconnect(wave)
	}
	return nil
}

// nextOffline turns p to the session whose message is next; false: there are no more.
func (r *run) nextOffline(p *peer) (session uint32, ok bool) {
	l := r.ledger
	if l.next >= l.total {
		return 0, false
	}
	n := l.next
	l.next++
	session = uint32(n % l.sessions)
	p.pub.seq = uint32(n)
	retain := r.opt.Scenario == Retained || r.opt.Scenario == Memory && r.opt.Memory.Kind == OfRetained
	if r.topic = append(append(r.topic[:0], r.opt.Topic...), '/'); retain {
		r.topic = appendLevels(r.topic, n)
	} else {
		r.topic = strconv.AppendUint(r.topic, uint64(session), 10)
	}
	p.pub.setTopic(r.topic, r.opt.QoS, r.version, r.payload, retain)
	return session, true
}

// arrived is message n at session s; false: it came before.
func (l *ledger) arrived(s *stamp) (first bool) {
	n := int(s.seq)
	if n >= l.total || bit(l.came, n) {
		return false
	}
	if bit(l.acked, n) {
		l.due--
	}
	setBit(l.came, n)
	return true
}

// of tells whether a message is one of this run's, and at the session it is for.
func (l *ledger) of(s *stamp) bool {
	return int(s.seq) < l.next && int(s.publisher) == int(s.seq)%l.sessions
}

func (l *ledger) judge() (lost, unacknowledged uint64) {
	for i := range l.total {
		switch a, c := bit(l.acked, i), bit(l.came, i); {
		case a && !c:
			lost++
		case c && !a:
			unacknowledged++
		}
	}
	return lost, unacknowledged
}

// forget ends the sessions with the broker.
func (r *run) forget() {
	ctx := r.ctx
	r.ctx = context.WithoutCancel(ctx)
	defer func() { r.ctx = ctx }()
	r.crowd.strict, r.crowd.purge = false, true
	r.enter("removing sessions")
	before := r.crowd
	before.reasons, before.ends = maps.Clone(before.reasons), maps.Clone(before.ends)
	subs := r.again(r.subs)
	_ = r.makeSessions(subs)
	// They are not what the run was about.
	c := &r.crowd
	c.connected, c.failed, c.spent, c.hist = before.connected, before.failed, before.spent, before.hist
	c.reasons, c.ends = before.reasons, before.ends
}
