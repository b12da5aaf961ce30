package broker

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// crowd is a desk of one home whose wire forgets what is sent.
func crowd(t testing.TB) *desk {
	d := newDesk(t, 1, func(s *Settings) { s.SessionsTotal = 1_000_000 })
	d.wires[0].drop = true
	return d
}

// enter connects a client and subscribes it to some filters.
func (d *desk) enter(user, clientID string, filters ...string) Ref {
	d.t.Helper()
	by := auth.Principal{Identity: user, Username: user, ClientID: clientID, Listener: "mqtts", Addr: netip.MustParseAddr("192.0.2.7")}
	o, refusal := d.homes[0].Open(d.now, &Arrival{
		Conn: ConnRef{Slot: uint32(len(d.homes[0].slots)) + 1, Gen: 7}, By: by,
		Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: clientID, ReceiveMaximum: 1000, SessionExpiry: 100},
	})
	if refusal != nil {
		d.t.Fatal(refusal)
	}
	p := &mqtt.Subscribe{PacketID: 1}
	for _, f := range filters {
		p.Filters = append(p.Filters, mqtt.Subscription{Filter: f, QoS: 1})
	}
	if len(filters) > 0 {
		d.homes[0].Subscribe(d.now, o.Ref, p)
	}
	return o.Ref
}

// A list of 100,000 sessions is made of steps that each look at no more than they
// may, keep nothing between two, and together show everybody once (A179).
func TestWalkOfManySessions(t *testing.T) {
	many := testkit.Seeds(4000, 100_000)
	d := crowd(t)
	for i := range many {
		d.enter(fmt.Sprint("u", i%100), fmt.Sprint("client-", i))
	}
	h := d.homes[0]
	seen := make(map[string]bool, many)
	var at Place
	steps := 0
	for done := false; !done; steps++ {
		from := at.Slot
		rows := 0
		done = h.Walk(&at, &Selection{}, StepEffort, func(i SessionInfo) bool {
			if seen[i.Key.ClientID] {
				t.Fatalf("%s comes twice", i.Key.ClientID)
			}
			seen[i.Key.ClientID] = true
			rows++
			return true
		})
		if looked := int(at.Slot - from); looked > StepEffort/(1+rowEffort)+1 || rows > looked {
			t.Fatalf("step %d looked at %d slots and showed %d", steps, looked, rows)
		}
	}
	if len(seen) != many {
		t.Errorf("%d of %d are listed, in %d steps", len(seen), many, steps)
	}

	at, steps = Place{}, 0
	found := 0
	for done := false; !done; steps++ {
		from := at.Slot
		done = h.Walk(&at, &Selection{ClientID: fmt.Sprint("client-", many-1)}, StepEffort, func(SessionInfo) bool { found++; return true })
		if looked := int(at.Slot - from); looked > StepEffort {
			t.Fatalf("a step of a search looked at %d slots", looked)
		}
	}
	if found != 1 || steps < many/StepEffort {
		t.Errorf("a search found %d in %d steps", found, steps)
	}
}

// While others come and go, who is there from the first step to the last is seen
// exactly once.
func TestWalkWhileOthersComeAndGo(t *testing.T) {
	d := crowd(t)
	h := d.homes[0]
	rnd := rand.New(rand.NewPCG(1, 2))
	var passing []Ref
	for i := range 300 {
		d.enter("stays", fmt.Sprint("s", i))
		passing = append(passing, d.enter("passes", fmt.Sprint("p", i)))
	}
	for round := range 50 {
		seen := map[string]int{}
		var at Place
		for done := false; !done; {
			done = h.Walk(&at, &Selection{}, 1+rnd.IntN(200), func(i SessionInfo) bool {
				seen[i.Key.ClientID]++
				return rnd.IntN(5) > 0
			})
			for range rnd.IntN(4) {
				i := rnd.IntN(len(passing))
				h.End(d.now, passing[i])
				passing[i] = d.enter("passes", fmt.Sprint("r", round, "-", len(seen), "-", rnd.Uint64()))
			}
		}
		for i := range 300 {
			if n := seen[fmt.Sprint("s", i)]; n != 1 {
				t.Fatalf("round %d: s%d was seen %d times", round, i, n)
			}
		}
		for id, n := range seen {
			if n > 1 {
				t.Fatalf("round %d: %s was seen %d times", round, id, n)
			}
		}
	}
}

// A session with many subscriptions costs a step no more than others do, and what
// stays is never missed while it unsubscribes from others.
func TestWalkOfManySubscriptions(t *testing.T) {
	d := crowd(t)
	h := d.homes[0]
	var filters []string
	for i := range 900 {
		filters = append(filters, fmt.Sprint("open/", i))
	}
	refs := []Ref{d.enter("u", "a"), d.enter("u", "b", filters...), d.enter("u", "c", "open/+", "open/7")}
	var at Place
	seen := map[string]int{}
	for step, done := 0, false; !done; step++ {
		rows := 0
		done = h.WalkSubscriptions(&at, &SubscriptionSelection{}, 100, func(i SubscriptionInfo) bool {
			rows++
			seen[i.Key.ClientID+" "+i.Filter]++
			return rows < 20
		})
		if rows > 30 {
			t.Fatalf("a step of 100 showed %d subscriptions", rows)
		}
		if step < 40 { // one that was seen, or one that was not
			h.Unsubscribe(d.now, refs[1], &mqtt.Unsubscribe{PacketID: 2, Filters: []string{filters[step*20+1]}})
		}
	}
	for i, f := range filters {
		if gone := i < 800 && i%20 == 1; !gone && seen["b "+f] == 0 {
			t.Errorf("%s is missing", f)
		}
	}
	at = Place{}
	steps := 1
	for !h.WalkSubscriptions(&at, &SubscriptionSelection{Match: []byte("nobody/wants/this")}, 100, func(SubscriptionInfo) bool { return true }) {
		steps++
	}
	if steps < 8 {
		t.Errorf("a search through 860 subscriptions took %d steps of 100", steps)
	}
	if seen["c open/+"] != 1 || seen["c open/7"] != 1 {
		t.Errorf("the small session: %d and %d", seen["c open/+"], seen["c open/7"])
	}

	for _, c := range []struct {
		want SubscriptionSelection
		rows string
	}{
		{SubscriptionSelection{Match: []byte("open/7")}, "b open/7, c open/+, c open/7"},
		{SubscriptionSelection{Filter: "open/7"}, "b open/7, c open/7"},
		{SubscriptionSelection{Filter: "open/7", Sessions: Selection{ClientID: "c"}}, "c open/7"},
		{SubscriptionSelection{Match: []byte("open/x/y")}, ""},
	} {
		var got []string
		h.WalkSubscriptions(new(Place), &c.want, 1<<20, func(i SubscriptionInfo) bool {
			got = append(got, i.Key.ClientID+" "+i.Filter)
			return true
		})
		slices.Sort(got)
		if strings.Join(got, ", ") != c.rows {
			t.Errorf("%+v: %q, want %q", c.want, got, c.rows)
		}
	}
}

// What a subscription sees when its session's slot has another session by now.
func TestPlaceOfASessionThatEnded(t *testing.T) {
	d := crowd(t)
	h := d.homes[0]
	ref := d.enter("u", "old", "open/1", "open/2", "open/3")
	var at Place
	h.WalkSubscriptions(&at, &SubscriptionSelection{}, StepEffort, func(SubscriptionInfo) bool { return false })
	h.End(d.now, ref)
	d.enter("u", "new", "open/4", "open/5", "open/6", "open/7")
	var got []string
	done := h.WalkSubscriptions(&at, &SubscriptionSelection{}, StepEffort, func(i SubscriptionInfo) bool {
		got = append(got, i.Filter)
		return true
	})
	if slices.Sort(got); !done || strings.Join(got, " ") != "open/4 open/5 open/6 open/7" {
		t.Errorf("%v, %q", done, got)
	}
	for _, wild := range []Place{{Slot: 1 << 31}, {Slot: 0, Gen: 9, Left: 1 << 31}, {Gen: 1 << 31, Left: 5}} { // A174
		if !h.WalkSubscriptions(&wild, &SubscriptionSelection{}, StepEffort, func(SubscriptionInfo) bool { return true }) {
			t.Errorf("a walk from %+v does not end", wild)
		}
	}
}

func TestSelection(t *testing.T) {
	d := crowd(t)
	h := d.homes[0]
	d.enter("alice", "pump-1")
	d.enter("bob", "pump-1")
	away := d.enter("alice", "valve-1")
	h.Gone(d.now, away)
	for _, c := range []struct {
		want Selection
		rows string
	}{
		{Selection{}, "alice/pump-1 alice/valve-1 bob/pump-1"},
		{Selection{ClientID: "pump-1"}, "alice/pump-1 bob/pump-1"},
		{Selection{ClientID: "pump-1", Identity: new("bob")}, "bob/pump-1"},
		{Selection{Username: "alice"}, "alice/pump-1 alice/valve-1"},
		{Selection{Presence: Connected, Username: "alice"}, "alice/pump-1"},
		{Selection{Presence: Disconnected}, "alice/valve-1"},
		{Selection{Like: "alve"}, "alice/valve-1"},
		{Selection{Match: NewPattern("*-1"), Username: "bob"}, "bob/pump-1"},
		{Selection{Listener: "wss"}, ""},
		{Selection{Identity: new("")}, ""},
		{Selection{Mountpoint: new(""), Identity: new("bob")}, "bob/pump-1"},
		{Selection{Mountpoint: new("t/")}, ""},
		{Selection{Network: netip.MustParsePrefix("192.0.2.0/24"), ClientID: "valve-1"}, "alice/valve-1"},
		{Selection{Network: netip.MustParsePrefix("192.0.2.8/32")}, ""},
	} {
		var got []string
		h.Walk(new(Place), &c.want, StepEffort, func(i SessionInfo) bool {
			got = append(got, i.Key.Identity+"/"+i.Key.ClientID)
			return true
		})
		if slices.Sort(got); strings.Join(got, " ") != c.rows {
			t.Errorf("%+v: %q, want %q", c.want, got, c.rows)
		}
	}
}

// What is shown of a session is what it holds.
func TestSessionInfo(t *testing.T) {
	d := newDesk(t, 1)
	pub := d.sit(0, "pub")
	s := d.sit(0, "sub")
	s.subscribe("open/a", 1)
	pub.publish("open/a", "1", 1, 1)
	s.w().full[s.conn] = true
	pub.publish("open/a", "2", 1, 2)
	pub.publish("open/a", "3", 1, 3)
	show := func() (out SessionInfo) {
		s.h().Walk(new(Place), &Selection{Identity: new("sub")}, StepEffort, func(i SessionInfo) bool { out = i; return true })
		return out
	}
	i := show()
	if !i.Online || !i.Congested || i.Subscriptions != 1 || i.Flow.Inflight != 2 || i.Flow.InflightMax != 32 || i.Flow.Mqueue != 1 || i.Flow.MqueueBytes == 0 {
		t.Errorf("online: %+v", i.Info)
	}
	if i.Ref != s.ref || i.Conn != s.conn || i.Version != mqtt.V5 || i.ExpirySeconds != 100 || i.HasWill || !i.LeftAt.IsZero() {
		t.Errorf("online: %+v", i)
	}
	s.h().Gone(d.now, s.ref)
	pub.publish("open/a", "4", 0, 0)
	if i = show(); i.Online || !i.LeftAt.Equal(d.now) || i.EndsAt.Sub(d.now).Seconds() != 100 || i.Dropped.Offline != 1 {
		t.Errorf("offline: %+v", i.Info)
	}
	d.homes[0].Open(d.now, &Arrival{Conn: s.conn, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, SessionExpiry: 100}, By: principal("sub")})
	d.homes[0].Gone(d.now, s.ref)
	if i = show(); i.Dropped.Offline != 1 || d.metrics.Value(metrics.MessagesDroppedQoS0Offline) != 1 {
		t.Errorf("once the metrics have it, the session has lost %+v", i.Dropped)
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string
	}{
		{"a", "a", "b aa x"},
		{"a*", "a ab abc", "ba b"},
		{"*a", "a ba", "ab b"},
		{"a*a", "aa aba abca", "a ab"},
		{"a*b*c", "abc aXbXc abbc", "ab acb abcd cba"},
		{"*", "a abc", ""},
		{"**a**", "a bac", "b"},
		{"*ab*ab*", "abab xabyabz", "ab aba"},
	} {
		for _, s := range strings.Fields(c.yes) {
			if !NewPattern(c.pattern).Matches(s) {
				t.Errorf("%s does not match %s", c.pattern, s)
			}
		}
		for _, s := range strings.Fields(c.no) {
			if NewPattern(c.pattern).Matches(s) {
				t.Errorf("%s matches %s", c.pattern, s)
			}
		}
	}
	var zero Pattern
	if !zero.Matches("") || !zero.Matches("x") || NewPattern("").Matches("x") {
		t.Error("the empty patterns")
	}
}

// An operator ends a session: 0x98 to a connected client, the will, and nothing is
// left; a reference to it ends nobody else's.
func TestEnd(t *testing.T) {
	for _, online := range []bool{true, false} {
		for _, delay := range []uint32{0, 50} {
			d := newDesk(t, 1)
			watch := d.sit(0, "watch")
			watch.subscribe("open/will", 0)
			conn := ConnRef{Slot: 9, Gen: 1}
			o, refusal := d.homes[0].Open(d.now, &Arrival{
				Conn: conn, By: principal("victim"),
				Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, SessionExpiry: 100,
					Will: &mqtt.Will{Topic: "open/will", Payload: []byte("gone"), DelaySeconds: delay}},
			})
			if refusal != nil {
				t.Fatal(refusal)
			}
			d.homes[0].Subscribe(d.now, o.Ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/x"}}})
			if !online {
				d.homes[0].Gone(d.now, o.Ref)
			}
			ended := d.homes[0].End(d.now, o.Ref)
			said, closed := d.wires[0].closed[conn]
			if !ended || closed != online || online && said != mqtt.AdministrativeAction {
				t.Errorf("online %v: ended %v, closed %v with %v", online, ended, closed, said)
			}
			if got := watch.payloads(); strings.Join(got, " ") != "gone" {
				t.Errorf("online %v, delay %d: the will came as %q", online, delay, got)
			}
			if n := d.b.Sessions(); n != 1 || d.b.index.Stats().Subscribers != 1 {
				t.Errorf("online %v: %d sessions, %+v are left", online, n, d.b.index.Stats())
			}
			if d.homes[0].End(d.now, o.Ref) {
				t.Error("a session that has ended ended again")
			}
		}
	}
}

// BenchmarkWalkStep is what a step of a list holds a loop up, with 100,000
// sessions.
func BenchmarkWalkStep(b *testing.B) {
	d := crowd(b)
	for i := range 100_000 {
		d.enter(fmt.Sprint("u", i%100), fmt.Sprint("client-", i), fmt.Sprint("open/", i))
	}
	h := d.homes[0]
	rows := make([]SessionInfo, 0, StepEffort)
	for name, want := range map[string]*Selection{"all": {}, "search": {Match: NewPattern("*nobody*")}} {
		b.Run(name, func(b *testing.B) {
			var at Place
			b.ReportAllocs()
			for b.Loop() {
				rows = rows[:0]
				if h.Walk(&at, want, StepEffort, func(i SessionInfo) bool { rows = append(rows, i); return true }) {
					at = Place{}
				}
			}
		})
	}
	b.Run("subscriptions", func(b *testing.B) {
		want := &SubscriptionSelection{Match: []byte("open/none")}
		var at Place
		b.ReportAllocs()
		for b.Loop() {
			if h.WalkSubscriptions(&at, want, StepEffort, func(SubscriptionInfo) bool { return true }) {
				at = Place{}
			}
		}
	})
}
