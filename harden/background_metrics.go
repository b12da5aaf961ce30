package harden

import (
	"strconv"

	"github.com/redoubtmq/redoubt/metrics"
)

// Measure adds what was seen last to the metrics. Until the first run there is nothing but the
// waivers: a score of 0 would be one.
func (b *Background) Measure(m *metrics.Registry) {
	m.GaugeVector(metrics.HardeningCheck, func(set func(int64, ...string)) {
		if rep := b.last.Load(); rep != nil {
			rep.series(b.hung.Load() != nil, set)
		}
	})
	m.GaugeVector(metrics.HardeningScore, func(set func(int64, ...string)) {
		if rep := b.last.Load(); rep != nil && b.hung.Load() == nil {
			set(int64(rep.Score().Points))
		}
	})
	m.GaugeVector(metrics.HardeningLastRun, func(set func(int64, ...string)) {
		if rep := b.last.Load(); rep != nil {
			set(rep.Started.Unix())
		}
	})
	m.GaugeVector(metrics.HardeningTook, func(set func(int64, ...string)) {
		if rep := b.last.Load(); rep != nil {
			for i := range rep.Rows {
				set(rep.Rows[i].Took.Microseconds(), rep.Rows[i].Check.ID)
			}
		}
	})
	m.GaugeVector(metrics.HardeningWaivers, func(set func(int64, ...string)) {
		active, expiring, expired := b.waiverCounts(b.o.Clock.Now())
		set(active, "active")
		set(expiring, "expiring")
		set(expired, "expired")
	})
}

// series are one for each row and scope that was judged. Scopes are of the configuration and of
// the sockets of the process; whoever connects can add none. stale: nobody knows how it is now.
func (r *Report) series(stale bool, set func(value int64, labels ...string)) {
	for i := range r.Rows {
		c := r.Rows[i].Check
		worstOf := map[string]State{}
		var scopes []string
		for _, x := range r.Rows[i].Results {
			if _, known := worstOf[x.Scope]; !known {
				scopes = append(scopes, x.Scope)
			}
			worstOf[x.Scope] = worst(worstOf[x.Scope], x.State)
			if x.State == Waived && worstOf[x.Scope] == NotApplicable {
				worstOf[x.Scope] = Waived
			}
		}
		for _, scope := range scopes {
			if value, judged := gauge(worstOf[scope]); judged {
				if stale {
					value = -1
				}
				set(value, c.ID, strconv.Itoa(c.Phase), string(c.Severity), scope)
			}
		}
	}
}

// gauge is the value of a state; what does not apply, or waits for a person, has none.
func gauge(s State) (value int64, judged bool) {
	switch s {
	case Pass, Warn, Waived:
		return 1, true
	case Fail:
		return 0, true
	case Unknown:
		return -1, true
	}
	return 0, false
}
