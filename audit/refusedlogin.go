package audit

import (
	"context"
	"log/slog"
	"time"
)

// RefusedLogin keeps that a CONNECT, or a re-authentication, was refused, writes it down, and
// answers what to tell the client. Who has proved an identity is refused as that: in a place of
// his own among clients, with a line a minute for identity and reason. Everybody else is a
// stranger, with a line a minute for network and reason, whatever he calls himself. from is the
// address as the line has it, and more stands in the line beside what r has.
func (l *Log) RefusedLogin(now time.Time, r Refusal, from string, more ...slog.Attr) Ref {
	proven, user, client := r.Identity != "", r.Identity, ""
	if !proven {
		user, client = r.Username, r.ClientID // whoever knows one of a probe has it from us
	}
	ref := l.recent.add(now, r, l.subjectOf(user, client, proven))
	c, s := &l.strangers, subject{event: r.Event, what: r.Reason.String()}
	if proven {
		c, s.who = &l.clients, clientKey(r.Identity, "") // not by what it calls its clients: that is any number of names
	} else {
		s.from = prefixOf(r.Address)
	}
	last := latest{ref, clip(r.Username), clip(r.ClientID)}
	if l.fold(user, client, last) || !c.speak(now, s, slog.LevelWarn, last) {
		return ref
	}
	attrs := []slog.Attr{slog.String("address", from), slog.String("listener", r.Listener)}
	if r.Username != "" || r.ClientID != "" {
		attrs = append(attrs, slog.String("user", clip(r.Username)), slog.String("client_id", clip(r.ClientID)))
	}
	if proven {
		attrs = append(attrs, slog.String("identity", clip(r.Identity)))
	}
	if r.By != "" {
		attrs = append(attrs, slog.String("authenticator", r.By))
	}
	attrs = append(append(attrs, slog.String("reason", r.Reason.String())), more...)
	l.out.LogAttrs(context.Background(), slog.LevelWarn, r.Event, append(attrs, slog.String("ref", ref.String()), slog.String("why", clip(r.Why)))...)
	return ref
}
