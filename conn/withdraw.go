package conn

import (
	"log/slog"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/pki"
)

// certificate is what the broker is told of a client's certificate.
func (c *Conn) certificate() (shown auth.Certificate) {
	if c.more().via != nil && c.listener.TLS == nil {
		return c.more().via.certificate()
	}
	clients := c.listener.Clients.Load()
	if clients == nil { // or not any more
		return shown
	}
	list := c.sock.Shown()
	if len(list) == 0 {
		return shown
	}
	shown = auth.Certificate{Fingerprint: pki.Fingerprint(list[0]), CommonName: list[0].Subject.CommonName, Subject: list[0].Subject.String()}
	if name, err := clients.Name(list[0]); err == nil { // or the listener has come to go by another field since the handshake
		shown.Name = name
	}
	return shown
}

// recheckSome is how many connections a loop judges again before it does something else:
// where CAs have changed, each takes about as long as a signature or three.
const recheckSome = 64

// Recheck judges the certificates of all connections again, by what their listeners have
// now, and closes those whose certificate was revoked or whose CA is not accepted any more.
// It returns at once; the loops do it beside their work.
func (s *Server) Recheck() {
	for _, l := range s.loops {
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			if l.sweep.asked = true; !l.sweep.under {
				l.recheck(0)
			}
		}})
	}
}

// sweep is a pass over the connections of a loop. One that is asked for in the middle of
// another begins when that one is over: a list that is written every second would else
// have them judged over and over, and the last of them later each time.
type sweep struct{ under, asked bool }

// recheck goes on with the connections from this slot on. Who has no session yet is judged
// again when it gets one: until then it may move to a loop that is past it.
func (l *Loop) recheck(from int) {
	if from == 0 {
		l.sweep = sweep{under: true}
	}
	judged := 0
	for i := from; i < len(l.conns); i++ {
		c := l.conns[i]
		if c == nil || c.stage != open {
			continue
		}
		clients := c.listener.Clients.Load()
		if clients == nil {
			continue
		}
		if judged++; judged > recheckSome {
			l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.recheck(i) }})
			return
		}
		if err := clients.WithdrawnSince(c.trust(), c.sock.Shown(), l.now); err != nil {
			l.guard(c, func() { l.withdrawn(c, err) })
		}
	}
	if l.sweep.under = false; l.sweep.asked {
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.recheck(0) }})
		l.sweep.under = true // until then nobody else begins
	}
}

// named is where a connection is from and, of a client that was let in, whose it is.
func (l *Loop) named(c *Conn) []slog.Attr {
	attrs := []slog.Attr{slog.String("address", whence(c.from())), slog.String("listener", c.listener.Name)}
	if c.stage == open {
		by := l.home.Who(c.session)
		attrs = append(attrs, slog.String("user", by.Username), slog.String("client_id", by.ClientID))
	}
	return attrs
}

// misbehaved writes down a protocol mistake of a connected client.
func (l *Loop) misbehaved(c *Conn, e *mqtt.Error) {
	l.server.broker.Log().Stranger(l.now, slog.LevelInfo, "client broke the protocol, closed", c.place.From(), e.Rule, func() []slog.Attr {
		return append(l.named(c), slog.String("reason", e.Reason.String()), slog.String("rule", e.Rule), slog.String("why", e.Detail))
	})
}

// withdrawn closes a connection whose certificate is not good any more.
func (l *Loop) withdrawn(c *Conn, err error) {
	l.count.Inc(metrics.CertificatesWithdrawn)
	by := l.home.Who(c.session)
	l.server.broker.Log().Event(l.now, slog.LevelWarn, "the certificate of a client was withdrawn, closed", whence(c.from()),
		slog.String("address", whence(c.from())), slog.String("listener", c.listener.Name), slog.String("user", by.Username), slog.String("client_id", by.ClientID),
		slog.String("why", err.Error()))
	l.home.Fail(l.now, c.session, &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: err.Error()})
}

// stillGood tells whether the certificate of a connection that is about to get its session
// is good by what its listener has now, if that is another than when it was judged.
func (c *Conn) stillGood(l *Loop) *mqtt.Error {
	if refusal := c.stillWelcome(); refusal != nil {
		return refusal
	}
	clients := c.listener.Clients.Load()
	if clients == c.trust() || clients == nil {
		return nil
	}
	if err := clients.WithdrawnSince(c.trust(), c.sock.Shown(), l.now); err != nil {
		return &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: err.Error()}
	}
	return nil
}
