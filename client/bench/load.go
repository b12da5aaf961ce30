package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// tracker has a stream for each publisher a subscriber, or a group of them, hears.
type tracker struct {
	streams  []stream
	bySub    bool // one publisher, and a stream for each subscriber
	unknown  map[uint64]*stream
	overflow bool // more publishers than are tracked
}

// unknownMax bounds the streams of publishers in other processes.
const unknownMax = 65536

// of is the stream of a message; nil: there is none.
func (t *tracker) of(sub *peer, s *stamp) *stream {
	if t.unknown != nil {
		key := uint64(sub.index)<<48 ^ uint64(s.run)<<24 ^ uint64(s.publisher)
		if x := t.unknown[key]; x != nil {
			return x
		}
		if len(t.unknown) >= unknownMax {
			t.overflow = true
			return nil
		}
		x := new(stream)
		x.begin(s.seq)
		t.unknown[key] = x
		return x
	}
	i := int(s.publisher)
	if t.bySub {
		i = sub.index
	}
	if i >= len(t.streams) {
		return nil
	}
	return &t.streams[i]
}

func (t *tracker) distinct() (n uint64) {
	for i := range t.streams {
		n += t.streams[i].distinct
	}
	return n
}

// newPeer makes one client; it is not connected yet.
func (r *run) newPeer(role role, index int, filters ...string) *peer {
	p := &peer{run: r, role: role, index: index, filters: filters}
	p.owner = p
	return p
}

// cast makes the subscribers and publishers of a scenario.
func (r *run) cast() {
	o := r.opt
	filter, topic := r.topics()
	for i := range o.Subscribers() {
		p := r.newPeer(subscribes, i, filter(i))
		for k := range o.Filters {
			p.filters = append(p.filters, r.wildcard(i, k))
		}
		if o.Filters > 0 {
			p.filters = p.filters[1:]
		}
		r.subs = append(r.subs, p)
	}
	for i := range o.Publishers() {
		p := r.newPeer(publishes, i)
		p.pub = newPublisher(topic(i), o.QoS, r.version, r.payload, r.window)
		if o.TopicAlias || len(o.UserProperties) > 0 {
			p.pub.dress(topic(i), o, r.payload)
		}
		r.pubs = append(r.pubs, p)
	}
	switch {
	case len(r.subs) == 0:
	case o.Scenario == Sub:
		r.track.unknown = make(map[uint64]*stream)
	case o.Scenario == Fan && o.Fan.Out > 0:
		r.fan, r.track.bySub = len(r.subs), true
		r.track.streams = make([]stream, len(r.subs))
	default:
		r.fan, r.own = 1, o.Scenario != Fan
		r.track.streams = make([]stream, len(r.pubs))
	}
}

// topics names what subscriber and publisher i use.
func (r *run) topics() (filter, topic func(i int) string) {
	base := r.opt.Topic + "/"
	each := func(i int) string { return fmt.Sprintf("%s%d", base, i) }
	switch {
	case r.opt.Scenario == Sub:
		return func(int) string { return base + "#" }, nil
	case r.opt.Scenario == Retained:
		return func(int) string { return base + "#" }, each // the ledger names the topics
	case r.opt.Scenario == Fan && r.opt.Fan.Out > 0:
		all := func(int) string { return base + "all" }
		return all, all
	case r.opt.Scenario == Fan && r.opt.Fan.Share > 1:
		return func(int) string { return "$share/bench/" + base + "+" }, each
	case r.opt.Scenario == Fan:
		return func(int) string { return base + "+" }, each
	case r.opt.Filters > 0:
		return each, func(i int) string { return fmt.Sprintf("%s%d/x/0/t", base, i) }
	}
	return each, each
}

// wildcard is the k-th filter of subscriber i. Number 0 is the only one of all that its
// publisher's topic matches.
func (r *run) wildcard(i, k int) string {
	if k%2 == 0 {
		return fmt.Sprintf("%s/%d/+/%d/#", r.opt.Topic, i, k)
	}
	return fmt.Sprintf("%s/+/%d/%d/+", r.opt.Topic, i, k)
}

// load connects, sends for a time, and waits for what is under way.
func (r *run) load(ctx context.Context) error {
	r.cast()
	r.crowd.strict = true
	r.enter("connecting")
	if err := r.connectAll(); err != nil {
		return err
	}
	r.enter("warming up")
	r.start()
	if err := r.until(r.after(r.opt.Pace.WarmUp), never); err != nil {
		return err
	}
	r.enter("measuring")
	err := r.measure(func() error { return r.until(r.after(r.opt.Pace.Duration), never) })
	r.enter("draining")
	r.drain(err != nil)
	r.leave()
	return err
}

func never() bool { return false }

func (r *run) connectAll() error {
	if err := r.crowd.connect(r.subs); err != nil {
		return err
	}
	return r.crowd.connect(r.pubs)
}

// measure counts what happens while work runs.
func (r *run) measure(work func() error) error {
	m := &r.result
	r.hist, r.tardy = &m.hist, &m.tardy
	m.hist, m.tardy = Hist{}, Hist{}
	before, began := r.total, r.after(0)
	cpu, _ := processUse(r.opt.Process)
	own, _ := processUse(os.Getpid())
	err := work()
	r.tick()
	after, use := processUse(r.opt.Process)
	ownAfter, _ := processUse(os.Getpid())
	r.hist, r.tardy = nil, nil
	m.seconds += float64(r.now-began) / 1e9
	m.window = counts{
		sent: r.total.sent - before.sent, acked: r.total.acked - before.acked, delivered: r.total.delivered - before.delivered,
	}
	m.cpu, m.resident, m.own = after-cpu, use, ownAfter-own
	m.unsent = r.unsent()
	return err
}

// unsent is how many messages are due by the rate and were not sent.
func (r *run) unsent() (n uint64) {
	for _, p := range r.pubs {
		if p.pub != nil {
			n += uint64(p.pub.owed)
		}
	}
	return n
}

// drain waits for what is under way, as long as something comes.
func (r *run) drain(brief bool) {
	r.silent = true
	for _, p := range r.pubs {
		p.pub.owed = 0
	}
	ctx := r.ctx
	r.ctx = context.WithoutCancel(ctx)
	defer func() { r.ctx = ctx }()
	quiet := r.opt.Pace.Drain
	if brief {
		quiet = min(quiet, farewellMax/2)
	}
	r.tick()
	r.total.lastDelivery = r.now
	_ = r.until(r.after(drainMax), func() bool {
		return r.settledAll() || r.now-r.total.lastDelivery > int64(quiet)
	})
}

// drainMax bounds the wait for what trickles in.
const drainMax = time.Minute

func (r *run) settledAll() bool {
	if r.opt.Scenario == Sub {
		return true
	}
	for _, p := range r.pubs {
		if p.state == ready && (r.opt.QoS > 0 && p.pub.ids.under() > 0 || len(p.out) > 0 || p.behind > 0) {
			return false
		}
	}
	return r.fan == 0 || r.track.distinct() >= r.expected()
}

// expected is how many deliveries there should be.
func (r *run) expected() (n uint64) {
	for _, p := range r.pubs {
		n += uint64(p.pub.seq) - p.pub.refused
	}
	return n * uint64(r.fan)
}

// lost is how many of them there are not.
func (r *run) lost() (n uint64) {
	if r.track.unknown != nil {
		for _, s := range r.track.unknown {
			n += s.missing()
		}
		return n
	}
	if r.fan == 0 {
		return 0
	}
	return r.expected() - min(r.track.distinct(), r.expected())
}

func (r *run) leave() {
	r.crowd.strict = false
	r.crowd.disconnect(r.pubs)
	r.crowd.disconnect(r.subs)
}

// delivered is a message that reached a subscriber.
func (r *run) delivered(sub *peer, payload []byte) {
	s, ok := readStamp(payload)
	if !ok || r.track.unknown == nil && !r.isFor(sub, &s) {
		r.total.foreign++
		return
	}
	r.total.lastDelivery = r.now
	r.total.delivered++
	if r.hist != nil {
		r.hist.Add(since(s.tick, r.unix+r.now-r.rested))
	}
	if r.ledger != nil {
		if !r.ledger.arrived(&s) {
			r.total.delivered--
			r.total.twice++
		}
		return
	}
	x := r.track.of(sub, &s)
	if x == nil {
		return
	}
	switch x.saw(s.seq) {
	case late:
		if r.opt.Fan.Share < 2 { // no order holds between those who share
			r.total.late++
		}
	case twice:
		r.total.twice++
		r.total.delivered--
		return
	}
	if r.opt.Pace.Rate > 0 || r.fan == 0 {
		return
	}
	p := r.pubs[s.publisher]
	if p.pub.got++; p.pub.got >= r.fan {
		p.pub.got = 0
		p.pub.undelivered = max(p.pub.undelivered-1, 0)
		r.feed(p)
	}
}

// isFor tells whether a message is one of this run's, and sub is one of those it is for.
func (r *run) isFor(sub *peer, s *stamp) bool {
	switch {
	case s.run != r.id:
		return false
	case r.ledger != nil:
		return r.ledger.of(s) && (r.opt.Scenario == Retained || int(s.publisher) == sub.index)
	case r.own: // each publisher has a subscriber
		return int(s.publisher) == sub.index && sub.index < len(r.pubs)
	}
	return int(s.publisher) < len(r.pubs)
}

// settled is a message of p that was acknowledged to the end.
func (r *run) settled(p *peer, f flight, reason mqtt.ReasonCode) {
	if r.fan == 0 {
		r.total.lastDelivery = r.now
	}
	if reason >= 0x80 {
		p.pub.refused++
		r.total.refused++
		count(r.total.refusals, reason.String())
		p.pub.undelivered = max(p.pub.undelivered-1, 0)
		return
	}
	r.total.acked++
	if r.ledger != nil {
		r.ledger.settled(int(f.seq))
	}
	if r.fan == 0 && r.hist != nil {
		r.hist.Add(r.now - r.rested - f.at)
	}
}

// connect is the scenario Conn.
func (r *run) connect(context.Context) error {
	o := r.opt
	for i := range o.Count {
		p := r.newPeer(subscribes, i)
		if o.Crowd.Subscribe {
			p.filters = []string{fmt.Sprintf("%s/%d", o.Topic, i)}
		}
		for k := range o.Filters {
			p.filters = append(p.filters, r.wildcard(i, k))
		}
		r.subs = append(r.subs, p)
	}
	r.enter("connecting")
	todo := r.subs
	if o.Client.TLS != nil && o.Client.TLS.Resume { // the first brings the session for the others
		if err := r.crowd.connect(todo[:1]); err != nil {
			return err
		}
		todo = todo[1:]
	}
	before, _ := processUse(o.Process)
	err := r.crowd.connect(todo)
	after, use := processUse(o.Process)
	r.result.cpu, r.result.resident = after-before, use
	r.result.seconds = float64(r.crowd.spent) / 1e9
	if err == nil && o.Crowd.Hold > 0 {
		r.enter("holding")
		err = r.until(r.after(o.Crowd.Hold), never)
		_, r.result.resident = processUse(o.Process)
	}
	r.leave()
	return err
}

func round(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x)))) // four digits
	return math.Round(x*scale) / scale
}
