package conn

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAccessMatrix is S-01 for packets: each packet that the rules have a say in, with
// each verdict there is, at each QoS, in each version, at each kind of listener, with both
// values of authz.deny_action. The answer is the documented one, and nothing of what was
// denied reaches anybody: not a client that may read everything, live or retained, and not
// the session of whoever was denied, connected or away. What was armed while it was allowed
// (a will, a delayed message, a subscription, an alias, half a QoS 2 flow) is judged when
// it is due.
func TestAccessMatrix(t *testing.T) {
	for i, d := range doorsOfMatrix {
		for j, action := range []string{"reply", "disconnect"} {
			if testkit.Watched() && i%2 != j {
				continue // every door once, and every action twice
			}
			t.Run(d.name+" "+action, func(t *testing.T) {
				t.Parallel()
				d.open(t, func(r *rig) {
					m := &accessMatrix{rig: r, disconnects: action == "disconnect", heard: map[string]int{}, kept: map[string]int{}}
					m.play(i+4*j, testkit.Seeds(9, 1))
				}, func(r *rig) {
					r.set.DelayMax, r.set.DenyDisconnect = 3600, action == "disconnect"
					r.delayed = delay.NewAccount(delay.Limits{Messages: 10_000, Bytes: 4 << 20, OwnerMessages: 10_000, OwnerBytes: 4 << 20})
				})
			})
		}
	}
}

// doorsOfMatrix are the kinds of listeners.
var doorsOfMatrix = []struct {
	name string
	open func(t *testing.T, f func(*rig), change ...func(*rig))
}{
	{"tcp", func(t *testing.T, f func(*rig), change ...func(*rig)) { f(newRealRig(t, nil, change...)) }},
	{"tls", func(t *testing.T, f func(*rig), change ...func(*rig)) {
		f(newRealRig(t, testCertificate(t), change...))
	}},
	{"ws", func(t *testing.T, f func(*rig), change ...func(*rig)) {
		f(newRealRig(t, nil, append(change, overWebSocket)...))
	}},
	{"quic", func(t *testing.T, f func(*rig), change ...func(*rig)) {
		synctest.Test(t, func(t *testing.T) { f(newQUICRig(t, change...)) })
	}},
}

// aVerdict is what the rules say of the topics beneath a prefix to a user.
type aVerdict struct {
	name, user string
	allow      bool
}

var verdictsOfMatrix = []aVerdict{
	{"allow", "mallory", true},
	{"rule", "mallory", false},      // a deny rule, before one that allows
	{"none", "mallory", false},      // no rule at all
	{"condition", "mallory", false}, // an allow rule whose condition fails
	{"doubt", "mallory", false},     // a deny rule whose condition fails, before one that allows
	{"unasked", "stale", false},     // a source that has not answered, before one that allows
}

// failing is a condition that cannot be judged.
type failing struct{}

func (failing) Holds(*auth.Principal) (bool, error) {
	return false, errors.New("not known of this client")
}
func (failing) String() string { return "client_attrs.x == 'y'" }

// rulesOfMatrix are the rules before, when everything was allowed, and after.
func rulesOfMatrix(t *testing.T) (before, after *auth.Policy) {
	t.Helper()
	all := func(allow bool, users []string, when auth.Condition, topics ...string) auth.RuleSpec {
		s := auth.RuleSpec{Allow: allow, Publish: true, Subscribe: true, Users: users, When: when}
		for _, f := range topics {
			s.Topics = append(s.Topics, auth.TopicSpec{Filter: f})
		}
		return s
	}
	compile := func(specs ...auth.RuleSpec) *auth.Policy {
		p, err := auth.Compile(specs)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before = compile(all(true, nil, nil, "#"))
	after = auth.Compose(auth.Source{Name: "db"}, auth.Source{Name: auth.SourceRules, Rules: compile(
		all(true, []string{"watch"}, nil, "#"),
		all(false, nil, nil, "m/rule/#"),
		all(false, nil, failing{}, "m/doubt/#"),
		all(true, nil, failing{}, "m/condition/#"),
		all(true, nil, nil, "m/allow/#", "m/rule/#", "m/doubt/#", "m/unasked/#"),
	)})
	return before, after
}

// claimants proves everybody whose password is right, and has an answer of the source of
// rules for all but one.
type claimants struct{ passwords }

func (claimants) Authenticate(req *auth.Request, done func(auth.Result)) {
	passwords{}.Authenticate(req, func(r auth.Result) {
		if r.Outcome == auth.Allow && req.Username != "stale" {
			r.Principal.Claims = &auth.Claims{Rules: []auth.Own{{Source: "db"}}}
		}
		done(r)
	})
}

// accessMatrix is one round at one door.
type accessMatrix struct {
	*rig
	disconnects bool           // authz.deny_action
	watch, boss *client        // of a user who may everything: one hears, one says
	heard       map[string]int // payloads that the watcher must hear, and how often
	kept        map[string]int // payloads that must be retained
	cells       []*cell
}

// cell is one verdict at one QoS in one version.
type cell struct {
	aVerdict
	v   mqtt.Version
	qos mqtt.QoS

	armed, sub *client
}

func (c *cell) topic(what string) string {
	return fmt.Sprintf("m/%s/%v/%d/%s", c.name, c.v, c.qos, what)
}
func (c *cell) id(what string) string {
	return fmt.Sprintf("%s/%s-%s-%d-%d", c.user, what, c.name, c.v, c.qos)
}

// play plays one of stride cells, others at each door.
func (m *accessMatrix) play(door, stride int) {
	before, after := rulesOfMatrix(m.t)
	m.authz.Swap(before)
	m.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(claimants{})})
	m.watch, m.boss = m.connect(mqtt.V5, "watch/w", patient), m.connect(mqtt.V5, "watch/b", patient)
	if rc := m.watch.subscribe("#", 0); rc != 0 {
		m.t.Fatalf("the watcher is granted %v", rc)
	}
	n := 0
	for _, vd := range verdictsOfMatrix {
		for _, v := range versions {
			for q := mqtt.QoS(0); q <= 2; q++ {
				if m.disconnects && v != mqtt.V5 {
					continue // deny_action is about 5.0
				}
				if n++; (n+n/3+door)%stride == 0 {
					m.cells = append(m.cells, &cell{aVerdict: vd, v: v, qos: q})
				}
			}
		}
	}
	for _, c := range m.cells {
		m.arm(c)
	}
	m.authz.Swap(after)
	m.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
	m.settle()
	m.afterwards()
	for _, c := range m.cells {
		m.publishes(c)
		m.wills(c)
		m.subscribes(c)
	}
	m.pass(25 * time.Second) // what was delayed is due
	m.listeners()
	m.judge()
}

// patient is a client that need not say anything while time passes, with a session that
// outlives its connection.
func patient(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry, c.KeepAlive = false, 3000, 300 }

func (m *accessMatrix) willOf(c *cell, what string) func(*mqtt.Connect) {
	return func(p *mqtt.Connect) {
		p.Will = &mqtt.Will{Topic: c.topic(what), Payload: []byte(c.topic(what)), QoS: c.qos, Retain: c.qos == 1}
	}
}

// expect notes a message that must be heard, if the cell allows it.
func (m *accessMatrix) expect(c *cell, what string, retained bool) {
	if !c.allow {
		return
	}
	m.heard[c.topic(what)]++
	if retained {
		m.kept[c.topic(what)] = 1
	}
}

// arm does what is allowed now and has its effect later.
func (m *accessMatrix) arm(c *cell) {
	w := m.connect(c.v, c.id("armed"), patient, m.willOf(c, "armed-will"))
	c.armed = w
	if rc := w.subscribe(c.topic("before"), c.qos); rc != mqtt.ReasonCode(c.qos) {
		m.t.Fatalf("%s: granted %v", w.name, rc)
	}
	m.answered(w, c.qos, 10, "$delayed/20/"+c.topic("armed-delayed"), c.topic("armed-delayed"), true, true)
	m.expect(c, "armed-delayed", false)
	m.expect(c, "armed-will", c.qos == 1)
	w.publish(c.topic("armed-half"), c.topic("armed-half"), 2, 11)
	if rc := w.acked(mqtt.PUBREC, 11); rc != 0 {
		m.t.Fatalf("%s: PUBREC %v", w.name, rc)
	}
	m.heard[c.topic("armed-half")]++ // it was allowed
	if c.v == mqtt.V5 {
		w.publish(c.topic("armed-alias"), c.topic("armed-first"), 0, 0, func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 1, true })
		w.pings()
		m.heard[c.topic("armed-first")]++
	}
}

// pings makes sure that everything sent before was looked at.
func (c *client) pings() {
	c.r.t.Helper()
	c.send([]byte{0xC0, 0})
	c.expect(mqtt.PINGRESP)
}

// answered publishes, judges the answer, and tells whether the connection lives.
func (m *accessMatrix) answered(w *client, q mqtt.QoS, id uint16, topic, payload string, allow, release bool, change ...func(*mqtt.Publish)) (lives bool) {
	m.t.Helper()
	name := w.name
	w.name += " PUBLISH " + topic
	defer func() { w.name = name }()
	w.publish(topic, payload, q, id, change...)
	five := w.v == mqtt.V5
	switch {
	case !allow && five && m.disconnects:
		w.closed(mqtt.NotAuthorized)
		return false
	case q == 0:
		w.pings()
		return true
	case !allow && !five: // an acknowledgement would be a lie
		w.closed(noPacket)
		return false
	}
	ack, want, freed := mqtt.PUBACK, mqtt.Success, mqtt.Success
	if !allow {
		want, freed = mqtt.NotAuthorized, mqtt.PacketIdentifierNotFound
	}
	if q == 2 {
		ack = mqtt.PUBREC
	}
	if rc := w.acked(ack, id); rc != want {
		m.t.Errorf("%s: %v %v, want %v", w.name, ack, rc, want)
	}
	if q == 2 && release {
		w.ack(mqtt.PUBREL, id)
		if rc := w.acked(mqtt.PUBCOMP, id); rc != freed {
			m.t.Errorf("%s: PUBCOMP %v, want %v", w.name, rc, freed)
		}
	}
	return true
}

// afterwards looks at what was armed.
func (m *accessMatrix) afterwards() {
	for _, c := range m.cells {
		m.tell(c.topic("before"), c.topic("before"))
	}
	m.settle()
	for _, c := range m.cells {
		w := c.armed
		w.name = c.id("armed")
		if !c.allow && c.v == mqtt.V5 && m.disconnects { // its subscription has ended, and it was told so
			if p := w.expect(mqtt.DISCONNECT); p.body[0] != byte(mqtt.NotAuthorized) {
				m.t.Errorf("%s: DISCONNECT % x", w.name, p.body)
			}
			_ = w.nc.Close()
			m.tell(c.topic("before"), c.topic("before"))
			continue
		}
		m.gets(w, c.only("before")...)
		w.ack(mqtt.PUBREL, 11) // of what was taken over when it was allowed
		if rc := w.acked(mqtt.PUBCOMP, 11); rc != 0 {
			m.t.Errorf("%s: PUBCOMP %v", w.name, rc)
		}
		// UNSUBSCRIBE is never denied; what the rules have taken away is not there any more.
		m.unsubscribed(w, c.topic("before"), c.allow)
		lives := true
		if c.v == mqtt.V5 { // the alias alone: it is judged by the topic it stands for
			alias := func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 1, true }
			m.expect(c, "armed-alias", false)
			lives = m.answered(w, c.qos, 12, "", c.topic("armed-alias"), c.allow, true, alias)
		}
		if lives {
			_ = w.nc.Close() // its will is due
		}
		m.tell(c.topic("before"), c.topic("before")) // nobody is there for it
	}
}

// tell publishes as somebody who may everything.
func (m *accessMatrix) tell(topic, payload string) {
	m.t.Helper()
	m.answered(m.boss, 1, 30, topic, payload, true, true)
	m.heard[payload]++
}

// gets judges what a client has heard: each of these, and nothing else.
func (m *accessMatrix) gets(w *client, want ...string) {
	m.t.Helper()
	left := map[string]int{}
	for _, payload := range want {
		left[payload]++
	}
	for range want {
		got := w.message()
		left[string(got.Payload)]--
		switch got.QoS {
		case 1:
			w.ack(mqtt.PUBACK, got.PacketID)
		case 2:
			w.ack(mqtt.PUBREC, got.PacketID)
			w.acked(mqtt.PUBREL, got.PacketID)
			w.ack(mqtt.PUBCOMP, got.PacketID)
		}
	}
	for payload, n := range left {
		if n != 0 {
			m.t.Errorf("%s: %q came %d times too few", w.name, payload, n)
		}
	}
	if p, ok, _ := w.in.take(); ok {
		m.t.Errorf("%s: got %v %q", w.name, p.h.Type, p.body)
	}
}

// only is want if the cell allows it, else nothing.
func (c *cell) only(what ...string) (want []string) {
	for _, w := range what {
		if c.allow {
			want = append(want, c.topic(w))
		}
	}
	return want
}

func (m *accessMatrix) unsubscribed(w *client, filter string, was bool) {
	m.t.Helper()
	w.send((&mqtt.Unsubscribe{PacketID: 9, Filters: []string{filter}}).Append(nil, w.v, 0))
	p := w.expect(mqtt.UNSUBACK)
	var ack mqtt.Unsuback
	if err := mqtt.DecodeUnsuback(p.body, p.h, w.v, mqtt.Limits{}, &ack); err != nil {
		m.t.Fatal(err)
	}
	want := mqtt.NoSubscriptionExisted
	if was {
		want = mqtt.Success
	}
	if w.v == mqtt.V5 && ack.Reasons[0] != want {
		m.t.Errorf("%s: UNSUBACK %v, want %v", w.name, ack.Reasons[0], want)
	}
}

// publishes are the ways to publish.
func (m *accessMatrix) publishes(c *cell) {
	var w *client
	send := func(what, prefix string, change ...func(*mqtt.Publish)) {
		if w == nil {
			w = m.connect(c.v, c.id("pub"), patient)
		}
		retained := what == "retained"
		m.expect(c, what, retained)
		if !m.answered(w, c.qos, 20, prefix+c.topic(what), c.topic(what), c.allow, true, change...) {
			w = nil
		}
	}
	send("plain", "")
	send("retained", "", func(p *mqtt.Publish) { p.Retain = true })
	send("delayed", "$delayed/1/")
	if c.v == mqtt.V5 {
		send("alias", "", func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 2, true })
		if w == nil { // an alias lives as long as the connection
			return
		}
		m.expect(c, "alias", false)
		m.answered(w, c.qos, 21, "", c.topic("alias"), c.allow, true, func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 2, true })
	}
	if w != nil {
		_ = w.nc.Close()
	}
}

// wills are wills that are judged at CONNECT.
func (m *accessMatrix) wills(c *cell) {
	w, ack := m.tryConnect(c.v, c.id("will"), patient, m.willOf(c, "will"))
	want := mqtt.Success
	if !c.allow {
		if want = mqtt.NotAuthorized; c.v != mqtt.V5 {
			want = 5 // the same in CONNACK of 3.1 and 3.1.1, which mqtt may have made 0x87 of
		}
	}
	if ack.Reason != want && (c.allow || ack.Reason != mqtt.NotAuthorized) {
		m.t.Errorf("%s: CONNACK %v, want %v", w.name, ack.Reason, want)
	}
	m.expect(c, "will", c.qos == 1)
	if c.allow {
		_ = w.nc.Close()
	} else {
		w.closed(noPacket)
	}
}

// subscribes leaves a session that wanted to hear, directly and as a member of a group.
func (m *accessMatrix) subscribes(c *cell) {
	for _, way := range []string{"", "$share/g/"} {
		what := "direct"
		if way != "" {
			what = "group"
		}
		if c.sub == nil {
			c.sub = m.connect(c.v, c.id("sub"), patient)
		}
		filter := way + c.topic(what)
		if !c.allow && (c.v == mqtt.V31 || c.v == mqtt.V5 && m.disconnects) { // 3.1 has no word for it
			c.sub.send((&mqtt.Subscribe{PacketID: 7, Filters: []mqtt.Subscription{{Filter: filter, QoS: c.qos}}}).Append(nil, c.v, 0))
			c.sub.closed(mqtt.NotAuthorized)
			c.sub = nil
			continue
		}
		want := mqtt.ReasonCode(c.qos)
		if !c.allow {
			if want = mqtt.NotAuthorized; c.v != mqtt.V5 {
				want = mqtt.UnspecifiedError
			}
		}
		if rc := c.sub.subscribe(filter, c.qos); rc != want {
			m.t.Errorf("%s: SUBACK %v, want %v", c.sub.name, rc, want)
		}
		if !c.allow {
			m.unsubscribed(c.sub, filter, false)
		}
	}
}

// listeners publishes to those who wanted to hear, while they are there and while they
// are away, and looks at what they get.
func (m *accessMatrix) listeners() {
	tellAll := func(when string) {
		for _, c := range m.cells {
			for _, way := range []string{"direct", "group"} {
				m.tell(c.topic(way), c.topic(way+when))
			}
		}
		m.settle()
	}
	tellAll("")
	for _, c := range m.cells {
		if c.sub != nil {
			m.gets(c.sub, c.only("direct", "group")...)
			_ = c.sub.nc.Close()
		}
	}
	m.becomes("connections", 2, m.connections)
	tellAll("-away")
	for _, c := range m.cells {
		want := c.only("direct-away", "group-away")
		if c.qos == 0 { // is not kept for who is away
			want = nil
		}
		m.gets(m.connect(c.v, c.id("sub"), patient), want...)
		m.gets(m.connect(c.v, c.id("armed"), patient))
	}
}

// judge compares what the watcher heard, and what is retained, with what must be.
func (m *accessMatrix) judge() {
	m.t.Helper()
	m.settle()
	late := m.connect(mqtt.V5, "watch/late", patient)
	if rc := late.subscribe("#", 0); rc != 0 {
		m.t.Fatalf("the late watcher is granted %v", rc)
	}
	m.settle()
	m.tell("m/fence", "fence")
	m.kept["fence"] = 1
	m.same("the watcher heard", m.until(m.watch), m.heard)
	m.same("retained is", m.until(late), m.kept)
}

// until is what a client has heard up to the fence.
func (m *accessMatrix) until(w *client) map[string]int {
	m.t.Helper()
	got := map[string]int{}
	for got["fence"] == 0 {
		p := w.message()
		got[string(p.Payload)]++
	}
	return got
}

func (m *accessMatrix) same(what string, got, want map[string]int) {
	m.t.Helper()
	for payload, n := range got {
		if want[payload] != n {
			m.t.Errorf("%s %s %d times, want %d", what, payload, n, want[payload])
		}
	}
	for payload, n := range want {
		if got[payload] == 0 {
			m.t.Errorf("%s %s never, want %d", what, payload, n)
		}
	}
}
