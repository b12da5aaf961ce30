package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic/rewrite"
	"github.com/redoubtmq/redoubt/topic/template"
)

// via lets a client come by a listener.
func via(listener string) func(*auth.Principal, *mqtt.Connect) {
	return func(by *auth.Principal, _ *mqtt.Connect) { by.Listener = listener }
}

func mountpoint(t *testing.T, text string) template.Template {
	t.Helper()
	m, err := template.ParseMountpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// topics are the topic names a client reads in what it was sent.
func (s seat) topics() (got []string) {
	for _, o := range s.take() {
		if o.Kind == session.OutPublish {
			b, _, _ := o.Append(nil, mqtt.V5, s.d.now, 0, 1<<20)
			h, _, _ := mqtt.ReadHeader(b, mqtt.V5)
			var p mqtt.Publish
			if err := mqtt.DecodePublishClient(b[h.Size:], h, mqtt.V5, mqtt.Limits{UserProperties: 9}, &p); err != nil {
				s.d.t.Fatal(err)
			}
			got = append(got, string(p.Topic))
		}
		o.Done()
	}
	return got
}

// A mountpoint is put before every topic of the client and taken off again, and
// the rules judge what is really used (A114).
func TestMountpoint(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.Entrances = map[string]*Entrance{"inner": {Offer: s.Offer, Mountpoint: mountpoint(t, "tenants/${username}/")}}
	})
	d.rules(`
  - {deny: all, topics: ["tenants/a/secret/#"]}
  - {allow: all, topics: ["tenants/#"]}`)
	a, b, outside := d.sit(0, "a", via("inner")), d.sit(0, "b", via("inner")), d.sit(0, "outside")
	for _, s := range []seat{a, b} {
		if rc := s.ask("#", 1); rc != 1 {
			t.Fatalf("subscribe: %v", rc)
		}
	}
	outside.subscribe("tenants/#", 1)
	a.publish("x/y", "1", 1, 1)
	if got := a.topics(); !slices.Equal(got, []string{"x/y"}) {
		t.Errorf("a reads %q", got)
	}
	if got := b.topics(); got != nil {
		t.Errorf("b reads %q of another tenant", got)
	}
	if got := outside.topics(); !slices.Equal(got, []string{"tenants/a/x/y"}) {
		t.Errorf("outside reads %q", got)
	}
	if rc := a.ask("secret/#", 0); rc != mqtt.NotAuthorized {
		t.Errorf("a filter that the mountpoint turns into a denied one: %v", rc)
	}
	if rc := a.ask("$share/g/x", 0); rc != 0 {
		t.Errorf("shared: %v", rc)
	}
	a.publish("secret/x", "2", 1, 2)
	if got := outside.topics(); got != nil {
		t.Errorf("outside reads %q", got)
	}
	// The retained store and the session have the mountpoint in their keys.
	a.publish("kept", "3", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
	a.take()
	late := d.sit(0, "a", via("inner"), func(_ *auth.Principal, c *mqtt.Connect) { c.ClientID = "late" })
	late.subscribe("kept", 0)
	d.turn()
	if got := late.topics(); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("retained: %q", got)
	}
	if plain := d.sit(0, "a"); plain.ref == a.ref {
		t.Error("the session of one mountpoint was given to a client of another")
	}
}

// A name that could be more than a part of a level makes no mountpoint (A094).
func TestMountpointOfAHostileName(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.Entrances = map[string]*Entrance{"inner": {Offer: s.Offer, Mountpoint: mountpoint(t, "tenants/${username}/")}}
	})
	for _, user := range []string{"", "a/b", "+", "#", "a\x00"} {
		by := auth.Principal{Identity: "x", Username: user, Listener: "inner"}
		if key, e := d.b.Place(&by, "c"); e == nil {
			t.Errorf("%q is mounted at %q", user, key.Mountpoint)
		}
	}
}

func TestWillIsMounted(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.Entrances = map[string]*Entrance{"inner": {Offer: s.Offer, Mountpoint: mountpoint(t, "open/${username}/")}}
	})
	watch := d.sit(0, "watch")
	watch.subscribe("open/#", 0)
	a := d.sit(0, "a", via("inner"), func(_ *auth.Principal, c *mqtt.Connect) {
		c.SessionExpiry, c.Will = 0, &mqtt.Will{Topic: "gone", Payload: []byte("x")}
	})
	a.h().Gone(d.now, a.ref)
	if got := watch.topics(); !slices.Equal(got, []string{"open/a/gone"}) {
		t.Errorf("will on %q", got)
	}
}

func TestRewriteComesBeforeTheRules(t *testing.T) {
	rules, err := rewrite.Compile([]rewrite.Rule{
		{Action: "all", Source: "old/#", RE: `^old/(.+)$`, Dest: "open/$1"},
		{Action: "all", Source: "trap/#", RE: `^trap/(.+)$`, Dest: "shut/$1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, 1, func(s *Settings) { s.Rewrite = rules })
	a := d.sit(0, "a")
	if rc := a.ask("old/x", 1); rc != 1 {
		t.Fatalf("subscribe: %v", rc)
	}
	if rc := a.ask("trap/x", 1); rc != mqtt.NotAuthorized {
		t.Errorf("a filter that becomes a denied one: %v", rc)
	}
	a.publish("old/x", "1", 0, 0)
	a.publish("open/x", "2", 0, 0)
	if got := a.topics(); !slices.Equal(got, []string{"open/x", "open/x"}) {
		t.Errorf("got %q", got)
	}
	a.h().Unsubscribe(d.now, a.ref, &mqtt.Unsubscribe{PacketID: 1, Filters: []string{"old/x"}})
	if n := d.b.index.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

// A rule may make a message one for later, and one for later is rewritten inside.
func TestRewriteAndDelay(t *testing.T) {
	rules, err := rewrite.Compile([]rewrite.Rule{
		{Action: "publish", Source: "later/#", RE: `^later/(.+)$`, Dest: "$delayed/5/open/$1"},
		{Action: "publish", Source: "old/#", RE: `^old/(.+)$`, Dest: "open/$1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, 1, func(s *Settings) { s.Rewrite, s.DelayMax = rules, 60 })
	d.b.delayed.SetMax(roomy)
	a := d.sit(0, "a")
	a.subscribe("open/#", 0)
	a.publish("later/x", "1", 0, 0)
	a.publish("$delayed/5/old/y", "2", 0, 0)
	if got := a.topics(); got != nil {
		t.Errorf("at once: %q", got)
	}
	d.now = d.now.Add(5 * time.Second)
	d.homes[0].Tick(d.now)
	if got := a.topics(); !slices.Equal(got, []string{"open/x", "open/y"}) {
		t.Errorf("got %q", got)
	}
}

// What is not offered at an entrance is refused there and nowhere else.
func TestEntrancesOffer(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Entrances = map[string]*Entrance{"small": {}} })
	small, big := d.sit(0, "small", via("small")), d.sit(0, "big")
	for filter, want := range map[string]mqtt.ReasonCode{"open/+": mqtt.WildcardSubscriptionsNotSupported, "$share/g/open/x": mqtt.SharedSubscriptionsNotSupported, "open/x": 0} {
		if rc := small.ask(filter, 2); rc != want {
			t.Errorf("%s: %v, want %v", filter, rc, want)
		}
	}
	if rc := big.ask("$share/g/open/+", 2); rc != 2 {
		t.Errorf("at the other entrance: %v", rc)
	}
	small.publish("open/x", "1", 1, 1)
	if rc := d.wires[0].closed[small.conn]; rc != mqtt.QoSNotSupported {
		t.Errorf("QoS 1: %v", rc)
	}
	again := d.sit(0, "small", via("small"))
	again.publish("open/x", "1", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
	if rc := d.wires[0].closed[again.conn]; rc != mqtt.RetainNotSupported {
		t.Errorf("retain: %v", rc)
	}
}

func delayedDesk(t *testing.T, max delay.Limits) *desk {
	d := newDesk(t, 1, func(s *Settings) { s.DelayMax = 3600 })
	d.b.delayed.SetMax(max)
	return d
}

var roomy = delay.Limits{Messages: 10, Bytes: 1 << 20, OwnerMessages: 5, OwnerBytes: 1 << 20}

func TestDelayedPublish(t *testing.T) {
	d := delayedDesk(t, roomy)
	pub, sub := d.sit(0, "pub"), d.sit(0, "sub")
	sub.subscribe("open/#", 1)
	pub.publish("$delayed/5/open/x", "late", 1, 1)
	pub.publish("$delayed/2/open/x", "sooner", 0, 0)
	pub.publish("open/x", "now", 0, 0)
	if got := pub.acks(); !slices.Equal(got, []uint16{1}) {
		t.Errorf("acknowledged %v", got)
	}
	step := func(s int) { d.now = d.now.Add(time.Duration(s) * time.Second); d.homes[0].Tick(d.now) }
	want := func(w ...string) {
		t.Helper()
		if got := sub.payloads(); !slices.Equal(got, w) {
			t.Errorf("after %v: %q, want %q", d.now, got, w)
		}
	}
	want("now")
	if next := d.homes[0].NextTick(); next.After(d.now.Add(2 * time.Second)) {
		t.Errorf("the home wants to wake at %v", next)
	}
	step(1)
	want()
	step(1)
	want("sooner")
	step(3)
	want("late")
}

// The inner topic is judged when it is published and again when it is due, and a
// user who was deleted says nothing any more.
func TestDelayedIsJudgedTwice(t *testing.T) {
	d := delayedDesk(t, roomy)
	pub, sub := d.sit(0, "pub"), d.sit(0, "sub")
	sub.subscribe("open/#", 1)
	pub.publish("$delayed/1/shut/x", "1", 0, 0)
	pub.publish("$delayed/1/$delayed/1/open/x", "2", 0, 0)
	if rc := d.wires[0].closed[pub.conn]; rc != mqtt.TopicNameInvalid {
		t.Errorf("delayed twice: %v", rc)
	}
	pub = d.sit(0, "pub")
	pub.publish("$delayed/1/open/x", "3", 0, 0)
	other := d.sit(0, "other")
	other.publish("$delayed/1/open/y", "4", 0, 0)
	d.homes[0].Revoke(d.now, map[string]bool{"other": true})
	if n, _ := d.b.delayed.Held(); n != 1 {
		t.Errorf("%d messages wait, want pub's", n)
	}
	d.rules(`  - {allow: subscribe, topics: ["open/#"]}`)
	d.now = d.now.Add(time.Minute)
	d.homes[0].Tick(d.now)
	if got := sub.payloads(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if n, b := d.b.delayed.Held(); n != 0 || b != 0 {
		t.Errorf("%d messages and %d bytes are left", n, b)
	}
}

func TestDelayedIsBounded(t *testing.T) {
	d := delayedDesk(t, delay.Limits{Messages: 2, Bytes: 1 << 20, OwnerMessages: 1, OwnerBytes: 1 << 20})
	a, b := d.sit(0, "a"), d.sit(0, "b")
	for i, row := range []struct {
		s    seat
		name string
		want mqtt.ReasonCode
	}{
		{a, "$delayed/9/open/x", 0}, {a, "$delayed/9/open/x", mqtt.QuotaExceeded},
		{b, "$delayed/3601/open/x", mqtt.QuotaExceeded}, {b, "$delayed/9/open/x", 0},
	} {
		row.s.publish(row.name, "1", 1, uint16(i+1))
		outs := row.s.take()
		if len(outs) != 1 || outs[0].Reason != row.want {
			t.Errorf("%d: %+v, want %v", i, outs, row.want)
		}
	}
	if n := d.metrics.Value(metrics.DelayedRefused); n != 1 {
		t.Errorf("%d refused, want 1 by the limits of what waits", n)
	}
	off := newDesk(t, 1)
	s := off.sit(0, "s")
	s.publish("$delayed/9/open/x", "1", 1, 1)
	if outs := s.take(); len(outs) != 1 || outs[0].Reason != mqtt.NotAuthorized {
		t.Errorf("where it is not offered: %+v", outs)
	}
}

// Events go to whoever may hear them, and are not made while nobody does.
func TestEvents(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Events = true })
	d.rules(`
  - {allow: subscribe, users: [ops], topics: ["$events/#"]}
  - {allow: all, topics: ["open/#"]}`)
	if rc := d.sit(0, "nosy").ask("$events/#", 0); rc != mqtt.NotAuthorized {
		t.Errorf("without the right: %v", rc)
	}
	ops := d.sit(0, "ops")
	if rc := ops.ask("$events/#", 1); rc != 1 {
		t.Fatalf("ops: %v", rc)
	}
	ops.take()
	c := d.sit(0, "c\x1b")
	c.subscribe("open/x", 1)
	c.publish("$events/client/connected", "forged", 0, 0)
	c.h().Unsubscribe(d.now, c.ref, &mqtt.Unsubscribe{PacketID: 1, Filters: []string{"open/x"}})
	c.h().Gone(d.now, c.ref)
	d.homes[0].evict(d.now, d.homes[0].at(c.ref))
	var got []string
	for _, p := range ops.payloads() {
		var e Event
		if err := json.Unmarshal([]byte(p), &e); err != nil || e.ClientID != "c" || e.Username != "c\x1b" || e.Timestamp == 0 {
			t.Fatalf("%s: %v", p, err)
		}
		got = append(got, strings.TrimPrefix(e.Event, "$events/")+" "+e.Topic+e.Reason)
	}
	want := []string{"session/created ", "client/connected ", "session/subscribed open/x", "session/unsubscribed open/x", "client/disconnected client gone", "session/terminated "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	ops.h().Unsubscribe(d.now, ops.ref, &mqtt.Unsubscribe{PacketID: 1, Filters: []string{"$events/#"}})
	if n := d.b.hearers.Load(); n != 0 {
		t.Errorf("%d subscriptions are still counted", n)
	}
}

func TestSysIsPublishedForWhoMayReadIt(t *testing.T) {
	d := newDesk(t, 2, func(s *Settings) { s.SysInterval = time.Minute })
	n := 0
	d.b.sys = func(time.Time) []SysTopic { n++; return []SysTopic{{"$SYS/broker/version", fmt.Sprint("v", n)}} }
	d.rules(`
  - {allow: subscribe, users: [ops], topics: ["$SYS/#"]}
  - {allow: all, topics: ["#"]}`)
	ops, plain := d.sit(1, "ops"), d.sit(1, "plain")
	tick := func() {
		for _, h := range d.homes {
			h.Tick(d.now)
		}
		d.turn()
		d.turn()
	}
	tick()
	ops.subscribe("$SYS/#", 0)
	if rc := plain.ask("$SYS/#", 0); rc != mqtt.NotAuthorized {
		t.Errorf("plain: %v", rc)
	}
	plain.subscribe("#", 0)
	tick()
	if got := ops.payloads(); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("retained: %q", got)
	}
	d.now = d.now.Add(time.Minute)
	tick()
	if got := ops.payloads(); !slices.Equal(got, []string{"v2"}) {
		t.Errorf("live: %q", got)
	}
	if got := plain.payloads(); len(got) != 0 {
		t.Errorf("plain: %q", got)
	}
	plain.publish("$SYS/broker/version", "forged", 0, 0)
	if got := ops.payloads(); len(got) != 0 {
		t.Errorf("forged: %q (A039)", got)
	}
}

func TestAutoSubscribe(t *testing.T) {
	filter := func(s string) template.Template {
		f, err := template.ParseFilter(s)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	d := newDesk(t, 1, func(s *Settings) {
		s.AutoSubscribe = []AutoSubscription{
			{Filter: filter("open/${username}/cmd"), Options: mqtt.Subscription{QoS: 1}},
			{Filter: filter("shut/${clientid}")}, // the rules deny it, and nothing else happens
		}
	})
	pub := d.sit(0, "pub")
	pub.publish("open/dev/cmd", "kept", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
	dev := d.sit(0, "dev")
	if s := &dev.h().at(dev.ref).s; s.Subscriptions() != 1 || s.Subscription(0).Filter != "open/dev/cmd" || s.Subscription(0).QoS != 1 {
		t.Fatalf("subscriptions %+v", dev.h().at(dev.ref).s.Info())
	}
	d.turn()
	pub.publish("open/dev/cmd", "go", 1, 2)
	if got := dev.payloads(); !slices.Equal(got, []string{"kept", "go"}) {
		t.Errorf("got %q", got)
	}
}
