package harden

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// quietTime is how long nothing may arrive after everything was answered, before
// it is taken that nothing will. What a broker lets through by mistake is there
// long before the acknowledgements that are waited for first.
const quietTime = 200 * time.Millisecond

// authorization is row P4.2: a user without a grant can neither publish nor
// subscribe, in any of the ways there are, and a user with one grant can do
// exactly that.
func authorization(ctx context.Context, e *Env) []Result {
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	if len(eps) == 0 {
		return unknown(e, "the broker has no listener for clients that could be probed")
	}
	none, err := e.addProbe(ctx, false)
	if err != nil {
		return unknown(e, "no probe user could be made: "+err.Error())
	}
	defer e.endProbe(ctx, &none)
	one, err := e.addProbe(ctx, true)
	if err != nil {
		return unknown(e, "no probe user with a grant could be made: "+err.Error())
	}
	defer e.endProbe(ctx, &one)
	all := make([]*endpoint, len(eps))
	for i := range eps {
		all[i] = &eps[i]
	}
	out := each(all, func(p *endpoint) Result { return e.judgeRights(ctx, p, &none, &one) })
	e.endProbe(ctx, &none) // there may be few at once
	none.Name = ""
	return append(out, e.judgeGrants(ctx, &one), e.judgeWithdrawn(ctx, all, &one))
}

// judgeRights is one entrance. Several are judged at the same time with the same users: each
// has topics of its own beneath the one that was granted, and its watcher hears of all.
func (e *Env) judgeRights(ctx context.Context, p *endpoint, none, one *ProbeUser) Result {
	q := e.at(p.scope(), p.addr)
	q.key = p.key
	t := trial{q: q, p: p, none: none, one: one, tag: "-" + randomText()[:8], offers: (&packet{}).offers()}
	offered := false
	for _, t.level = range levels {
		offered = t.run(ctx) || offered
	}
	if !offered {
		q.see(Probe, "protocol levels", "at least one is offered", "none", Unknown)
	}
	return q.result(Behavioural, "denies what no rule allows, and delivers none of it")
}

// trial is one round at one entrance on one protocol level.
type trial struct {
	q         *inquiry
	p         *endpoint
	level     byte
	none, one *ProbeUser
	tag       string // of the topics of this entrance

	offers  offers  // what MQTT 5.0 said is offered holds for 3.1.1 too
	watcher *client // of the user with the grant, subscribed to all of it
	outcast *client // of the user without
}

// ways are the ways to publish; each is tried by both users.
var ways = []struct {
	name string
	publishPacket
}{
	{"at QoS 0", publishPacket{qos: 0}},
	{"at QoS 1", publishPacket{qos: 1}},
	{"at QoS 2", publishPacket{qos: 2}},
	{"retained", publishPacket{qos: 1, retain: true}},
}

// offered tells whether the broker offers a way at all.
func (t *trial) offered(p *publishPacket) bool {
	return p.qos <= t.offers.maxQoS && (t.offers.retain || !p.retain)
}

// watched are the filters of the watcher: its whole grant, or where wildcards are
// off each topic that is used.
func (t *trial) watched() (filters []string) {
	if t.offers.wildcards {
		return []string{t.one.Topic + "/#"}
	}
	for _, f := range []string{"granted/before", "granted/after", "denied", "granted/will", "granted/alias", "denied/will", "denied/alias"} {
		filters = append(filters, t.mine(f))
	}
	for i := range ways {
		filters = append(filters, t.mine(fmt.Sprint("granted/", i)), t.mine(fmt.Sprint("denied/", i)))
	}
	return filters
}

// mine is a topic of this trial: granted/x or denied/x beneath the one that was granted.
func (t *trial) mine(what string) string {
	kind, rest, deeper := strings.Cut(what, "/")
	if deeper {
		rest = "/" + rest
	}
	return t.one.Topic + "/" + kind + t.tag + rest
}

func (t *trial) see(what, expected string, s said, state State) {
	t.q.see(Probe, levelName(t.level)+": "+what, expected, s.String(), state)
}

// run answers false if the listener does not offer the level.
func (t *trial) run(ctx context.Context) (offered bool) {
	e := t.q.e
	var s said
	var actual string
	if t.watcher, s, actual = e.enter(ctx, t.p, t.one.as(t.level)); t.watcher == nil {
		if s.is(typeConnack, unsupportedVersion(t.level)) {
			t.see("offered or not", "", s, NotApplicable)
			return false
		}
		t.see("the user with a grant connects (positive control)", "CONNACK 0x00", said{other: actual}, Unknown)
		return true
	}
	defer t.watcher.leave()
	if t.level == level5 {
		t.offers = t.watcher.connack.offers()
	}
	s = t.watcher.subscribe(t.watched()...)
	t.see("subscribe to what was granted (positive control)", "granted", s, passIf(s.ok(typeSuback), Unknown))
	believable := s.ok(typeSuback) && t.control(ctx)
	mark := len(t.q.obs)
	t.deny(ctx)
	if !believable || !t.delivers("after") {
		t.q.doubt(mark)
	}
	return true
}

// control does as the user with the grant all that is then tried without one. It
// answers whether the watcher can be believed, and waits for one missing message
// only: that is enough not to believe it.
func (t *trial) control(ctx context.Context) bool {
	if !t.delivers("before") {
		return false
	}
	for i, w := range ways {
		p := w.publishPacket
		if !t.offered(&p) {
			continue
		}
		p.topic, p.payload = t.mine(fmt.Sprint("granted/", i)), []byte("probe")
		s := t.watcher.publish(p)
		ok := t.answered(s, p.qos) && t.watcher.await(p.topic)
		t.see("publish "+w.name+" what was granted (positive control)", "accepted and delivered", s, passIf(ok, Unknown))
		if p.retain && t.answered(s, p.qos) { // leave nothing behind
			p.payload = nil
			t.watcher.publish(p)
		}
		if !ok {
			return false
		}
	}
	return t.willControl(ctx) && t.aliasControl() && t.shareControl(ctx)
}

// shareControl subscribes to what was granted through a group.
func (t *trial) shareControl(ctx context.Context) bool {
	if t.level != level5 || !t.offers.shared || !t.offers.wildcards {
		return true
	}
	m, s := t.q.e.connect(ctx, t.p, t.one.as(t.level))
	if m != nil {
		defer m.leave()
		s = m.subscribe("$share/g/" + t.one.Topic + "/#")
	}
	t.see("subscribe to what was granted as a group (positive control)", "granted", s, passIf(s.ok(typeSuback), Unknown))
	return s.ok(typeSuback)
}

// answered tells whether a PUBLISH was acknowledged as its QoS wants.
func (t *trial) answered(s said, qos byte) bool {
	return s.ok([]byte{typePingresp, typePuback, typePubrec}[qos])
}

// delivers publishes as the user with the grant and waits for the message: what
// was let through before it would have come before it.
func (t *trial) delivers(when string) bool {
	p := publishPacket{topic: t.mine("granted/" + when), qos: min(1, t.offers.maxQoS)}
	s := t.watcher.publish(p)
	ok := t.answered(s, p.qos) && t.watcher.await(p.topic)
	t.see("a granted message arrives "+when+" the denials (positive control)", "accepted and delivered", s, passIf(ok, Unknown))
	return ok
}

// willControl lets a connection of the user with the grant break and waits for
// its will.
func (t *trial) willControl(ctx context.Context) bool {
	c := t.one.as(t.level)
	c.will = &publishPacket{topic: t.mine("granted/will"), payload: []byte("probe")}
	m, s := t.q.e.connect(ctx, t.p, c)
	ok := false
	if m != nil {
		m.drop()
		ok = t.watcher.await(c.will.topic)
	}
	t.see("the will of a granted topic (positive control)", "CONNACK 0x00 and the message", s, passIf(ok, Unknown))
	return ok
}

// aliasControl publishes a granted topic by its alias.
func (t *trial) aliasControl() bool {
	if t.level != level5 || t.offers.aliases == 0 {
		return true
	}
	topic := t.mine("granted/alias")
	t.watcher.publish(publishPacket{topic: topic, alias: 1})
	first := t.watcher.await(topic)
	s := t.watcher.publish(publishPacket{alias: 1, qos: min(1, t.offers.maxQoS)})
	ok := first && t.answered(s, min(1, t.offers.maxQoS)) && t.watcher.await(topic)
	t.see("publish a granted topic by its alias (positive control)", "accepted and delivered", s, passIf(ok, Unknown))
	return ok
}
