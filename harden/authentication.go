package harden

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/audit"
)

// authentication is row P4.1: at every entrance, on all protocol levels, nobody
// comes in without proof, and a socket nobody knows about is not an entrance.
func authentication(ctx context.Context, e *Env) []Result {
	eps, strangers, err := e.endpoints(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	var out []Result
	for i := range strangers {
		out = append(out, e.judgeStranger(ctx, &strangers[i]))
	}
	all, _ := e.listening(ctx) // endpoints asked the same
	for i := range all {
		if s := &all[i]; s.name != "" && s.protocol == "" && s.network == "tcp" {
			out = append(out, e.judgeService(ctx, s))
		}
	}
	if len(eps) == 0 {
		return append(out, Result{Scope: "node", State: Unknown, Summary: "the broker has no listener for clients that could be probed"})
	}
	u, err := e.addProbe(ctx, false)
	if err != nil {
		return append(out, unknown(e, "no probe user could be made: "+err.Error())...)
	}
	defer e.endProbe(ctx, &u)
	var known *endpoint // an entrance that knows users by what they say
	var tried []*endpoint
	for i := range eps {
		p := &eps[i]
		if p.byCert {
			q := e.at(p.scope(), p.addr)
			q.key = p.key
			q.see(ReadConfig, "clients", "", "known by their certificates: rows P3.4 and P3.5", NotApplicable)
			out = append(out, q.result(Behavioural, "clients are known by their certificates: rows P3.4 and P3.5"))
			continue
		}
		if known == nil {
			known = p
		}
		tried = append(tried, p)
	}
	chains := e.judgeChains(ctx, eps)
	if known == nil { // nothing was tried at an entrance, for which the row is there
		if chains.State == Fail {
			out = append(out, chains)
		}
		return out
	}
	out = append(out, chains)
	out = append(out, each(tried, func(p *endpoint) Result { return e.judgeEntrance(ctx, p, &u) })...)
	for _, p := range e.timed(tried) { // one after the other, when the broker has nothing else to hash
		out = append(out, e.judgeTiming(ctx, p, &u))
	}
	return append(out, e.judgeDeleted(ctx, known, &u))
}

// addProbe makes a user, whose name marks what strangers of the run call themselves from now on.
func (e *Env) addProbe(ctx context.Context, grant bool) (ProbeUser, error) {
	u, err := e.Broker.AddProbe(ctx, grant)
	if err == nil && len(u.Name) > audit.ProbeMarkBytes {
		e.seen.mu.Lock()
		e.seen.mark = u.Name[:audit.ProbeMarkBytes]
		e.seen.mu.Unlock()
	}
	return u, err
}

// announce tells the broker by a user, which is ended at once, what strangers of the run call
// themselves. That it cannot is no matter: then they have lines of the log like others.
func (e *Env) announce(ctx context.Context) {
	if u, err := e.addProbe(ctx, false); err == nil {
		e.endProbe(ctx, &u)
	}
}

// clientID is one that nobody else has. It begins like the name of the last user of the run, by
// which the log knows that a refusal is of this run, whoever it is of.
func (e *Env) clientID() string {
	e.seen.mu.Lock()
	defer e.seen.mu.Unlock()
	if e.seen.mark == "" {
		return "probe-" + randomText()
	}
	return e.seen.mark + randomText()[:8]
}

// endProbe ends a probe user also when the run was cut short; if that fails, it
// ends by itself.
func (e *Env) endProbe(ctx context.Context, u *ProbeUser) {
	if u.Name == "" {
		return // ended already
	}
	_ = e.Broker.EndProbe(context.WithoutCancel(ctx), u.Name)
}

// stranger is somebody who wants in without being entitled to.
type stranger struct {
	what string
	connectPacket
}

// strangersFor lists who must not come in, for one known user. The name of a
// user is no secret, so each is tried with a name that exists.
func strangersFor(level byte, u *ProbeUser) []stranger {
	none, unknown := "", "probe-"+randomText()
	wrong := []byte("wrong-" + randomText())
	list := []stranger{
		{"no user name, no password", connectPacket{}},
		{"an empty user name", connectPacket{user: &none}},
		{"an empty user name, an empty password", connectPacket{user: &none, hasPass: true}},
		{"a user that does not exist", connectPacket{user: &unknown, password: wrong, hasPass: true}},
		{"a user that does not exist, with another user's secret", connectPacket{user: &unknown, password: u.Secret.Reveal(), hasPass: true}},
		{"a known user without a password", connectPacket{user: &u.Name}},
		{"a known user with an empty password", connectPacket{user: &u.Name, hasPass: true}},
		{"a known user with a wrong password", connectPacket{user: &u.Name, password: wrong, hasPass: true}},
		{"a known user with a part of the secret", connectPacket{user: &u.Name, password: u.Secret.Reveal()[:len(u.Secret.Reveal())-1], hasPass: true}},
	}
	if level == level5 {
		list = append(list,
			stranger{"an unknown authentication method", connectPacket{method: "probe-" + randomText()}},
			stranger{"an unknown authentication method beside the right secret", connectPacket{method: "probe-" + randomText(), user: &u.Name, password: u.Secret.Reveal(), hasPass: true}})
	}
	if level == level3 { // decided where 3.1.1 is; each hash is worth milliseconds of the broker
		list = append(list[:4:4], list[6:8]...)
	}
	for i := range list {
		list[i].level = level
	}
	return list
}

// judgeEntrance tries everybody at one address. The user with the right secret
// is the positive control, before and after: a listener that refuses everybody,
// or began to on the way, proves nothing.
func (e *Env) judgeEntrance(ctx context.Context, p *endpoint, u *ProbeUser) Result {
	q := e.at(p.scope(), p.addr)
	q.key = p.key
	offered := 0
	for _, level := range levels {
		first, isOffered := q.enters(ctx, p, u, level, "before")
		if !isOffered {
			continue
		}
		offered++
		mark := len(q.obs)
		for _, s := range append(strangersFor(level, u), e.forged(p, level)...) {
			q.refused(ctx, p, &s)
		}
		last, _ := q.enters(ctx, p, u, level, "after")
		if !first || !last {
			q.doubt(mark)
		}
	}
	if offered == 0 {
		q.see(Probe, "protocol levels", "at least one is offered", "none", Unknown)
	}
	return q.result(Behavioural, "refuses everybody without proof")
}

// enters is the positive control. offered is false if the listener does not
// speak this protocol level at all.
func (q *inquiry) enters(ctx context.Context, p *endpoint, u *ProbeUser, level byte, when string) (in, offered bool) {
	m, s, actual := q.e.enter(ctx, p, u.as(level))
	m.leave()
	if m == nil && s.is(typeConnack, unsupportedVersion(level)) {
		q.see(Probe, levelName(level), "offered or not", "not offered: "+s.String(), NotApplicable)
		return false, false
	}
	q.see(Probe, fmt.Sprintf("%s: the right secret, %s the others (positive control)", levelName(level), when), "CONNACK 0x00", actual, passIf(m != nil, Unknown))
	return m != nil, true
}

func unsupportedVersion(level byte) byte {
	if level == level5 {
		return 0x84
	}
	return 0x01
}

// refused tries one stranger. Only a CONNACK that says so proves a refusal: a
// connection that just ends may have had another reason.
func (q *inquiry) refused(ctx context.Context, p *endpoint, s *stranger) {
	m, answer := q.e.connect(ctx, p, s.connectPacket)
	codes, want := []byte{0x86, 0x87}, "CONNACK 0x86 or 0x87"
	switch {
	case s.method != "":
		codes, want = []byte{0x8c}, "CONNACK 0x8C"
	case s.level != level5:
		codes, want = []byte{4, 5}, "CONNACK 0x04 or 0x05"
	}
	state := Unknown
	switch {
	case m != nil:
		m.leave()
		state = Fail
	case answer.is(typeConnack, codes...):
		state = Pass
	}
	q.see(Probe, levelName(s.level)+": "+s.what, want, answer.String(), state)
}

// judgeStranger is about a socket that neither the broker nor the configuration
// knows. That it is there is the finding; what it lets in is worth knowing.
func (e *Env) judgeStranger(ctx context.Context, s *socket) Result {
	q := e.inquire("socket:" + s.String())
	q.see(ReadKernel, "listening socket "+s.String(), "a listener or a service of the configuration", "nobody knows about it", Fail)
	if s.network == "tcp" {
		for _, a := range q.e.spots(s) {
			q.anonymous(ctx, a)
		}
	}
	q.fixes = []string{"find out what opened it (ss -ltnp), and stop that"}
	return q.result(Behavioural, "")
}

// judgeService makes sure that a socket which is not for clients does not take
// any.
func (e *Env) judgeService(ctx context.Context, s *socket) Result {
	q := e.inquire("service:" + s.name + "@" + s.addr.String())
	q.key = s.key
	for _, a := range e.spots(s) {
		q.anonymous(ctx, a)
	}
	return q.result(Behavioural, "is not an entrance for MQTT clients")
}

// anonymous sends a CONNECT without a name, in plain text, and inside TLS where
// that is spoken.
func (q *inquiry) anonymous(ctx context.Context, a spot) {
	state, what := Pass, fmt.Sprintf("CONNECT without a user name at %s", a)
	s := q.e.anonymousPlain(ctx, a)
	if s.ok(typeConnack) {
		state = Fail
	}
	q.see(Probe, what+" in plain text", "no CONNACK 0x00", s.String(), state)
	g, err := q.e.greet(ctx, a, hello{legacy: tls12, supported: []uint16{tls13, tls12}}, false)
	if err != nil || g.accepted == 0 {
		return
	}
	m, s := q.e.connect(ctx, &endpoint{addr: a, tls: true}, connectPacket{level: level4})
	state = Pass
	if m != nil {
		m.leave()
		state = Fail
	}
	q.see(Probe, what+" inside TLS", "no CONNACK 0x00", s.String(), state)
}

// anonymousPlain puts an empty line behind the CONNECT, so that a server of HTTP
// need not be waited for.
func (e *Env) anonymousPlain(ctx context.Context, a spot) said {
	conn, err := e.dial(ctx, a)
	if err != nil {
		return said{other: "no connection: " + shortened(err.Error())}
	}
	defer conn.Close()
	m := newClient(ctx, e, conn, level4)
	c := connectPacket{level: level4, clientID: e.clientID()}
	return m.ask(append(c.encode(), "\r\n\r\n"...), typeConnack)
}

// judgeDeleted makes sure that a user who is deleted is cut off at once. It ends
// the probe user.
func (e *Env) judgeDeleted(ctx context.Context, p *endpoint, u *ProbeUser) Result {
	q := e.inquire("node")
	const what, want = "connection of a user who is deleted", "closed by the broker"
	known := *u // u itself is emptied once it has ended
	c := known.as(level4)
	m, _, actual := e.enter(ctx, p, c)
	if m == nil {
		c.level = level5
		m, _, actual = e.enter(ctx, p, c)
	}
	if m == nil {
		q.see(Probe, what, want, "the user did not get in before: "+actual, Unknown)
		return q.result("", "")
	}
	defer m.drop()
	if s := m.ask([]byte{typePingreq << 4, 0}, typePingresp); !s.ok(typePingresp) {
		q.see(Probe, what, want, "it did not live before: "+s.String(), Unknown)
		return q.result("", "")
	}
	if err := e.Broker.EndProbe(ctx, known.Name); err != nil {
		q.see(API, what, want, "the user could not be deleted: "+err.Error(), Unknown)
		return q.result("", "")
	}
	u.Name = ""
	err := m.quiet(min(e.step(), cutWithin))
	if err == nil {
		q.see(Probe, what, want, fmt.Sprintf("still open after %v", min(e.step(), cutWithin)), Fail)
	} else {
		q.see(Probe, what, want, saidError(err, m.level).String(), Pass)
	}
	again, s := e.connect(ctx, p, c)
	q.see(Probe, "CONNECT of a user who was deleted", "refused", s.String(), passIf(s.is(typeConnack, 0x86, 0x87, 4, 5), Unknown))
	if again != nil {
		again.leave()
		q.obs[1].State = Fail
	}
	return q.result(Behavioural, "a user who is deleted is cut off at once")
}

// cutWithin is how long that may take.
const cutWithin = 2 * time.Second
