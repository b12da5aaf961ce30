package conn

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// resumeReading asks the socket for more, unless something holds it back.
func (l *Loop) resumeReading(c *Conn) {
	p := &c.pace
	if !c.listens() {
		return
	}
	if c.out.answers() > answersMax && !p.choked {
		p.choked = true // it sends and does not read: its answers wait with it
	}
	if p.reading || p.held || p.choked || p.timed || c.greedy || c.half.ending() != goesOn {
		return
	}
	p.reading = true
	c.sock.Read()
}

// Pause implements broker.Wire.
func (l *Loop) Pause(ref broker.ConnRef, until time.Time) {
	c := l.at(ref)
	if c == nil {
		return
	}
	if until.IsZero() {
		if !c.pace.held {
			c.pace.held = true
			l.count.Add(metrics.PublishersPaused, 1)
		}
		return
	}
	if at := l.server.instant(until); !c.pace.timed || at > c.pace.until { // whoever wants it longest
		c.pace.until = at
	}
	if !c.pace.timed {
		c.pace.timed = true
		l.paused = append(l.paused, ref)
		l.count.Add(metrics.PublishersPaused, 1)
	}
}

// Resume implements broker.Wire.
func (l *Loop) Resume(ref broker.ConnRef) {
	if c := l.at(ref); c != nil && c.pace.held {
		c.pace.held = false
		l.count.Add(metrics.PublishersPaused, -1)
		c.pace.lastSeen = l.moment // it could not have been heard
		l.resumeReading(c)
	}
}

// unpause forgets the pauses of a connection that is ending.
func (l *Loop) unpause(c *Conn) {
	if c.pace.held {
		c.pace.held = false
		l.count.Add(metrics.PublishersPaused, -1)
	}
	if c.pace.timed {
		c.pace.timed = false
		l.count.Add(metrics.PublishersPaused, -1)
	}
}

const (
	// overduePerTurn bounds how many connections one turn ends because their time is over. To end one
	// takes some 50 microseconds, more with a will, and those who came together are late together: a
	// flood of strangers, or a fleet behind a link that is down.
	overduePerTurn = 8
	// lookedPerTurn bounds how many it looks at. Most have been heard in time, and their timer is set
	// again, which takes a tenth of a microsecond: 100,000 clients with a keep alive of a minute are
	// two thousand a second, and with one of a second far more than turns have room for ends.
	lookedPerTurn = 4096
	lookedAtOnce  = 512
)

// lookAtLate ends connections whose time is over, as many as a turn has room for.
func (l *Loop) lookAtLate() {
	ended := 0
	for range lookedPerTurn / lookedAtOnce {
		l.fired = l.timers.Advance(l.now, l.fired[:0], lookedAtOnce)
		for i, slot := range l.fired {
			c := l.conns[slot]
			if c == nil {
				continue
			}
			was := c.stage
			l.guard(c, func() { l.overdue(c) })
			if c.stage == was {
				continue
			}
			l.again = l.again || was == open // its will, or what its session says to the log, is the next turn's
			if ended++; ended == overduePerTurn || !l.strangersMay() {
				l.timers.PutBack(l.fired[i+1:])
				l.again = true
				return
			}
		}
		if len(l.fired) < lookedAtOnce {
			return
		}
	}
	l.again = true
}

// tick looks at deadlines: before CONNECT, keep alive, the last bytes of a
// closing connection, pauses, and those of the home.
func (l *Loop) tick() {
	l.home.Tick(l.now)
	still, resumed := l.paused[:0], l.resumed[:0]
	for _, ref := range l.paused {
		c := l.at(ref)
		if c == nil || !c.pace.timed {
			continue
		}
		if l.moment < c.pace.until {
			still = append(still, ref)
			continue
		}
		c.pace.timed = false
		l.count.Add(metrics.PublishersPaused, -1)
		c.pace.lastSeen = l.moment // it could not have been heard
		if c.greedy {
			continue // its turn comes
		}
		resumed = append(resumed, ref)
	}
	l.paused, l.resumed = still, resumed[:0]
	for _, ref := range resumed { // who may be paused again
		if c := l.at(ref); c != nil {
			l.guard(c, func() { l.goOn(c) })
		}
	}
}

// overdue handles c's timer.
func (l *Loop) overdue(c *Conn) {
	switch c.stage {
	case greeting, shaking, awaitingConnect, authenticating, exchanging:
		switch {
		case c.stage != greeting && c.stage != shaking:
		case c.listener.TLS == nil:
			c.listener.Tally.Failed()
			l.count.Inc(metrics.UpgradesFailedTimeout)
		default:
			c.listener.Tally.Failed()
			l.count.Inc(metrics.HandshakesFailedTimeout)
		}
		if c.stage == authenticating && c.hello().until.IsZero() { // it waited for a verdict, and there was none
			l.count.Inc(metrics.AuthnUnavailableTimeout)
		}
		l.refused(c, whyOverdue, nil)
		l.abort(c, broker.CauseConnectTimeout)
	case open:
		if c.pace.held || c.pace.timed { // we do not listen, so silence says nothing
			c.pace.lastSeen = l.moment
		}
		due := l.server.time(c.pace.lastSeen).Add(c.pace.patience())
		if c.out.writing {
			stuck := l.server.time(c.out.since()).Add(stuckMax)
			if !l.now.Before(stuck) {
				l.server.broker.Log().Stranger(l.now, slog.LevelInfo, "client did not read, closed", c.place.From(), "", func() []slog.Attr {
					return append(l.named(c), slog.Duration("for", stuckMax))
				})
				l.abort(c, broker.CauseSlow)
				return
			}
			if stuck.Before(due) {
				due = stuck
			}
		}
		late, until := l.unfinished(c)
		if late {
			l.home.Fail(l.now, c.session, &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: "a packet was begun and not finished in time"})
			return
		}
		if !until.IsZero() && until.Before(due) {
			due = until
		}
		if l.now.Before(due) {
			l.timers.Set(c.ref.Slot, due)
			return
		}
		l.count.Inc(metrics.KeepAliveTimeouts)
		l.home.Fail(l.now, c.session, &mqtt.Error{Reason: mqtt.KeepAliveTimeout, Rule: "MQTT-3.1.2-22", Detail: "silent for one and a half times the keep alive"})
	case closing:
		l.abort(c, broker.CauseSlow)
	}
}
