package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// change applies settings that differ from those in force.
func (d *desk) change(how func(*Settings)) {
	set := *d.b.Settings()
	set.Entrances = make(map[string]*Entrance)
	for name, e := range d.b.Settings().Entrances {
		one := *e
		if one.Rates != nil {
			own := *one.Rates
			one.Rates = &own
		}
		set.Entrances[name] = &one
	}
	how(&set)
	d.b.Apply(&set)
}

// pass lets time go by, a tenth of a second at a time.
func (d *desk) pass(of time.Duration) {
	for range of / paceEvery {
		d.now = d.now.Add(paceEvery)
		for _, h := range d.homes {
			h.Tick(d.now)
		}
		d.turn()
	}
}

func (s seat) paused() bool { return s.w().paused[s.conn] }

// read tells whether the loop reads the connection now.
func (s seat) read() bool {
	until, held := s.w().until[s.conn]
	return !held || !until.After(s.d.now)
}

func (s seat) why() Spending {
	r := s.h().at(s.ref)
	return s.h().spending(r)
}

// overdo publishes until it is not read, and answers by which limit.
func (s seat) overdo() string {
	for n := 0; n < 10_000 && s.read(); n++ {
		s.publish("open/x", "", 0, 0)
	}
	w := s.why()
	return w.By.Key(s.h().at(s.ref).by.Listener, w.Own)
}

// flood publishes as fast as it is read, for a time, and answers how much.
func flood(d *desk, of time.Duration, each int, seats ...seat) (sent []int) {
	sent = make([]int, len(seats))
	for end := d.now.Add(of); d.now.Before(end); d.pass(paceEvery) {
		for i, s := range seats {
			for n := 0; n < each && s.read(); n++ {
				s.publish("open/x", "payload", 0, 0)
				sent[i]++
			}
		}
	}
	return sent
}

// through lets a client come by a listener.
func through(listener string) func(*auth.Principal, *mqtt.Connect) {
	return func(by *auth.Principal, _ *mqtt.Connect) { by.Listener = listener }
}

// TestRatesChangeForLiveClients: raised, lowered, taken off and put on, for who sends and
// for who waits. What was spent stays spent.
func TestRatesChangeForLiveClients(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.PublishRate = PublishRate{Messages: 10, Burst: time.Second} })
	pub := d.sit(0, "pub")
	for range 210 { // what one read may have brought
		pub.publish("open/x", "", 0, 0)
	}
	if pub.read() || pub.why().By != PublishQuota || !pub.why().Since.Equal(d.now) {
		t.Fatalf("200 over a burst of 10 are read: %+v", pub.why())
	}
	d.change(func(s *Settings) { s.PublishRate.Messages = 100 })
	d.pass(time.Second)
	if pub.read() {
		t.Error("a rate that was raised has forgiven what was spent")
	}
	d.pass(time.Second)
	if !pub.read() || pub.why().By != NoQuota {
		t.Errorf("not read 2 s after the rate was raised to 100 a second, %v left", pub.w().until[pub.conn].Sub(d.now))
	}
	d.change(func(s *Settings) { s.PublishRate = PublishRate{Messages: 1, Burst: time.Second} })
	pub.publish("open/x", "", 0, 0)
	if pub.read() {
		t.Error("a rate that was lowered is not in force for the next message")
	}
	d.change(func(s *Settings) { s.PublishRate = PublishRate{} })
	d.pass(paceEvery)
	if !pub.read() {
		t.Error("a limit that was taken off holds for who waits")
	}
	if n := flood(d, time.Second, 100, pub); n[0] != 1000 {
		t.Errorf("%d messages passed without a limit, want 1000", n[0])
	}
	d.change(func(s *Settings) { s.PublishRate = PublishRate{Messages: 10, Burst: time.Second} })
	if n := flood(d, 10*time.Second, 100, pub); n[0] < 105 || n[0] > 115 {
		t.Errorf("%d messages in 10 s at 10 a second and a burst of 10", n[0])
	}
}

// TestOneRateIsNobodyElses: who is over a rate waits; who only has the same name in a
// CONNECT that proved nothing has no part in it, nor has another of the same identity.
func TestOneRateIsNobodyElses(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.PublishRate = PublishRate{Messages: 10, Burst: time.Second}
		s.SubscribeRate = SubscribeRate{Filters: 10, Burst: time.Second}
		s.Subscriptions = 5
	})
	mine := func(id string) func(*auth.Principal, *mqtt.Connect) {
		return func(by *auth.Principal, c *mqtt.Connect) { by.ClientID, c.ClientID = id, id }
	}
	victim, namesake, sibling := d.sit(0, "victim"), d.sit(0, "attacker"), d.sit(0, "victim", mine("other"))
	for range 100 {
		namesake.publish("open/x", "", 0, 0)
		sibling.subscribe("open/y", 0)
	}
	victim.publish("open/x", "", 0, 0)
	victim.subscribe("open/y", 0)
	if namesake.read() || sibling.read() || !victim.read() {
		t.Errorf("namesake is read %t, sibling %t, victim %t; want only the victim", namesake.read(), sibling.read(), victim.read())
	}
}

// TestSubscribeRate: filters of SUBSCRIBE and UNSUBSCRIBE, whatever comes of them; as many
// as a client may have pass at once (A081).
func TestSubscribeRate(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.SubscribeRate = SubscribeRate{Filters: 10, Burst: time.Second}
		s.Subscriptions = 100
	})
	filters := func(n int) (out []mqtt.Subscription) {
		for i := range n {
			out = append(out, mqtt.Subscription{Filter: fmt.Sprint("open/", i)})
		}
		return out
	}
	c := d.sit(0, "c")
	d.homes[0].Subscribe(d.now, c.ref, &mqtt.Subscribe{PacketID: 1, Filters: filters(100)})
	if !c.read() {
		t.Fatal("a client that subscribes to all it may is slowed")
	}
	d.homes[0].Unsubscribe(d.now, c.ref, &mqtt.Unsubscribe{PacketID: 2, Filters: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}})
	if c.read() || c.why().By != SubscribeQuota {
		t.Fatalf("10 filters more are read: %+v", c.why())
	}
	if len(c.take()) != 2 {
		t.Error("what was read was not answered")
	}
	d.pass(900 * time.Millisecond)
	if c.read() {
		t.Error("10 filters at 10 a second cost less than a second")
	}
	if d.pass(200 * time.Millisecond); !c.read() {
		t.Error("not read again in time")
	}
	if n := d.metrics.Value(metrics.RatesExceeded.At(int(SubscribeQuota) - 1)); n != 1 {
		t.Errorf("counted %d times", n)
	}

	d.change(func(s *Settings) { s.SubscribeRate.Disconnect = true })
	for range 2 {
		d.homes[0].Subscribe(d.now, c.ref, &mqtt.Subscribe{PacketID: 3, Filters: filters(100)})
	}
	if rc, closed := c.w().closed[c.conn]; !closed || rc != mqtt.MessageRateTooHigh {
		t.Errorf("closed %t with %v", closed, rc)
	}
}

// TestRatesOfAListener are in place of everybody's, and a total of its own takes nothing
// from others.
func TestRatesOfAListener(t *testing.T) {
	d := newDesk(t, 2, func(s *Settings) {
		s.PublishRate = PublishRate{Messages: 100, Burst: time.Second}
		s.Entrances = map[string]*Entrance{
			"public": {Offer: s.Offer, Rates: &EntranceRates{PublishRate: PublishRate{Messages: 10, Burst: time.Second}}},
			"plant":  {Offer: s.Offer, Rates: &EntranceRates{PublishRate: s.PublishRate}},
		}
	})
	public, plant, other := d.sit(0, "public", through("public")), d.sit(0, "plant", through("plant")), d.sit(1, "other", through("elsewhere"))
	sent := flood(d, 10*time.Second, 100, public, plant, other)
	for i, want := range []int{110, 1100, 1100} {
		if sent[i] < want*9/10 || sent[i] > want*11/10 {
			t.Errorf("client %d sent %d in 10 s, want %d", i, sent[i], want)
		}
	}
	if by := public.overdo(); by != "listeners.public.limits.publish_rate" {
		t.Errorf("public waits for %q", by)
	}
	if by := plant.overdo(); by != "limits.publish_rate" {
		t.Errorf("plant waits for %q", by)
	}
	d.change(func(s *Settings) {
		s.PublishRate = PublishRate{}
		for _, e := range s.Entrances {
			e.Rates.PublishRate = PublishRate{}
		}
		s.Entrances["public"].Rates.PublishRateTotal = limit.FairRate{Messages: 50, Burst: time.Second}
	})
	d.pass(30 * time.Second)
	second := d.sit(1, "second", through("public"))
	flood(d, 20*time.Second, 100, public, second)
	sent = flood(d, 20*time.Second, 100, public, second, plant)
	if both := sent[0] + sent[1]; both < 900 || both > 1100 || sent[0] < both/3 || sent[1] < both/3 {
		t.Errorf("%d and %d of a listener's clients in 20 s, want 1000 together", sent[0], sent[1])
	}
	if sent[2] != 20_000 {
		t.Errorf("another listener's client sent %d, want 20000", sent[2])
	}
	if by := public.overdo(); by != "listeners.public.limits.publish_rate_total" {
		t.Errorf("waits for %q", by)
	}
}

// TestTotalIsFair: when all together are over the total of the node, the flood waits and
// the others do not, wherever they live.
func TestTotalIsFair(t *testing.T) {
	d := newDesk(t, 2, func(s *Settings) { s.PublishRateTotal = limit.FairRate{Messages: 500, Burst: time.Second} })
	floods := []seat{d.sit(0, "flood0"), d.sit(1, "flood1")}
	var calm []seat
	for i := range 20 {
		calm = append(calm, d.sit(i%2, fmt.Sprint("calm", i)))
	}
	flood(d, 20*time.Second, 1000, floods...)
	total := 0
	for second := range 20 {
		for i, s := range calm {
			if !s.read() {
				t.Fatalf("calm client %d waits in second %d: %+v", i, second, s.why())
			}
			s.publish("open/x", "", 0, 0)
		}
		for _, n := range flood(d, time.Second, 1000, floods...) {
			total += n
		}
	}
	if total < 8600 || total > 10_100 {
		t.Errorf("two floods sent %d in 20 s beside 20 a second of others, want about 9600", total)
	}
	if by := floods[0].overdo(); by != "limits.publish_rate_total" {
		t.Errorf("the flood waits for %q", by)
	}
	d.change(func(s *Settings) { s.PublishRateTotal = limit.FairRate{} })
	d.pass(2 * paceEvery)
	if sent := flood(d, time.Second, 1000, floods...); sent[0] != 10_000 || sent[1] != 10_000 {
		t.Errorf("%v after the limit was taken off", sent)
	}
}

// TestRetainedRate: to subscribe to everything again and again brings what is retained at
// the rate, not at the pace of the requests (A082). Nobody else waits.
func TestRetainedRate(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.RetainedRate = RetainedRate{Messages: 100, Burst: time.Second}
		s.WildcardSubscriptions = 10
	})
	pub := d.sit(0, "pub")
	for i := range 50 {
		pub.publish(fmt.Sprint("open/", i), "v", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
	}
	greedy, other := d.sit(0, "greedy"), d.sit(0, "other")
	got := 0
	for range 10 {
		greedy.h().Subscribe(d.now, greedy.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/#"}}})
		for range 5 {
			d.turn()
		}
		got += len(greedy.payloads())
	}
	if got != 100 && got != 101 {
		t.Errorf("%d retained messages at once, want the burst of 100", got)
	}
	if !greedy.read() {
		t.Error("it is not read because of what it is owed")
	}
	other.h().Subscribe(d.now, other.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/#"}}})
	for range 5 {
		d.turn()
	}
	if n := len(other.payloads()); n != 50 {
		t.Errorf("another client gets %d of 50", n)
	}
	asked := d.wires[0].asked
	for range 20 {
		d.turn()
	}
	if spun := d.wires[0].asked - asked; spun > 1 {
		t.Errorf("the loop was asked for %d turns more while nothing may be sent", spun)
	}
	d.pass(2 * time.Second)
	if n := len(greedy.payloads()); n != 50 {
		t.Errorf("of what it is owed %d came, want all 50", n)
	}
	if n := d.metrics.Value(metrics.RatesExceeded.At(retainedExceeded)); n == 0 {
		t.Error("not counted")
	}
}

// TestConnectRate: by what was proven, identity and client identifier; nobody else's
// attempts count, and a refusal costs nothing.
func TestConnectRate(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.ConnectRate = ConnectRate{Connects: 1, Burst: 5 * time.Second} })
	come := func(user, id string) *mqtt.Error {
		by := principal(user)
		by.ClientID = id
		o, e := d.homes[0].Open(d.now, &Arrival{Conn: ConnRef{Slot: 9, Gen: 1}, By: by, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: id, CleanStart: true}})
		if e == nil {
			d.homes[0].Gone(d.now, o.Ref)
		}
		return e
	}
	for i := range 50 {
		if e := come("attacker", "pump"); (e != nil) != (i >= 5) || e != nil && e.Reason != mqtt.ConnectionRateExceeded {
			t.Fatalf("connect %d: %v", i, e)
		}
	}
	if e := come("victim", "pump"); e != nil {
		t.Errorf("another identity with the same client identifier: %v", e)
	}
	if e := come("attacker", "other"); e != nil {
		t.Errorf("the same identity with another client identifier: %v", e)
	}
	d.pass(time.Second)
	if e := come("attacker", "pump"); e != nil {
		t.Errorf("a second later: %v", e)
	}
	if e := come("attacker", "pump"); e == nil {
		t.Error("one a second is two")
	}
	if n := d.metrics.Value(metrics.RatesExceeded.At(connectExceeded)); n != 46 {
		t.Errorf("counted %d refusals, want 46", n)
	}
	d.pass(time.Minute)
	if l := &d.homes[0].work.pacing.ledger; len(l.by) > 0 {
		for l.sweep(d.now) {
		}
		if len(l.by)+len(l.order) > 0 {
			t.Errorf("%d clients are remembered for ever", len(l.by))
		}
	}
}

// TestABeginningBuysNothing: a session that ends and begins anew has what the one before
// had left.
func TestABeginningBuysNothing(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.PublishRate = PublishRate{Messages: 10, Burst: time.Second} })
	clean := func(_ *auth.Principal, c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = true, 0 }
	sent := 0
	for range 50 {
		s := d.sit(0, "pub", clean)
		for n := 0; n < 100 && s.read(); n++ {
			s.publish("open/x", "", 0, 0)
			sent++
		}
		s.h().Gone(d.now, s.ref)
		delete(s.w().until, s.conn)
		d.pass(paceEvery)
	}
	if sent < 55 || sent > 65 {
		t.Errorf("%d messages in 5 s at 10 a second and a burst of 10", sent)
	}
	ended := d.b.Sessions()
	if ended != 0 {
		t.Fatalf("%d sessions are left", ended)
	}
}

// TestTheLedgerIsBounded forgets the oldest.
func TestTheLedgerIsBounded(t *testing.T) {
	d := newDesk(t, 1)
	l := &d.homes[0].work.pacing.ledger
	for i := range ledgerMax + 100 {
		key := keyOf(&auth.Principal{Identity: fmt.Sprint(i)}, "c")
		e := l.at(d.now, key)
		e.connects.SetRate(d.now, 1, 600)
		e.connects.Take(d.now, 500)
	}
	if len(l.by) > ledgerMax+1 || len(l.order) > ledgerMax+1 {
		t.Errorf("%d and %d entries", len(l.by), len(l.order))
	}
}

// TestWhoIsPausedIsListedOnce, comes off the list, and does not stay on it for ever.
func TestWhoIsPausedIsListedOnce(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.PublishRate = PublishRate{Messages: 10, Burst: time.Second} })
	pub := d.sit(0, "pub")
	for range 100 {
		for range 20 {
			pub.publish("open/x", "", 0, 0)
		}
		pub.h().Gone(d.now, pub.ref)
		d.sit(0, "pub")
	}
	if n := len(d.homes[0].work.pacing.held); n != 1 {
		t.Errorf("listed %d times", n)
	}
	if at := d.homes[0].NextTick(); at.IsZero() || at.After(d.now.Add(paceEvery)) {
		t.Errorf("looked at again at %v", at)
	}
	d.pass(2 * time.Minute)
	if h := d.homes[0]; !h.idle() || !h.nextPace().IsZero() {
		t.Errorf("%d are still listed", len(h.work.pacing.held))
	}
}

// TestQuotaKeys are those of the configuration.
func TestQuotaKeys(t *testing.T) {
	var got []string
	for q := PublishQuota; q <= NodeQuota; q++ {
		got = append(got, q.Key("l", false), q.Key("l", true))
	}
	if want := []string{"limits.publish_rate", "listeners.l.limits.publish_rate", "limits.subscribe_rate", "listeners.l.limits.subscribe_rate",
		"listeners.l.limits.publish_rate_total", "listeners.l.limits.publish_rate_total", "limits.publish_rate_total", "limits.publish_rate_total"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
