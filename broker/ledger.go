package broker

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// ledger is what is remembered of clients beyond their sessions: how often they have
// connected, and what they had spent when a session ended. Otherwise a client that begins
// anew each time would have a whole burst each time. Both are by what was proven, identity
// and client identifier together, and forgotten when it is as if nothing had been spent.
type ledger struct {
	by    map[session.Key]*entry
	order []forgetting // oldest first; some are not in by any more
}

type entry struct {
	connects limit.Bucket
	left     *rates // of a session that has ended; nil: of none
}

type forgetting struct {
	key session.Key
	e   *entry
	at  time.Time
}

// ledgerMax bounds the entries of a home. Each is of a client that was there within the
// time that a burst takes to come again; of more than that the oldest are forgotten.
const ledgerMax = 100_000

// at is the entry of a key, a new one if need be. It is kept at least until then.
func (l *ledger) at(now time.Time, key session.Key) *entry {
	l.sweep(now)
	e := l.by[key]
	if e == nil {
		if l.by == nil {
			l.by = make(map[session.Key]*entry)
		}
		e = &entry{}
		l.by[key] = e
		l.order = append(l.order, forgetting{key, e, now.Add(time.Second)})
	}
	return e
}

// take is what the last session of a key had left to pay; nil: nothing.
func (l *ledger) take(key session.Key) *rates {
	e := l.by[key]
	if e == nil {
		return nil
	}
	left := e.left
	e.left = nil
	return left
}

// sweep forgets some, and tells whether there are more.
func (l *ledger) sweep(now time.Time) (more bool) {
	for n := 0; len(l.order) > 0 && (len(l.by) > ledgerMax || !now.Before(l.order[0].at)); n++ {
		if n == forgetMost {
			return true
		}
		f := l.order[0]
		l.order = l.order[1:]
		if l.by[f.key] != f.e {
			continue
		}
		if rest := f.e.rest(now); rest > 0 && len(l.by) <= ledgerMax {
			f.at = now.Add(rest)
			l.order = append(l.order, f)
			continue
		}
		delete(l.by, f.key)
	}
	if len(l.order) == 0 {
		l.by, l.order = nil, nil
	}
	return false
}

// rest is how long until an entry says nothing any more.
func (e *entry) rest(now time.Time) time.Duration {
	rest := e.connects.Rest(now)
	if e.left != nil {
		rest = max(rest, e.left.rest(now))
	}
	return rest
}

// rest is how long until everything that was spent has come again.
func (p *rates) rest(now time.Time) time.Duration {
	if p.spent == nil {
		return 0
	}
	rest := p.filters.Rest(now)
	if s := p.published; s != nil {
		rest = max(rest, s.messages.Rest(now), s.bytes.Rest(now))
	}
	if s := p.retained; s != nil {
		rest = max(rest, s.messages.Rest(now), s.bytes.Rest(now))
	}
	return rest
}

// remember keeps what a session that ends has spent.
func (h *Home) remember(now time.Time, r *resident) {
	if r.rates.rest(now) == 0 {
		return
	}
	left := r.rates
	left.talk = 0
	if left.published != nil {
		left.published.totals = nil
	}
	if left.retained != nil {
		left.retained.resting = false
	}
	h.work.pacing.ledger.at(now, r.key()).left = &left
}

// recall gives a session that begins what the one before had spent.
func (h *Home) recall(r *resident) {
	if left := h.work.pacing.ledger.take(r.key()); left != nil {
		r.rates = *left
	}
}

// mayConnect judges how often a client connects, once for each CONNECT.
func (h *Home) mayConnect(now time.Time, a *Arrival, key session.Key, set *Settings) *mqtt.Error {
	rate := &set.ConnectRate
	if rate.Connects == 0 || a.rated {
		return nil
	}
	a.rated = true
	connects := &h.work.pacing.ledger.at(now, key).connects
	connects.SetRate(now, int64(rate.Connects), tokens(int64(rate.Connects), rate.Burst))
	if connects.Take(now, 1) {
		return nil
	}
	h.count.Inc(metrics.RatesExceeded.At(connectExceeded))
	h.b.log.Event(now, slog.LevelInfo, "a client connects too often and is refused", a.By.Identity+"\x00"+a.By.ClientID,
		slog.String("user", a.By.Username), slog.String("client_id", a.By.ClientID), slog.String("address", a.By.Addr.String()),
		slog.String("listener", a.By.Listener), slog.String("limit", "limits.client_connect_rate"))
	return &mqtt.Error{Reason: mqtt.ConnectionRateExceeded, Detail: "over limits.client_connect_rate"}
}
