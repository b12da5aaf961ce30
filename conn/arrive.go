package conn

import (
	"log/slog"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/wheel"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// arrive takes a new connection in. Its deadline began when it was accepted, so
// what the handshake took is gone; rounding down a tick keeps it from being
// late.
func (l *Loop) arrive(c *Conn) {
	if !l.receive(c) {
		return
	}
	l.begin(c)
}

// begin reads a connection whose handshake is done.
func (l *Loop) begin(c *Conn) {
	if c.ws() != nil && len(c.ws().first) > 0 {
		first := c.ws().first
		c.ws().first = nil
		l.input(c, first)
	}
	l.resumeReading(c)
}

// deadlineEarly is how much before its deadline the timer of a connection is due: a tick until it
// fires, and one for the turns that those who are late together take (overduePerTurn), which is room for a
// thousand of them and more.
const deadlineEarly = 2 * wheel.Tick

// receive gives a new connection its place on the loop and its deadline.
func (l *Loop) receive(c *Conn) (ok bool) {
	l.adopt(c)
	if l.ending {
		l.abort(c, broker.CauseShutdown)
		return false
	}
	c.pace.lastSeen = l.moment
	l.timers.Set(c.ref.Slot, l.server.time(c.pace.until).Add(-deadlineEarly))
	l.before.push(l, c)
	return true
}

// shaken continues after a handshake that a goroutine of the engine did.
func (l *Loop) shaken(c *Conn, err error) {
	kept := c.place.Handshaken()
	if err != nil {
		l.server.handshakeFailed(l.now, c.from(), c.listener, err)
		l.abort(c, broker.CauseHandshake)
		return
	}
	if !kept {
		l.makeRoom(c)
		return
	}
	c.place.Busy(false)
	if c.listener.TLS != nil {
		if c.trust() != nil && len(c.sock.Shown()) > 0 {
			c.place.Proven()
		}
		l.count.Inc(metrics.HandshakesOK)
		agreed := c.sock.Agreed()
		if agreed.count(l.count); agreed.Resumed {
			c.place.Resumed(l.now)
		}
	}
	if c.ws() != nil {
		l.count.Inc(metrics.UpgradesOK)
	}
	c.stage = awaitingConnect
	l.begin(c)
}

// authenticate asks the listener's chain. The answer comes as an event, at once
// or later.
func (s *Server) authenticate(l *Loop, c *Conn) {
	s.broker.Authenticate(c.hello().connect, c.peer(), &c.hello().request, func(r auth.Result) {
		l.inbox.post(event{kind: evVerdict, conn: c, verdict: r})
	})
}

// verdict lets a proven client go home, or closes.
func (l *Loop) verdict(c *Conn, r *auth.Result) {
	if c.stage == open && c.auth() != nil && c.auth().busy {
		l.reauthenticated(c, r)
		return
	}
	if c.stage != authenticating {
		return
	}
	if r.Outcome == auth.Continue {
		l.goOnWith(c, r.Data)
		return
	}
	if r.Outcome != auth.Allow {
		l.count.Inc(c.authnMetric(r))
		c.hello().judge = r.By
		if r.Proven != nil {
			c.hello().by = *r.Proven
		}
		l.refuse(c, &mqtt.Error{Reason: r.Reason, Detail: r.Detail}, c.hello().connect.MaximumPacketSize)
		return
	}
	l.count.Inc(metrics.AuthnSuccess)
	if !c.place.Authenticated() {
		l.makeRoom(c)
		return
	}
	if c.auth() != nil {
		c.auth().run, c.auth().busy, c.auth().data = nil, false, r.Data
	}
	c.hello().by, c.hello().until = r.Principal, l.server.time(c.pace.until)
	key, refusal := l.server.broker.Place(&c.hello().by, c.hello().connect.ClientID)
	if refusal != nil {
		l.refuse(c, refusal, c.hello().connect.MaximumPacketSize)
		return
	}
	home := l.server.broker.HomeOf(key)
	if home == l.id {
		l.open(c)
		return
	}
	c.sock.Leave()
	l.forget(c) // the socket, the unread bytes and the place move with c
	l.server.loops[home].inbox.post(event{kind: evHome, conn: c})
}

// open connects c to its session, on the loop where that lives.
func (l *Loop) open(c *Conn) {
	if l.ending {
		l.abort(c, broker.CauseShutdown)
		return
	}
	hello := c.hello()
	if refusal := c.stillGood(l); refusal != nil {
		l.refuse(c, refusal, hello.connect.MaximumPacketSize)
		return
	}
	if hello.to == nil {
		hello.to = &hello.arrives
		*hello.to = broker.Arrival{Conn: c.ref, Connect: hello.connect, By: hello.by, Assigned: hello.assigned, Later: func(refusal *mqtt.Error) {
			e := event{kind: evReady, conn: c}
			if refusal != nil {
				e.err = refusal
			}
			l.inbox.post(e)
		}}
		if c.auth() != nil {
			hello.to.AuthData, c.auth().data = c.auth().data, nil
		}
	}
	c.stage = open // what Open sends is sent
	o, refusal := l.home.Open(l.now, hello.to)
	if refusal != nil {
		c.stage = authenticating
		l.refuse(c, refusal, hello.connect.MaximumPacketSize)
		return
	}
	if o.Later {
		c.stage = authenticating
		l.timers.Set(c.ref.Slot, hello.until.Add(-deadlineEarly)) // of this loop, to which it may have come just now
		return
	}
	c.arrived()
	c.half.whole()
	c.armed = false
	c.session = o.Ref
	c.place.Accepted(l.now)
	c.opened, c.clean = l.now.UnixMilli(), hello.connect.CleanStart
	c.pace.lastSeen = l.moment
	c.pace.keepAliveMillis = uint32((o.KeepAlive * 3 / 2).Milliseconds()) //nolint:gosec // at most 65,535 s, and a half
	l.timers.Set(c.ref.Slot, l.now.Add(c.pace.patience()))
	l.consume(c, c.half.rest())
	l.resumeReading(c)
}

// ready asks the broker again, which had c wait, or passes on why it may not go on.
func (l *Loop) ready(c *Conn, err error) {
	if c.stage != authenticating { // it is closing
		return
	}
	if refusal, no := err.(*mqtt.Error); no {
		l.refuse(c, refusal, c.hello().connect.MaximumPacketSize)
		return
	}
	l.open(c)
}

// giveUp tells the broker, which had c wait, that it does not come any more.
func (l *Loop) giveUp(c *Conn) {
	if c.hello() != nil && c.hello().to != nil {
		l.home.GiveUp(c.hello().to)
	}
}

// ended handles the end of input.
func (l *Loop) ended(c *Conn, err error) {
	if l.endsLater(c, mayBeOver) {
		return
	}
	switch {
	case c.place.Evicted(): // on the portable engine an eviction looks so
		l.makeRoom(c)
		return
	case c.stage == greeting, c.stage == awaitingConnect, c.stage == authenticating, c.stage == exchanging:
		l.refused(c, "the connection ended before CONNECT was accepted", nil)
	}
	l.abort(c, broker.CauseGone)
}

// whyOverdue is who was let wait until the deadline (A003, A077).
const whyOverdue = "no accepted CONNECT within limits.connect_deadline"

// refused writes down why a connection was not accepted. What can be repeated at
// will is told once a minute per source prefix, or per identity where one was proven; of what
// the client is told the last are kept for a while, under the reference that it gets.
func (l *Loop) refused(c *Conn, why string, e *mqtt.Error) (ref audit.Ref) {
	if e != nil {
		return l.refusedConnect(c, e)
	}
	l.server.stranger(l.now, c.from(), c.listener, top.Refused)
	level := slog.LevelDebug // port scans and health probes do it
	if why == whyOverdue {
		level = slog.LevelInfo // they do not stay that long
	}
	l.server.broker.Log().Stranger(l.now, level, "connection closed before CONNECT", c.place.From(), why, func() []slog.Attr {
		attrs := []slog.Attr{slog.String("address", whence(c.from())), slog.String("listener", c.listener.Name)}
		if c.hello() != nil {
			attrs = append(attrs, slog.String("user", auth.ShownName(c.hello().connect.Username)), slog.String("client_id", c.hello().connect.ClientID))
		}
		return append(attrs, slog.String("why", why))
	})
	return 0
}

// refusedConnect is refused of a CONNECT that was understood, or broken.
func (l *Loop) refusedConnect(c *Conn, e *mqtt.Error) audit.Ref {
	r := audit.Refusal{Event: "CONNECT refused", Listener: c.listener.Name, Address: c.place.From(), Reason: e.Reason, Why: e.Detail}
	if h := c.hello(); h != nil {
		r.Username, r.ClientID, r.Assigned, r.Identity = auth.ShownName(h.connect.Username), h.connect.ClientID, h.assigned, h.by.Identity
		r.By = h.judge
		if h.by.Identity != "" {
			r.Username = h.by.Username
		}
	}
	l.countRefused(c)
	var more []slog.Attr
	if e.Rule != "" {
		more = []slog.Attr{slog.String("rule", e.Rule)}
	}
	return l.server.broker.Log().RefusedLogin(l.now, r, whence(c.from()), more...)
}

// countRefused counts a CONNECT that was refused: by who was proven, or else by where it came
// from. What a stranger calls himself is counted nowhere.
func (l *Loop) countRefused(c *Conn) {
	switch h := c.hello(); {
	case h == nil: // it was no whole CONNECT
		l.server.stranger(l.now, c.from(), c.listener, top.Refused)
	case h.by.Identity == "":
		l.server.stranger(l.now, c.from(), c.listener, top.Logins)
	default:
		l.home.Refused(l.now, &h.by, h.connect.ClientID)
	}
}

func (c *Conn) authnMetric(r *auth.Result) metrics.ID {
	switch r.Reason {
	case mqtt.ServerBusy:
		return metrics.AuthnUnavailableBusy
	case mqtt.ServerUnavailable:
		return metrics.AuthnUnavailableBackend
	case mqtt.BadUserNameOrPassword, mqtt.NotAuthorized:
		if c.auth() == nil && c.hello() != nil && !c.hello().connect.HasPassword && len(c.sock.Shown()) == 0 {
			return metrics.AuthnFailureNoCredentials
		}
		return metrics.AuthnFailureCredentials
	case mqtt.BadAuthenticationMethod:
		return metrics.AuthnFailureMethod
	}
	return metrics.AuthnFailureOther
}
