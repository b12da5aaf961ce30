package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/client"
)

// MemoryKind is what there is more and more of.
type MemoryKind string

// What the broker is made to keep.
const (
	OfConnection MemoryKind = "connection" // connected, with one subscription
	OfExact      MemoryKind = "exact"      // subscription without wildcards
	OfWildcard   MemoryKind = "wildcard"   // subscription with one
	OfRetained   MemoryKind = "retained"   // message
	OfSession    MemoryKind = "session"    // that is away, with one subscription
	OfQueued     MemoryKind = "queued"     // message for a session that is away
)

var memoryKinds = []MemoryKind{OfConnection, OfExact, OfWildcard, OfRetained, OfSession, OfQueued}

// ParseMemoryKind reads one.
func ParseMemoryKind(s string) (MemoryKind, error) {
	if k := MemoryKind(s); slices.Contains(memoryKinds, k) {
		return k, nil
	}
	return "", usage("%q is none of connection, exact, wildcard, retained, session and queued", s)
}

// MemoryShape is what there is to be, and how long memory must not fall to have settled.
type MemoryShape struct {
	Kind   MemoryKind
	Settle time.Duration
	// Visitors connect before memory is read, stay for a while and leave, both times. A broker with
	// a collector may wait for the end of a storm, and that is one; what they leave behind is there
	// both times and in no difference.
	Visitors int
	Visit    time.Duration // how long they stay; 0: long enough to be seen
	// Collect asks the broker (SIGUSR1) to collect garbage before memory settles, both times, in place of
	// visitors and a long wait. It is for Redoubt: others do something else then, or end.
	Collect bool
}

const (
	// DefaultSettle is longer than Redoubt takes to notice that a storm is over and collect, which
	// is three looks of five seconds (internal/memory), and a rest of 200 times what the last one took.
	// DefaultVisitors are enough of a storm.
	DefaultSettle   = time.Minute
	DefaultVisitors = 4000
	// DefaultVisit is longer than who looks now and then takes to see them.
	DefaultVisit = 6 * time.Second
	// settleMax bounds the wait for a broker whose memory never settles.
	settleMax = 2 * time.Minute
	// fallen is how long memory must not fall further once much of it has been given back.
	fallen = 2 * time.Second
	// memoryClients hold all subscriptions; each of memorySessions gets a part of what is queued.
	memoryClients, memorySessions, memoryPublishers = 50, 1000, 20
	// memoryMin is the least number of which a third says anything.
	memoryMin = 30
)

// MemoryReport is what one of many takes of the broker's memory: by what a third of them and all
// of them took, so that what the broker takes without any is in neither.
type MemoryReport struct {
	Kind          MemoryKind `json:"kind"`
	First         int        `json:"first"` // of them, after which memory was read
	Count         int        `json:"count"`
	ResidentFirst int64      `json:"resident_first_bytes"`
	Resident      int64      `json:"resident_bytes"`
	Each          float64    `json:"bytes_each"`
	Settled       bool       `json:"settled"` // both times, before the wait was given up
	Waited        float64    `json:"settling_seconds"`
}

func (m *MemoryShape) verify(o *Options) error {
	if m.Kind == "" {
		m.Kind = OfConnection
	}
	if m.Settle == 0 {
		m.Settle = DefaultSettle
	}
	if m.Visit == 0 {
		m.Visit = DefaultVisit
	}
	switch {
	case o.Process == 0:
		return usage("memory is read of a process on this machine: name the broker's with --pid")
	case o.Count < memoryMin:
		return usage("%d is too few to tell what each takes: at least %d", o.Count, memoryMin)
	case o.Count > publishersMax:
		return usage("%d are more than a payload can tell apart (%d)", o.Count, publishersMax)
	case m.Visitors < 0 || m.Visitors > CountMax:
		return usage("%d visitors are out of range (0 to %d)", m.Visitors, CountMax)
	case m.Settle > settleMax:
		return usage("memory settles within %s or not at all: a shorter --settle", settleMax)
	}
	if m.Kind == OfRetained || m.Kind == OfQueued {
		o.QoS = 1 // what is acknowledged is there
	}
	return nil
}

// each is how many of what is counted one client brings.
func (m *MemoryShape) each(count int) int {
	switch m.Kind {
	case OfExact, OfWildcard:
		return max(1, count/memoryClients)
	case OfQueued:
		return max(1, count/memorySessions)
	}
	return 1
}

func (m *MemoryShape) publishers(count int) int {
	if m.Kind == OfRetained || m.Kind == OfQueued {
		return min(memoryPublishers, count)
	}
	return 0
}

func (m *MemoryShape) subscribers(count int) int {
	if m.Kind == OfRetained {
		return 0
	}
	return count / m.each(count)
}

// durable tells whether its clients' sessions outlive them.
func (m *MemoryShape) durable() bool { return m.Kind == OfSession || m.Kind == OfQueued }

// memoryFilters are those of client i. One of who has nothing else is under a level of the client's own,
// as that of a device is for its commands: to some brokers each level of a filter is a node of a tree.
func (r *run) memoryFilters(i int) []string {
	form := map[MemoryKind]string{OfExact: "%s/%d/x/%d/t", OfWildcard: "%s/%d/+/%d/#"}[r.opt.Memory.Kind]
	if r.opt.Memory.Kind == OfConnection || r.opt.Memory.Kind == OfSession {
		return []string{fmt.Sprintf("%s/%d/cmd", r.opt.Topic, i)}
	}
	if form == "" { // what is published to
		return []string{fmt.Sprintf("%s/%d", r.opt.Topic, i)}
	}
	out := make([]string, r.opt.Memory.each(r.opt.Count))
	for k := range out {
		out[k] = fmt.Sprintf(form, r.opt.Topic, i, k)
	}
	return out
}

// memory makes a third, reads what the broker holds, makes the rest and reads it again.
func (r *run) memory(context.Context) error {
	o := r.opt
	shape := &o.Memory
	for i := range o.Subscribers() {
		r.subs = append(r.subs, r.newPeer(subscribes, i, r.memoryFilters(i)...))
	}
	_, topic := r.topics()
	for i := range o.Publishers() {
		p := r.newPeer(publishes, i)
		p.pub = newPublisher(topic(i), o.QoS, r.version, r.payload, r.window)
		r.pubs = append(r.pubs, p)
	}
	r.crowd.strict, r.crowd.fresh = true, true
	each := shape.each(o.Count)
	rep := &MemoryReport{Kind: shape.Kind, First: o.Count / 3 / each * each, Count: o.Count / each * each, Settled: true}
	defer r.clear(rep)
	if err := r.memoryBegin(rep); err != nil {
		return err
	}
	began := r.after(0)
	for _, step := range []struct {
		name     string
		from, to int
		resident *int64
	}{{"a third", 0, rep.First, &rep.ResidentFirst}, {"the rest", rep.First, rep.Count, &rep.Resident}} {
		r.enter(step.name)
		if err := r.more(step.from, step.to); err != nil {
			return err
		}
		if err := r.visitors(); err != nil {
			return err
		}
		r.enter("settling")
		if shape.Collect {
			if err := askToCollect(o.Process); err != nil {
				return err
			}
		}
		at := r.after(0)
		settled, err := r.settle(step.resident)
		rep.Waited += float64(r.after(0)-at) / 1e9
		if err != nil {
			return err
		}
		rep.Settled = rep.Settled && settled
	}
	rep.Waited, rep.Each = round(rep.Waited), round(float64(rep.Resident-rep.ResidentFirst)/float64(rep.Count-rep.First))
	r.result.memory, r.result.resident = rep, rep.Resident
	r.result.seconds = float64(r.after(0)-began) / 1e9
	return nil
}

// visitors come and go. Those that the broker does not let in are missed by nobody.
func (r *run) visitors() error {
	n := r.opt.Memory.Visitors
	if n == 0 {
		return nil
	}
	r.enter("visitors")
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = r.newPeer(visits, i)
	}
	r.crowd.strict = false
	err := r.crowd.connect(peers)
	if err == nil {
		err = r.until(r.after(r.opt.Memory.Visit), never)
	}
	r.crowd.disconnect(peers)
	r.crowd.strict = true
	return err
}

// memoryBegin makes what has to be there before the first of what is counted.
func (r *run) memoryBegin(rep *MemoryReport) error {
	if len(r.pubs) == 0 {
		return nil
	}
	sessions := rep.Count
	if rep.Kind == OfQueued {
		sessions = len(r.subs)
		r.enter("making sessions")
		if err := r.makeSessions(r.subs); err != nil {
			return err
		}
	}
	r.ledger = newLedger(sessions, rep.Count)
	r.enter("connecting")
	return r.crowd.connect(r.pubs)
}

// more brings the broker from so many to so many.
func (r *run) more(from, to int) error {
	if len(r.pubs) > 0 {
		return r.publishUpTo(to)
	}
	each := r.opt.Memory.each(r.opt.Count)
	peers := r.subs[from/each : to/each]
	if r.opt.Memory.durable() {
		return r.makeSessions(peers)
	}
	return r.crowd.connect(peers)
}

func (r *run) publishUpTo(total int) error {
	before := r.total.acked
	want := uint64(total - r.ledger.next)
	r.ledger.total, r.silent = total, false
	if err := r.fill(); err != nil {
		return err
	}
	if got := r.total.acked - before; got != want {
		return &client.Error{Kind: client.KindPublishRefused, What: fmt.Sprintf("of %d messages %d were acknowledged", want, got)}
	}
	return nil
}

// settle waits until the broker's memory has, and reads it. false: it did not.
func (r *run) settle(resident *int64) (settled bool, err error) {
	s := settling{quiet: r.opt.Memory.Settle}
	err = r.until(r.after(settleMax), func() bool {
		_, *resident = processUse(r.opt.Process)
		settled = s.see(time.Duration(r.now), *resident)
		return settled
	})
	return settled, err
}

// settling tells from samples when memory has settled. A collector runs some time after the ramp,
// and what it gives back is a step; after that nothing is waited for. The zero value of all but
// quiet has seen nothing.
type settling struct {
	quiet     time.Duration
	seen      bool
	high, low int64
	lowAt     time.Duration
}

// see takes what is resident at a time.
func (s *settling) see(now time.Duration, resident int64) bool {
	switch {
	case !s.seen || resident > s.high:
		// What still grows has not settled either, as long as that is more than a stray page.
		if !s.seen || resident > s.high+s.high/200 {
			s.high, s.low, s.lowAt, s.seen = resident, resident, now, true
		}
	case resident < s.low-s.low/200:
		s.low, s.lowAt = resident, now
	}
	quiet := s.quiet
	if s.high-s.low >= s.high/20 {
		quiet = min(quiet, fallen)
	}
	return now-s.lowAt >= quiet
}

// clear takes from the broker what it was made to keep.
func (r *run) clear(rep *MemoryReport) {
	ctx := r.ctx
	r.ctx = context.WithoutCancel(ctx)
	defer func() { r.ctx = ctx }()
	r.crowd.strict = false
	if rep.Kind == OfRetained && r.ledger != nil {
		r.enter("removing messages")
		made := r.ledger.next
		r.ledger, r.payload, r.silent = newLedger(rep.Count, made), nil, false
		_ = r.fill() // what is left has to be removed by who sees it
	}
	r.crowd.disconnect(r.pubs)
	r.crowd.disconnect(r.subs)
	if r.opt.Memory.durable() {
		r.forget()
	}
}
