package conn

import (
	"log/slog"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// exchange is the enhanced authentication of one connection (§4.12): before its
// CONNECT is accepted, and again whenever the client asks. Only connections with
// an Authentication Method have one.
type exchange struct {
	method  string
	run     auth.Exchange // nil while none is under way
	busy    bool          // a step has not been answered
	connect *mqtt.Connect // who the client says it is, for the next time
	ours    bool          // the client id is: it sent none
	data    []byte        // for CONNACK
}

// beginExchange starts the exchange a CONNECT asks for. An error has begun nothing.
func (l *Loop) beginExchange(c *Conn, p *mqtt.Connect) *mqtt.Error {
	run, refusal := l.server.broker.Begin(p, c.peer())
	if refusal != nil {
		l.count.Inc(metrics.AuthnFailureMethod)
		return refusal
	}
	x := &exchange{
		method: p.AuthMethod, run: run, ours: c.hello().assigned,
		connect: &mqtt.Connect{
			Version: p.Version, ClientID: p.ClientID, Username: p.Username, HasUsername: p.HasUsername,
			AuthMethod: p.AuthMethod, HasAuthMethod: true, MaximumPacketSize: p.MaximumPacketSize,
		},
	}
	v := c.more()
	v.auth = x
	c.with(v)
	return nil
}

// step gives the mechanism what the client sent. Its answer is a verdict event.
func (l *Loop) step(c *Conn, data []byte) {
	c.auth().busy = true
	c.auth().run.Step(data, func(r auth.Result) {
		l.inbox.post(event{kind: evVerdict, conn: c, verdict: r})
	})
}

// authPacket takes an AUTH. Before CONNACK it can only continue [MQTT-4.12.0-3];
// later it can also begin anew, by the method of CONNECT [MQTT-4.12.1-1].
func (l *Loop) authPacket(c *Conn, p *mqtt.Auth) error {
	x := c.auth()
	wrong := func(rule, why string) error {
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: rule, Detail: why}
	}
	switch {
	case x == nil:
		return wrong("MQTT-4.12.0-7", "AUTH without an authentication method in CONNECT")
	case p.Method != x.method:
		return wrong("MQTT-4.12.0-5", "AUTH of another method than CONNECT")
	case x.busy:
		return wrong("§4.12", "AUTH before the last one was answered")
	case p.Reason == mqtt.ReAuthenticate && c.stage == open && x.run == nil:
		run, refusal := l.server.broker.Begin(x.connect, c.peer())
		if refusal != nil {
			return &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: refusal.Detail}
		}
		x.run = run
	case p.Reason != mqtt.ContinueAuthentication || x.run == nil:
		return wrong("MQTT-4.12.0-3", "AUTH with "+p.Reason.String()+" at this point")
	}
	if c.stage == exchanging {
		c.stage = authenticating
		c.place.Busy(true)
	}
	l.step(c, p.Data)
	return nil
}

// sendAuth answers a step [MQTT-4.12.0-2]. It tells whether the client takes a
// packet of that size.
func (l *Loop) sendAuth(c *Conn, reason mqtt.ReasonCode, data []byte) (sent bool) {
	a := mqtt.Auth{Reason: reason, Method: c.auth().method, Data: data}
	b := a.Append(nil, mqtt.V5, 0)
	if most := c.auth().connect.MaximumPacketSize; most != 0 && len(b) > int(most) {
		return false
	}
	l.Send(c.ref, session.Packet(b))
	return true
}

// tooMuch is what becomes of a client that cannot take an AUTH.
var tooMuch = &mqtt.Error{Reason: mqtt.PacketTooLarge, Rule: "MQTT-3.1.2-24", Detail: "AUTH is over the client's Maximum Packet Size"}

// goOnWith asks a client that is not let in yet for its next step. Who fails one is
// refused like anybody else [MQTT-4.12.0-4].
func (l *Loop) goOnWith(c *Conn, data []byte) {
	c.auth().busy = false
	if !l.sendAuth(c, mqtt.ContinueAuthentication, data) {
		l.refuse(c, tooMuch, c.hello().connect.MaximumPacketSize)
		return
	}
	c.stage = exchanging
	c.place.Busy(false)
	l.consume(c, c.half.rest())
	l.resumeReading(c)
}

// reauthenticated acts on a step of a client that is in. Who fails is out at once:
// there is no time in which old rights last [MQTT-4.12.1-2].
func (l *Loop) reauthenticated(c *Conn, r *auth.Result) {
	x := c.auth()
	x.busy = false
	switch r.Outcome {
	case auth.Continue:
		if !l.sendAuth(c, mqtt.ContinueAuthentication, r.Data) {
			l.home.Fail(l.now, c.session, tooMuch)
		}
		return
	case auth.Allow:
		x.run = nil
		e := l.home.Reauthenticate(l.now, c.session, r.Principal)
		if e != nil {
			l.refusedAgain(c, e.Reason, "", e.Detail)
		} else if !l.sendAuth(c, mqtt.Success, r.Data) {
			e = tooMuch
		}
		if e != nil {
			l.home.Fail(l.now, c.session, e)
			return
		}
		l.count.Inc(metrics.AuthnSuccess)
		return
	}
	l.count.Inc(c.authnMetric(r))
	l.refusedAgain(c, r.Reason, r.By, r.Detail)
	reason := mqtt.NotAuthorized // DISCONNECT knows no code for a wrong password
	if r.Outcome == auth.Unavailable {
		reason = mqtt.ServerBusy
	}
	l.home.Fail(l.now, c.session, &mqtt.Error{Reason: reason})
}

// refusedAgain writes down that a client which is in has failed to prove who it is anew, or was
// refused all the same. It has proved it once: this is kept with what else that one was refused.
func (l *Loop) refusedAgain(c *Conn, reason mqtt.ReasonCode, judge, why string) {
	by := l.home.Who(c.session)
	l.server.broker.Log().RefusedLogin(l.now, audit.Refusal{
		Event: "re-authentication refused, closed", Identity: by.Identity, Username: by.Username, ClientID: c.auth().connect.ClientID, Assigned: c.auth().ours,
		Listener: c.listener.Name, Address: c.place.From(), Reason: reason, Judge: audit.Judge{By: judge}, Why: why,
	}, whence(c.from()), slog.String("method", c.auth().method))
}
