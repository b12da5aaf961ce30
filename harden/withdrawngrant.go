package harden

import (
	"context"
	"fmt"
	"time"
)

// judgedAnewWithin is how long a right that was taken away may still be used on what its user
// has open.
const judgedAnewWithin = 2 * time.Second

// live is one user whose right is taken away while he is connected, and another with the same
// right, who keeps it: what he sends and gets is the positive control.
type live struct {
	q          *inquiry
	user, kept *client
	topic      string
	qos        byte
	began      time.Time // of taking it away
}

// judgeWithdrawn takes the grant of one away while he is connected and subscribed. eps are
// tried until both users get in at one: rules are the same at all of them.
func (e *Env) judgeWithdrawn(ctx context.Context, eps []*endpoint, one *ProbeUser) Result {
	q := e.inquire("live")
	const what = "a right that is taken away from a client who is connected"
	other, err := e.Broker.AddProbeBeside(ctx, one.Name)
	if err != nil {
		q.see(API, what, "no effect any more", "no second user with the same right could be made: "+shortened(err.Error()), Unknown)
		return q.result(Behavioural, "")
	}
	defer e.endProbe(ctx, &other)
	l := live{q: q, topic: one.Topic + "/live-" + randomText()[:8]}
	last := "there is no entrance"
	for _, p := range eps {
		for _, level := range levels {
			var s said
			if l.user, s = e.connect(ctx, p, one.as(level)); l.user == nil {
				last = s.String()
				continue
			}
			defer l.user.drop()
			if l.kept, s = e.connect(ctx, p, other.as(level)); l.kept == nil {
				last = s.String()
				continue
			}
			defer l.kept.leave()
			l.qos = 1
			if level == level5 {
				l.qos = min(1, l.user.connack.offers().maxQoS)
			}
			l.judge(ctx, p, one)
			return q.result(Behavioural, "a right that is taken away ends for what is open, too")
		}
	}
	q.see(Probe, what, "no effect any more", "neither user got in anywhere: "+last, Unknown)
	return q.result(Behavioural, "")
}

func (l *live) judge(ctx context.Context, p *endpoint, one *ProbeUser) {
	q, at := l.q, " at "+p.scope()+", "+levelName(l.user.level)
	for _, m := range []*client{l.user, l.kept} {
		if s := m.subscribe(l.topic); !s.ok(typeSuback) {
			q.see(Probe, "both users subscribe to what they may read (positive control)"+at, "granted", s.String(), Unknown)
			return
		}
	}
	for _, from := range []*client{l.user, l.kept} {
		s := l.publish(from)
		ok := l.accepted(s) && l.user.await(l.topic) && l.kept.await(l.topic)
		q.see(Probe, "both get what either publishes (positive control)"+at, "accepted and delivered", s.String(), passIf(ok, Unknown))
		if !ok {
			return
		}
	}
	l.began = q.e.Clock.Now()
	if err := q.e.Broker.EndGrant(ctx, one.Name); err != nil {
		q.see(API, "take the right away", "done", shortened(err.Error()), Unknown)
		return
	}
	l.reads(at)
	l.writes(ctx, p, one, at)
}

func (l *live) accepted(s said) bool { return s.ok([]byte{typePingresp, typePuback}[l.qos]) }

func (l *live) publish(m *client) said {
	return m.publish(publishPacket{topic: l.topic, qos: l.qos, payload: []byte("probe")})
}

// reads has the other publish until the subscription gets nothing twice running: what a cache
// holds is not gone for good because one message was not delivered.
func (l *live) reads(at string) {
	q := l.q
	what, want := "the live subscription of a user whose right was taken away"+at, fmt.Sprintf("gets nothing after %v", judgedAnewWithin)
	var last time.Duration // of the latest message that came
	for silent := 0; silent < 2; silent++ {
		sent := q.e.Clock.Now().Sub(l.began)
		s := l.publish(l.kept)
		if !l.accepted(s) || !l.kept.await(l.topic) {
			q.see(Probe, "the user who kept the right publishes and gets it (positive control)"+at, "accepted and delivered", s.String(), Unknown)
			return
		}
		l.user.take()
		err := l.user.settled()
		if len(l.user.take()) > 0 {
			if last, silent = sent, -1; sent > judgedAnewWithin {
				q.see(Probe, what, want, fmt.Sprintf("delivered what was published %v after", sent.Round(time.Millisecond)), Fail)
				return
			}
			continue
		}
		if err == nil {
			continue
		}
		if s := saidError(err, l.user.level); l.user.quiet(0) == nil { // it is open, and did not answer
			q.see(Probe, what, want, s.String(), Unknown)
			return
		}
		break // a connection that is closed gets nothing more
	}
	actual := "nothing was delivered from the first message on"
	if last > 0 {
		actual = fmt.Sprintf("the last that was delivered was published %v after", last.Round(time.Millisecond))
	}
	q.see(Probe, what, want, fmt.Sprintf("%s; looked at until %v after", actual, q.e.Clock.Now().Sub(l.began).Round(time.Millisecond)), Pass)
}

// writes publishes as the user whose right was taken away, on the connection he has, or on a
// new one if that was closed.
func (l *live) writes(ctx context.Context, p *endpoint, one *ProbeUser, at string) {
	q := l.q
	what, want := "publish by a user whose right was taken away"+at, "refused, and not delivered"
	if l.user.lives() != nil {
		m, s := q.e.connect(ctx, p, one.as(l.user.level))
		if m == nil {
			q.see(Probe, what, want, "the user cannot connect: "+s.String(), Unknown)
			return
		}
		l.user = m
		defer m.drop()
	}
	l.kept.take()
	sent := q.e.Clock.Now().Sub(l.began)
	s := l.publish(l.user)
	err := l.kept.settled()
	got := l.kept.take()
	control := l.publish(l.kept)
	actual := fmt.Sprintf("%s, %v after", s, sent.Round(time.Millisecond))
	state := Unknown
	switch {
	case len(got) > 0:
		state, actual = Fail, actual+"; delivered"
	case s.is(typePuback, 0x87), s.is(typeDisconnect, 0x87), l.user.level != level5 && s.closed, l.qos == 0 && s.ok(typePingresp):
		state = Pass
	case l.accepted(s):
		if state = Fail; l.user.level != level5 {
			state = Warn // a false acknowledgement, which MQTT 3.1.1 leaves a broker
		}
	}
	q.see(Probe, what, want, actual, state)
	if ok := err == nil && l.accepted(control) && l.kept.await(l.topic); !ok && state != Fail {
		q.see(Probe, "the user who kept the right publishes and gets it (positive control)"+at, "accepted and delivered", control.String(), Unknown)
	}
}
