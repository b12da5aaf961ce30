package harden

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// waiverSoon is how many days before its end a waiver counts as one that expires soon.
const waiverSoon = 14

// waiverSeen is a waiver of the configuration in force, and whether its end is in the log.
type waiverSeen struct {
	config.Waiver
	ended bool
}

func (w *waiverSeen) same(o *config.Waiver) bool { return w.ID == o.ID && w.Scope == o.Scope }

// auditWaivers has in the log which waivers there are at the start, and which have come, changed,
// ended and gone since.
func (b *Background) auditWaivers(now time.Time, inForce []config.Waiver) {
	b.mu.Lock()
	defer b.mu.Unlock()
	say := func(warn bool, what, event string, w *config.Waiver, class []slog.Attr) {
		level := slog.LevelInfo
		if warn {
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{slog.String("event", event), slog.String("id", w.ID), slog.String("scope", w.Scope), slog.String("owner", w.Owner), slog.String("reason", w.Reason), slog.String("expires", w.Expires.String()),
			slog.String("approver", w.Approver), slog.String("compensating_control", w.Compensating)}
		b.o.Log.LogAttrs(context.Background(), level, what, append(attrs, class...)...)
	}
	var next []waiverSeen
	for i := range inForce {
		w := waiverSeen{Waiver: inForce[i]}
		at := slices.IndexFunc(b.waivers, func(o waiverSeen) bool { return o.same(&inForce[i]) })
		switch {
		case !b.audited:
			say(false, "waiver in force", "waiver_in_force", &inForce[i], classed(ocsfAccess, ocsfCreate))
		case at < 0:
			say(false, "waiver created", "waiver_created", &inForce[i], classed(ocsfAccess, ocsfCreate))
		case b.waivers[at].Waiver != inForce[i]:
			say(false, "waiver changed", "waiver_changed", &inForce[i], classed(ocsfActivity, ocsfClose))
		default:
			w.ended = b.waivers[at].ended
		}
		if !w.ended && !now.Before(w.Expires.End()) {
			w.ended = true
			say(true, "waiver expired: what it was for is a failure again, and a restart or a reload is refused until it is gone or waived anew", "waiver_expired", &inForce[i], classed(ocsfAccess, ocsfUpdate))
		}
		next = append(next, w)
	}
	for i := range b.waivers {
		if !slices.ContainsFunc(inForce, func(o config.Waiver) bool { return b.waivers[i].same(&o) }) {
			say(false, "waiver removed", "waiver_removed", &b.waivers[i].Waiver, classed(ocsfAccess, ocsfUpdate))
		}
	}
	b.waivers, b.audited = next, true
}

// waiverCounts are those in force by how long they last.
func (b *Background) waiverCounts(now time.Time) (active, expiring, expired int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waivers {
		switch end := b.waivers[i].Expires.End(); {
		case !now.Before(end):
			expired++
		case end.Sub(now) <= waiverSoon*24*time.Hour:
			expiring++
		default:
			active++
		}
	}
	return active, expiring, expired
}
