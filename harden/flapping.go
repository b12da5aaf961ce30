package harden

import (
	"context"
	"fmt"
	"time"
)

// Flapping is how often one client may connect, as the running process holds it.
type Flapping struct {
	Connects int           // within Window; more of them ban the client. 0: nobody is
	Window   time.Duration // from the first connect
	Ban      time.Duration
}

// Those of the checklist.
const (
	flappingConnects = 15
	flappingWindow   = time.Minute
	flappingBan      = 5 * time.Minute
)

// flappingProbeMax is how many connects a probe is willing to make in a row with one client identifier.
const flappingProbeMax = 50

// flappings is row P4.4: who connects over and over is shut out, and nobody can bring that about for
// somebody else.
func flappings(ctx context.Context, e *Env) []Result {
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	b, err := e.broker(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	out := []Result{e.judgeFlappingLimits(&b.Flapping)}
	if b.Flapping.Connects == 0 {
		return out
	}
	if len(eps) == 0 {
		return append(out, unknown(e, "the broker has no listener for clients that could be probed")...)
	}
	var users [2]ProbeUser
	for i := range users {
		if users[i], err = e.addProbe(ctx, false); err != nil {
			return append(out, unknown(e, "no probe user could be made: "+err.Error())...)
		}
		defer e.endProbe(ctx, &users[i])
	}
	for i := range eps {
		p := &eps[i]
		q := e.at(p.scope(), p.addr)
		q.key = p.key
		f := flapper{inquiry: q, ctx: ctx, p: p, set: b.Flapping, own: &users[0], other: &users[1]}
		f.run()
		good := "shuts out who connects over and over, and nobody else"
		if p.addr.network == networkUnix {
			good = "connects are not counted on a unix socket"
		}
		out = append(out, q.result(Behavioural, good))
	}
	return out
}

// judgeFlappingLimits compares what the process holds with the checklist.
func (e *Env) judgeFlappingLimits(f *Flapping) Result {
	q := e.inquire("node")
	q.key = "flapping"
	const what = "connects of one client, as the process holds it"
	want := fmt.Sprintf("more than %d in %v ban it for %v or longer", flappingConnects, flappingWindow, flappingBan)
	actual := fmt.Sprintf("more than %d in %v ban it for %v", f.Connects, f.Window, f.Ban)
	state := Pass
	switch {
	case f.Connects == 0:
		actual, state = "nobody is banned: flapping.connects is 0", Warn
	case f.Window <= 0 || float64(f.Connects)/f.Window.Seconds() > float64(flappingConnects)/flappingWindow.Seconds(), f.Ban < flappingBan:
		state = Warn
	}
	q.see(API, what, want, actual, state)
	q.source("GET /api/v5/configs")
	if state == Warn {
		q.wantFlapping(f)
		q.mend("set flapping.connects, flapping.window and flapping.ban to the values of the checklist, unless clients need others")
	}
	return q.result(Behavioural, "within the checklist")
}

// flapper is one round at one entrance.
type flapper struct {
	*inquiry
	ctx        context.Context
	p          *endpoint
	set        Flapping
	own, other *ProbeUser // who flaps, and somebody else with credentials of his own
	level      byte
}

// run has a client connect once too often. The ban it brings about is lifted again, also when the
// rest went wrong; if not even that can be done, it ends by itself.
func (f *flapper) run() {
	n := f.set.Connects
	switch {
	case f.p.addr.network == networkUnix:
		f.see(ReadConfig, "connects of one client", "", "not counted on a unix socket: without an address nothing but names would tell clients apart", NotApplicable)
		return
	case n > flappingProbeMax:
		f.see(Probe, "connecting once too often", "banned", fmt.Sprintf("not tried: %d connects are more than a probe makes", n+1), Unknown)
		return
	}
	f.level = level5
	id := f.e.clientID()
	began := f.e.Clock.Now()
	banned := false
	defer func() {
		if banned {
			_ = f.e.Broker.EndBan(context.WithoutCancel(f.ctx), id) // it ends by itself
		}
	}()
	for i := 0; i < n; i++ {
		s, in := f.as(f.own, f.own, id)
		if i == 0 && !in && s.is(typeConnack, unsupportedVersion(level5)) {
			f.level = level4
			s, in = f.as(f.own, f.own, id)
		}
		if !in {
			banned = true // perhaps
			f.see(Probe, fmt.Sprintf("connect %d of %d that are allowed (positive control)", i+1, n), "CONNACK 0x00", s.String(), Unknown)
			return
		}
	}
	f.see(Probe, fmt.Sprintf("%d connects with one client identifier, as many as are allowed (positive control)", n), "CONNACK 0x00 for each", "CONNACK 0x00 for each", Pass)
	s, in := f.as(f.own, f.own, id)
	took := f.e.Clock.Now().Sub(began)
	banned = !in
	what := fmt.Sprintf("connect %d of that client", n+1)
	switch {
	case in && took >= f.set.Window:
		f.see(Probe, what, f.bannedCode(), fmt.Sprintf("%s; proves nothing: they took %v, and it counts for %v", s, took.Round(time.Millisecond), f.set.Window), Unknown)
		return
	case in:
		f.see(Probe, what, f.bannedCode(), s.String()+": nobody counts", Fail)
		return
	}
	f.see(Probe, what, f.bannedCode(), s.String(), passIf(f.isBan(s), Unknown))
	if !f.isBan(s) {
		return
	}
	s, in = f.as(f.other, f.other, id)
	state := passIf(in, Unknown)
	if f.isBan(s) {
		state = Fail // whoever knows the name of a client can have it banned
	}
	f.see(Probe, "another user with the same client identifier, while that ban is in force", "CONNACK 0x00", s.String(), state)
	err := f.e.Broker.EndBan(f.ctx, id)
	if err != nil {
		f.see(API, "the ban, lifted by the administration", "gone", shortened(err.Error()), Unknown)
		return
	}
	banned = false
	s, in = f.as(f.own, f.own, id)
	f.see(Probe, "the client whose ban was lifted", "CONNACK 0x00", s.String(), passIf(in, Unknown))
	f.strangers()
}

// strangers has somebody without the secret connect as often with the names of a client, which must not
// count against that client.
func (f *flapper) strangers() {
	const what, want = "a client whose names somebody without its secret has used before, once too often", "CONNACK 0x00"
	if f.p.byCert {
		f.see(Probe, what, "", "clients are known by their certificates here: nobody comes so far without one (row P3.4)", NotApplicable)
		return
	}
	id := f.e.clientID()
	for range f.set.Connects + 1 {
		if s, in := f.as(f.own, f.other, id); in || s.packet == nil {
			f.see(Probe, what, want, "not tried: with another user's secret the answer was "+s.String(), Unknown)
			return
		}
	}
	s, in := f.as(f.own, f.own, id)
	state := passIf(in, Unknown)
	if f.isBan(s) {
		state = Fail
		_ = f.e.Broker.EndBan(context.WithoutCancel(f.ctx), id) // it ends by itself
	}
	f.see(Probe, what, want, s.String(), state)
}

// as connects with the name of one user and the secret of another, and leaves again.
func (f *flapper) as(u, secret *ProbeUser, id string) (s said, in bool) {
	c := u.as(f.level)
	c.clientID, c.password = id, secret.Secret.Reveal()
	m, s := f.e.connect(f.ctx, f.p, c)
	m.leave()
	return s, m != nil
}

// isBan tells whether the answer is that for a banned client, which MQTT 3.1.1 has no code of its own for.
func (f *flapper) isBan(s said) bool {
	if f.level == level5 {
		return s.is(typeConnack, 0x8a)
	}
	return s.is(typeConnack, 5)
}

func (f *flapper) bannedCode() string {
	if f.level == level5 {
		return "CONNACK 0x8A"
	}
	return "CONNACK 0x05"
}
