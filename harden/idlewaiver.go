package harden

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/redoubtmq/redoubt/config"
)

// IdleWaiver is a waiver that covers nothing. It is not harmless: it waits for a finding that
// nobody has accepted, and hides it the day it comes.
type IdleWaiver struct {
	ID    string `json:"id"`
	Scope string `json:"scope"`
	Owner string `json:"owner"`
}

func (w IdleWaiver) String() string {
	return fmt.Sprintf("the waiver of %s for %s (%s) covers nothing: nothing fails there. Remove it, before it hides what nobody has accepted", w.ID, w.Scope, w.Owner)
}

// tellIdle has those in the log that were not idle in the run before.
func (b *Background) tellIdle(was, is *Report) {
	for _, w := range is.Idle {
		if was == nil || !slices.Contains(was.Idle, w) {
			b.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "a waiver covers nothing: remove it, before it hides what nobody has accepted",
				slog.String("event", "waiver_idle"), slog.String("id", w.ID), slog.String("scope", w.Scope), slog.String("owner", w.Owner))
		}
	}
}

// findIdle finds them. Of a row that was not looked at, and of a scope where something could not be
// seen, nobody can say; a waiver that a start needs is one that is needed.
func (r *Report) findIdle(waivers []config.Waiver) {
	for i := range waivers {
		w := &waivers[i]
		if config.NeededAtStart(w.ID) || !r.Started.Before(w.Expires.End()) {
			continue
		}
		looked, needed := false, false
		for k := range r.Rows {
			row := &r.Rows[k]
			if row.Check.ID != w.ID {
				continue
			}
			looked = true
			for n := range row.Results {
				x := &row.Results[n]
				mine := w.Scope == cmp.Or(x.Key, config.ScopeNode)
				needed = needed || x.State == Unknown || mine && x.State == Waived
			}
		}
		if looked && !needed {
			r.Idle = append(r.Idle, IdleWaiver{printable(w.ID), printable(w.Scope), printable(w.Owner)})
		}
	}
}
