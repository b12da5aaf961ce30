package conn

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/mqtt"
)

// keptOut writes down why a connection was not let in, once a minute, network and
// reason. by is the access rule, where that refused it.
func (s *Server) keptOut(now time.Time, r listener.Refusal, by string, from netip.AddrPort, l *listener.Listener) {
	s.stranger(now, from, l, top.Refused)
	switch r {
	case listener.Denied:
	case listener.NoProxy:
		s.broker.Log().Stranger(now, slog.LevelWarn, "connection refused: its address is none of the proxies that the listener knows", from.Addr(), l.Name, func() []slog.Attr {
			return []slog.Attr{slog.String("key", "listeners."+l.Name+".proxy_sources"), slog.String("address", from.Addr().String()), slog.String("listener", l.Name)}
		})
		return
	default:
		s.refusedAtDoor(now, r, from, l)
		return
	}
	s.broker.Log().Stranger(now, slog.LevelWarn, "connection refused by an access rule", from.Addr(), l.Name, func() []slog.Attr {
		return []slog.Attr{slog.String("address", from.Addr().String()), slog.String("listener", l.Name), slog.String("rule", by)}
	})
}

// stranger counts what somebody has done who has not proved who he is.
func (s *Server) stranger(now time.Time, from netip.AddrPort, l *listener.Listener, m top.Measure) {
	s.broker.Top().Stranger(now, from.Addr(), l.Name, m)
}

// enforceSome is how many connections a loop looks at before it does something else:
// each is a look-up of some ten nanoseconds, or the end of a client.
const enforceSome = 1024

// Enforce closes the connections that the access rules of their listeners refuse now. It
// returns at once; the loops do it beside their work.
func (s *Server) Enforce() {
	for _, l := range s.loops {
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.enforce(0) }})
	}
}

// enforce goes on with the connections from this slot on. Who moves to a loop that is
// past it is judged there, when its session begins.
func (l *Loop) enforce(from int) {
	for i := from; i < len(l.conns); i++ {
		if i == from+enforceSome {
			l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.enforce(i) }})
			return
		}
		c := l.conns[i]
		if c == nil || c.stage == closing {
			continue
		}
		if ok, by := c.listener.Access.Load().Judge(c.place.From()); !ok {
			l.guard(c, func() { l.outlaw(c, by) })
		}
	}
}

// outlaw ends a connection whose address its listener's rules refuse by now.
func (l *Loop) outlaw(c *Conn, by string) {
	l.server.broker.Log().Stranger(l.now, slog.LevelWarn, "a connection is refused by a new access rule, closed", c.place.From(), c.listener.Name, func() []slog.Attr {
		return []slog.Attr{slog.String("address", c.from().String()), slog.String("listener", c.listener.Name), slog.String("rule", by)}
	})
	if c.stage != open {
		l.abort(c, broker.CauseNotAuthorized)
		return
	}
	l.home.Fail(l.now, c.session, &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "refused by an access rule: " + by})
}

// stillWelcome judges a connection that is about to get its session: the rules may have
// changed while it was on its way.
func (c *Conn) stillWelcome() *mqtt.Error {
	if c.listener.Gone.Load() {
		return &mqtt.Error{Reason: mqtt.ServerUnavailable, Detail: "its listener was removed or stopped"}
	}
	if ok, by := c.listener.Access.Load().Judge(c.place.From()); !ok {
		return &mqtt.Error{Reason: mqtt.NotAuthorized, Detail: "refused by an access rule: " + by}
	}
	return nil
}
