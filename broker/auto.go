package broker

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic/template"
)

// AutoSubscription is a subscription that every client gets when it connects, as if
// it had asked. The rules judge it as they would judge that.
type AutoSubscription struct {
	Filter  template.Template
	Options mqtt.Subscription // all but the filter
}

// autoSubscribe subscribes a client that has just connected. What it may not have
// is left out, and told to the operator once a minute and user.
func (h *Home) autoSubscribe(now time.Time, r *resident, set *Settings) {
	for i := range set.AutoSubscribe {
		a := &set.AutoSubscribe[i]
		filter, err := a.Filter.Append(nil, values(&r.by))
		why := ""
		if err != nil {
			why = err.Error()
		} else {
			ask := a.Options
			ask.Filter = string(filter)
			rc, e := h.subscribe(now, r, &ask, 0)
			switch {
			case e != nil:
				why = e.Error()
			case rc >= 0x80:
				why = rc.String()
			}
		}
		if why != "" {
			h.b.log.Event(now, slog.LevelWarn, "automatic subscription refused", r.by.Identity+"\x00"+a.Filter.String(),
				slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("listener", r.by.Listener),
				slog.String("filter", a.Filter.String()), slog.String("action", auth.Subscribe.String()), slog.String("why", why))
		}
	}
}
