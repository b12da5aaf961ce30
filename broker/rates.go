package broker

import (
	"log/slog"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Rates bound how often something happens: of one client each, unless the name says
// otherwise. They are in force for everybody with the packet that comes next; who waits
// because of one is looked at again within paceEvery. What was spent stays spent.
type Rates struct {
	PublishRate      PublishRate
	SubscribeRate    SubscribeRate
	RetainedRate     RetainedRate
	ConnectRate      ConnectRate
	PublishRateTotal limit.FairRate // of all clients of the node

	generation uint32 // of the settings; a later one is a higher number
}

// EntranceRates are those of the clients of one entrance.
type EntranceRates struct {
	PublishRate      PublishRate
	SubscribeRate    SubscribeRate
	PublishRateTotal limit.FairRate // of all of them together
}

// PublishRate bounds what one client publishes, per second.
type PublishRate struct {
	Messages   int   // 0: accounted, not limited
	Bytes      int64 // 0: accounted, not limited
	Burst      time.Duration
	Disconnect bool // in excess: DISCONNECT 0x96 in place of not reading
}

// SubscribeRate bounds how many filters one client names in SUBSCRIBE and UNSUBSCRIBE, per
// second (A081). As many as it may have subscriptions may always come at once: that is what
// a device asks for when it has started.
type SubscribeRate struct {
	Filters    int // 0: not limited
	Burst      time.Duration
	Disconnect bool // in excess: DISCONNECT 0x96 in place of not reading
}

// RetainedRate bounds the retained messages that one client is sent because it subscribed,
// per second: a SUBSCRIBE of ten bytes may ask for all there are, again and again (A082).
// In excess they come later.
type RetainedRate struct {
	Messages int   // 0: not limited
	Bytes    int64 // 0: not limited
	Burst    time.Duration
}

// ConnectRate bounds how often one proven identity connects with one client identifier,
// per second. It says no before the session is touched, and counts nobody who has not
// proved who it is: nobody can use it up for somebody else. The allowance of takeovers
// (Settings.Takeovers) is beside it: that is about who throws somebody out.
type ConnectRate struct {
	Connects int // 0: not limited
	Burst    time.Duration
}

// tokens is what a bucket of that many a second holds.
func tokens(perSecond int64, burst time.Duration) int64 {
	return int64(float64(perSecond) * burst.Seconds())
}

// Quota is a rate because of which a client is not read.
type Quota uint8

// The quotas.
const (
	NoQuota        Quota = iota
	PublishQuota         // its own, of publishes
	SubscribeQuota       // its own, of filters
	EntranceQuota        // that of all clients of its listener
	NodeQuota            // that of all clients
)

// Key is the setting that says how much; own: the listener has one of its own.
func (q Quota) Key(listener string, own bool) string {
	at := "limits."
	if q == EntranceQuota || own && q != NodeQuota {
		at = "listeners." + listener + ".limits."
	}
	switch q {
	case PublishQuota:
		return at + "publish_rate"
	case SubscribeQuota:
		return at + "subscribe_rate"
	case EntranceQuota, NodeQuota:
		return at + "publish_rate_total"
	}
	return ""
}

// Spending is what a client has spent of what it may, and why it is not read. It is a
// copy, in which time goes on.
type Spending struct {
	Messages, Bytes, Filters        limit.Bucket
	RetainedMessages, RetainedBytes limit.Bucket

	By    Quota
	Own   bool // the rate is that of its listener
	Since time.Time
}

// rates are what one client has spent lately.
type rates struct {
	*spent            // nil: nothing, or all of it has come again
	generation uint32 // of the settings that spent is in line with
	talk       uint32 // its place in talks.rows, and one; 0: none
}

// spent is that of a client which has done something.
type spent struct {
	filters   limit.Bucket
	published *publishSpent  // nil: nothing yet
	retained  *retainedSpent // nil: nothing yet
}

// forget lets go of what has come again: nearly all clients do nothing nearly all the time.
func (p *rates) forget(now time.Time) {
	s := p.spent
	if s == nil || s.retained != nil && s.retained.resting || s.published != nil && s.published.totals != nil || p.rest(now) > 0 {
		return
	}
	p.spent = nil
}

// hold is why a client is not read. Most never are in that case.
type hold struct {
	since, until int64 // Unix ns, while held
	also         int64 // Unix ns: for another reason, not read before
	by           Quota
	listed       bool // in pacing.held
}

// publishSpent is what a client has published. Most clients of a broker that tells devices
// what to do never publish.
type publishSpent struct {
	messages, bytes limit.Bucket
	totals          *totalsSpent // nil: there is no total
}

// retainedSpent is what a client was sent because it subscribed.
type retainedSpent struct {
	messages, bytes limit.Bucket
	resting         bool // listed in pacing.resting
}

// totalsSpent is what a client has paid of the totals of its entrance and of the node.
type totalsSpent struct {
	by    [2]*limit.Share // nil: not limited
	owner [2]Quota
	paid  [2]limit.Paid
}

// pacing is whom a home holds back because of a rate.
type pacing struct {
	held    []Ref // not read
	resting []Ref // get their retained messages later
	at      time.Time
	shares  map[*limit.Fair]*limit.Share
	ledger  ledger

	relimiting relimiting
}

// paceEvery is how often those that are held back are looked at.
const paceEvery = 100 * time.Millisecond

// fairTotals are the rates that all homes share, by name of the listener; "": of the node.
type fairTotals struct {
	mu         sync.Mutex // guards everything below
	by         map[string]*limit.Fair
	generation uint32
}

// of is the total of a name under settings of a generation. nil: it is no limit.
func (t *fairTotals) of(now time.Time, name string, rate limit.FairRate, generation uint32) *limit.Fair {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.by[name]
	switch {
	case f == nil && !rate.Limited():
		return nil
	case f == nil:
		f = limit.NewFair(now, rate)
		if t.by == nil {
			t.by = make(map[string]*limit.Fair)
		}
		t.by[name] = f
	case generation >= t.generation: // a home may have begun with settings that have been replaced
		f.SetRate(now, rate)
	}
	t.generation = max(t.generation, generation)
	if !rate.Limited() {
		return nil
	}
	return f
}

// rates are those of the clients of a listener; own tells which of them differ from everybody's.
func (s *Settings) rates(listener string) (publish *PublishRate, subscribe *SubscribeRate) {
	if e := s.Entrances[listener]; e != nil && e.Rates != nil {
		return &e.Rates.PublishRate, &e.Rates.SubscribeRate
	}
	return &s.PublishRate, &s.SubscribeRate
}

// own tells whether a quota of a listener differs from everybody's.
func (s *Settings) own(q Quota, listener string) bool {
	publish, subscribe := s.rates(listener)
	return q == PublishQuota && *publish != s.PublishRate || q == SubscribeQuota && *subscribe != s.SubscribeRate
}

// refill brings what r may spend in line with the settings. What was spent stays spent:
// neither they nor another connection buy anything.
func (h *Home) refill(now time.Time, r *resident, set *Settings) {
	p := &r.rates
	p.generation = set.generation
	if p.spent == nil {
		return
	}
	rate, burst := set.filterRate(r.by.Listener)
	p.filters.SetRate(now, rate, burst)
	if p.retained != nil {
		p.retained.fill(now, &set.RetainedRate)
	}
	if p.published != nil {
		h.refillPublished(now, p.published, r, set)
	}
}

// filterRate is how many filters a client of a listener may name: a second, and at once.
func (s *Settings) filterRate(listener string) (rate, burst int64) {
	_, subscribe := s.rates(listener)
	rate = int64(subscribe.Filters)
	return rate, max(tokens(rate, subscribe.Burst), int64(s.Subscriptions))
}

func (h *Home) refillPublished(now time.Time, p *publishSpent, r *resident, set *Settings) {
	publish, _ := set.rates(r.by.Listener)
	p.messages.SetRate(now, int64(publish.Messages), tokens(int64(publish.Messages), publish.Burst))
	p.bytes.SetRate(now, publish.Bytes, tokens(publish.Bytes, publish.Burst))
	var shared [2]*limit.Share
	if e := set.Entrances[r.by.Listener]; e != nil && e.Rates != nil {
		shared[0] = h.shareOf(h.b.fair.of(now, r.by.Listener, e.Rates.PublishRateTotal, set.generation))
	}
	shared[1] = h.shareOf(h.b.fair.of(now, "", set.PublishRateTotal, set.generation))
	switch {
	case shared == [2]*limit.Share{}:
		p.totals = nil
	case p.totals == nil:
		p.totals = &totalsSpent{by: shared}
	default:
		for i := range shared {
			if p.totals.by[i] != shared[i] { // it came by another listener, or there was no total
				p.totals.by[i], p.totals.paid[i] = shared[i], 0
			}
		}
	}
}

func (s *retainedSpent) fill(now time.Time, rate *RetainedRate) {
	s.messages.SetRate(now, int64(rate.Messages), tokens(int64(rate.Messages), rate.Burst))
	s.bytes.SetRate(now, rate.Bytes, tokens(rate.Bytes, rate.Burst))
}

// shareOf is the way of this home to a total.
func (h *Home) shareOf(f *limit.Fair) *limit.Share {
	if f == nil {
		return nil
	}
	s := h.work.pacing.shares[f]
	if s == nil {
		s = f.Share()
		if h.work.pacing.shares == nil {
			h.work.pacing.shares = make(map[*limit.Fair]*limit.Share)
		}
		h.work.pacing.shares[f] = s
	}
	return s
}

// current is what r has spent, in line with the settings of now; nil: nothing.
func (h *Home) current(now time.Time, r *resident) (*spent, *Settings) {
	set := h.b.Settings()
	if r.rates.generation != set.generation {
		h.refill(now, r, set)
	}
	return r.rates.spent, set
}

// spends is current for who is about to spend something.
func (h *Home) spends(now time.Time, r *resident) (*spent, *Settings) {
	s, set := h.current(now, r)
	if s == nil {
		s = &spent{}
		r.rates.spent = s
		h.refill(now, r, set)
	}
	return s, set
}

// charge accounts a publish. In excess the loop stops reading the client, or ends it; a
// packet already read is never dropped.
func (h *Home) charge(now time.Time, r *resident, bytes int) (ok bool) {
	s, set := h.spends(now, r)
	if s.published == nil {
		s.published = &publishSpent{}
		h.refillPublished(now, s.published, r, set)
	}
	p := s.published
	h.talk(r).published(bytes)
	p.messages.Charge(now, 1)
	p.bytes.Charge(now, int64(bytes))
	wait, by := max(p.messages.Wait(now), p.bytes.Wait(now)), PublishQuota
	if wait > 0 {
		if publish, _ := set.rates(r.by.Listener); publish.Disconnect {
			h.exceed(now, r, by, set)
			return false
		}
	}
	if t := p.totals; t != nil {
		for i, s := range t.by {
			if s == nil {
				continue
			}
			if w := s.Charge(now, &t.paid[i], 1, int64(bytes)); w > wait {
				wait, by = w, totalQuotas[i]
			}
		}
	}
	if wait > 0 {
		h.talk(r).Throttled++
		h.holdBack(now, r, by, wait)
	}
	return true
}

// totalQuotas are those of totalsSpent, in its order.
var totalQuotas = [2]Quota{EntranceQuota, NodeQuota}

// chargeFilters accounts the filters of a SUBSCRIBE or UNSUBSCRIBE. In excess the loop
// stops reading the client, or ends it; a packet already read is answered.
func (h *Home) chargeFilters(now time.Time, r *resident, filters int) (ok bool) {
	p, set := h.spends(now, r)
	p.filters.Charge(now, int64(filters))
	wait := p.filters.Wait(now)
	if wait == 0 {
		return true
	}
	if _, subscribe := set.rates(r.by.Listener); subscribe.Disconnect {
		h.exceed(now, r, SubscribeQuota, set)
		return false
	}
	h.talk(r).Throttled++
	h.holdBack(now, r, SubscribeQuota, wait)
	return true
}

// exceed ends a client that is over a rate, where the operator wants that.
func (h *Home) exceed(now time.Time, r *resident, by Quota, set *Settings) {
	h.talk(r).Throttled++
	h.count.Inc(metrics.RatesExceeded.At(int(by) - 1))
	h.fail(now, r, &mqtt.Error{Reason: mqtt.MessageRateTooHigh, Detail: "over " + by.Key(r.by.Listener, set.own(by, r.by.Listener))})
}

// holdBack stops reading r for some time, and says because of what.
func (h *Home) holdBack(now time.Time, r *resident, by Quota, wait time.Duration) {
	p := &r.more().hold
	until := now.Add(wait)
	if p.by != NoQuota && p.until >= until.UnixNano() {
		return
	}
	if p.by == NoQuota {
		p.since = now.UnixNano()
		h.count.Inc(metrics.PublisherPauses)
		h.count.Inc(metrics.RatesExceeded.At(int(by) - 1))
		h.overRate(now, r, by.Key(r.by.Listener, h.b.Settings().own(by, r.by.Listener)), "a client is over a rate and is not read until it is under it again")
	}
	p.by, p.until = by, until.UnixNano()
	if !p.listed {
		p.listed = true
		h.work.pacing.held = append(h.work.pacing.held, r.ref)
		h.work.pacing.at = now.Add(paceEvery)
	}
	h.pause(r, until)
}

// pauseAlso stops reading r for another reason than a rate. The longer of both counts.
func (h *Home) pauseAlso(r *resident, until time.Time) {
	p := &r.more().hold
	p.also = until.UnixNano()
	if p.by != NoQuota {
		until = time.Unix(0, max(p.until, p.also))
	}
	h.wire.Pause(r.conn, until)
}

// pause stops reading r for a rate, or ends that.
func (h *Home) pause(r *resident, until time.Time) {
	if also := time.Unix(0, r.look().hold.also); also.After(until) {
		until = also
	}
	h.wire.Pause(r.conn, until)
}

// overRate writes down, once a minute, that a client is over a rate.
func (h *Home) overRate(now time.Time, r *resident, key, what string) {
	h.b.log.Event(now, slog.LevelInfo, what, r.by.Identity+"\x00"+r.by.ClientID+"\x00"+key,
		slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("address", r.by.Addr.String()),
		slog.String("listener", r.by.Listener), slog.String("limit", key))
}

// waits is for how long r should not be read now, and because of what.
func (r *resident) waits(now time.Time) (wait time.Duration, by Quota) {
	if r.rates.spent == nil {
		return 0, NoQuota
	}
	if w := r.rates.filters.Wait(now); w > 0 {
		wait, by = w, SubscribeQuota
	}
	p := r.rates.published
	if p == nil {
		return wait, by
	}
	if w := max(p.messages.Wait(now), p.bytes.Wait(now)); w > 0 && w >= wait {
		wait, by = w, PublishQuota
	}
	if t := p.totals; t != nil {
		for i, s := range t.by {
			if s == nil {
				continue
			}
			if w := s.Wait(now, t.paid[i]); w > wait {
				wait, by = w, totalQuotas[i]
			}
		}
	}
	return wait, by
}

// resumePace holds a client that comes back before it has paid for what it spent.
func (h *Home) resumePace(now time.Time, r *resident) {
	if s := r.some; s != nil {
		s.hold.by, s.hold.also = NoQuota, 0
	}
	h.refill(now, r, h.b.Settings())
	if wait, by := r.waits(now); wait > 0 {
		h.holdBack(now, r, by, wait)
	}
}

// paceSome looks at those that are held back: a rate may have changed, or what is fair.
func (h *Home) paceSome(now time.Time) {
	if h.idle() || now.Before(h.work.pacing.at) {
		return
	}
	h.work.pacing.at = now.Add(paceEvery)
	still := h.work.pacing.held[:0]
	for _, ref := range h.work.pacing.held {
		r := h.at(ref)
		if r == nil {
			continue
		}
		h.current(now, r)
		p := &r.more().hold
		wait, by := r.waits(now)
		if p.by == NoQuota || !r.s.Online() || wait == 0 {
			if p.by != NoQuota && r.s.Online() && p.until > now.UnixNano() {
				h.pause(r, now)
			}
			*p = hold{also: p.also}
			continue
		}
		if until := now.Add(wait); until.UnixNano() != p.until {
			p.until = until.UnixNano()
			h.pause(r, until)
		}
		p.by = by
		still = append(still, ref)
	}
	h.work.pacing.held = still
	rest := h.work.pacing.resting
	h.work.pacing.resting = nil
	for _, ref := range rest {
		if r := h.at(ref); r != nil && r.rates.spent != nil && r.rates.retained != nil {
			r.rates.retained.resting = false
			if r.s.Online() {
				h.wakeReplay(r) // which rests again if it must
			}
		}
	}
}

// idle tells whether nobody is held back.
func (h *Home) idle() bool { return len(h.work.pacing.held) == 0 && len(h.work.pacing.resting) == 0 }

// nextPace is when paceSome has something to do; zero: never.
func (h *Home) nextPace() time.Time {
	if h.idle() {
		return time.Time{}
	}
	return h.work.pacing.at
}

// spending is a copy of what r has spent.
func (h *Home) spending(r *resident) Spending {
	p := r.rates.spent
	if p == nil {
		rate, burst := h.b.Settings().filterRate(r.by.Listener)
		p = &spent{filters: limit.Bucket{PerSecond: rate, Burst: burst}}
	}
	s := Spending{Filters: p.filters}
	if p.published != nil {
		s.Messages, s.Bytes = p.published.messages, p.published.bytes
	} else { // a bucket from which nothing was taken
		publish, _ := h.b.Settings().rates(r.by.Listener)
		s.Messages = limit.Bucket{PerSecond: int64(publish.Messages), Burst: tokens(int64(publish.Messages), publish.Burst)}
		s.Bytes = limit.Bucket{PerSecond: publish.Bytes, Burst: tokens(publish.Bytes, publish.Burst)}
	}
	if p.retained != nil {
		s.RetainedMessages, s.RetainedBytes = p.retained.messages, p.retained.bytes
	}
	if why := &r.look().hold; why.by != NoQuota && r.s.Online() {
		by := why.by
		s.By, s.Since = by, time.Unix(0, why.since)
		s.Own = h.b.Settings().own(by, r.by.Listener)
	}
	return s
}

// overRetained tells whether r has been sent as many retained messages as it may have now.
func (h *Home) overRetained(now time.Time, r *resident) bool {
	p, _ := h.current(now, r)
	if p == nil || p.retained == nil {
		return false
	}
	s := p.retained
	return max(s.messages.Wait(now), s.bytes.Wait(now)) > 0
}

// chargeRetained accounts a retained message that r is sent because it subscribed.
func (h *Home) chargeRetained(now time.Time, r *resident, bytes int) {
	p, set := h.current(now, r)
	if p == nil || p.retained == nil {
		if rate := &set.RetainedRate; rate.Messages == 0 && rate.Bytes == 0 {
			return
		}
		p, set = h.spends(now, r)
		p.retained = &retainedSpent{}
		p.retained.fill(now, &set.RetainedRate)
	}
	p.retained.messages.Charge(now, 1)
	p.retained.bytes.Charge(now, int64(bytes))
}

// rest lets the retained messages that r is owed come later.
func (h *Home) rest(now time.Time, r *resident) {
	s := r.rates.retained
	if s.resting {
		return
	}
	s.resting = true
	h.count.Inc(metrics.RatesExceeded.At(retainedExceeded))
	h.overRate(now, r, "limits.retained_rate", "a client has asked for many retained messages; the others come later")
	h.work.pacing.resting = append(h.work.pacing.resting, r.ref)
	if len(h.work.pacing.held) == 0 && len(h.work.pacing.resting) == 1 {
		h.work.pacing.at = now.Add(paceEvery)
	}
}

// retainedExceeded and connectExceeded are where metrics.RatesExceeded has those of which
// there is no Quota.
const (
	retainedExceeded = int(NodeQuota)
	connectExceeded  = int(NodeQuota) + 1
)
