package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// ShowLogins has clients that are let in written down as well. It may be called at any time.
func (l *Log) ShowLogins(on bool) { l.shown.Store(on) }

// Admitted writes down that by was let in, once a client and minute, where that is wanted;
// method is who knew it. These lines have a table and a rate of their own: a fleet that comes
// back is a sample of it, and how many were left out is said.
func (l *Log) Admitted(now time.Time, by *auth.Principal, present bool) {
	if !l.shown.Load() || l.fold(by.Identity, "", latest{}) || !l.admitted.speak(now, subject{event: "client let in", who: clientKey(by.Identity, by.ClientID)}, slog.LevelInfo, latest{}) {
		return
	}
	l.out.LogAttrs(context.Background(), slog.LevelInfo, "client let in",
		slog.String("user", clip(by.Username)), slog.String("identity", clip(by.Identity)), slog.String("client_id", clip(by.ClientID)),
		slog.String("address", by.Addr.String()), slog.String("listener", by.Listener),
		slog.String("method", by.Method), slog.Bool("session_present", present))
}
