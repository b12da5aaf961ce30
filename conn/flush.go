package conn

import (
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"time"
)

// flush gives the socket what it will take, once a turn.
func (l *Loop) flush(c *Conn) {
	broad := c.out.broad
	c.out.dirty, c.out.broad = false, false
	if c.stage == gone || c.out.writing {
		return
	}
	if c.out.list != nil {
		c.out.list.lent = 0
	}
	if !c.idle() {
		c.out.writing = !l.write(c)
		if c.out.writing {
			l.watch(c)
		}
		if !c.out.writing && !c.out.empty() { // the rest has its turn when others had theirs
			c.out.dirty = true
			if c.out.broad = broad; broad {
				l.broad.add(c)
			} else {
				l.later = append(l.later, c)
			}
		}
	}
	l.takeBack(&c.out)
	if c.stage == closing {
		if c.idle() && !c.out.writing {
			l.close(c, true)
		}
		return
	}
	if c.out.full && c.out.cost() < roomMax/4 {
		c.out.full = false
		l.home.Writable(l.now, c.session)
	}
	if c.pace.choked && c.out.answers() < answersMax/4 {
		c.pace.choked = false
		l.resumeReading(c)
	}
}

// write gives the socket as much as one turn allows, and tells whether the system has all of it.
func (l *Loop) write(c *Conn) (done bool) {
	to := c.borrower()
	if to == nil {
		b := c.encode(getBuffer(), l.now, l.count)
		l.count.Add(metrics.BytesSent, int64(len(b)))
		return c.sock.Write(b)
	}
	b, behind := c.out.list.lend(getBuffer(), c.version, l.now, l.count)
	l.count.Add(metrics.BytesSent, int64(len(b)+len(behind.bytes)))
	if behind.of == nil {
		return c.sock.Write(b)
	}
	size := behind.of.Size()
	if done = to.WriteLent(b, behind); !done {
		c.out.list.lent = size
	}
	return done
}

// stuckMax is how long the network may take to take one write of at most 64 KiB:
// a client that does not read holds what it was sent, and a connection that does
// not move for this long has no reader (A073).
const stuckMax = 30 * time.Second

// watch gives the write that has begun its time.
func (l *Loop) watch(c *Conn) {
	l.lend(&c.out)
	c.out.has().since = l.moment
	if c.stage == open || c.stage == closing { // before that there is the deadline of the connection
		l.timers.Set(c.ref.Slot, c.deadline(l.now.Add(stuckMax)))
	}
}

// deadline is when the connection is to be looked at next: at its keep alive, at
// the end of its lingering, or at the given time if that is earlier.
func (c *Conn) deadline(or time.Time) time.Time {
	at := c.loop.server.time(c.pace.lastSeen).Add(c.pace.patience())
	if c.stage == closing {
		at = c.loop.server.time(c.out.since()).Add(lingerMax)
	}
	if or.Before(at) {
		return or
	}
	return at
}

// lingerMax is how long a closing connection may take to take its last bytes.
const lingerMax = 2 * time.Second

// part ends a connection from our side: what was answered still leaves, then
// DISCONNECT if the version has it [MQTT-4.13.1-1], then the socket closes. The
// session has been told or is told by the caller.
func (l *Loop) part(c *Conn, say *mqtt.Disconnect, why broker.Cause) {
	if c.stage == closing || c.stage == gone {
		return
	}
	l.count.Inc(closedBy(why))
	c.out.cut()
	if say != nil && c.version == mqtt.V5 && c.stage == open {
		c.out.push(session.Packet(say.Append(nil, c.version, 0)))
	}
	c.stage = closing
	l.unpause(c)
	l.letGo(c)
	l.giveUp(c)
	l.timers.Set(c.ref.Slot, l.now.Add(lingerMax))
	l.mark(c)
}

// abort ends a connection at once, for a reason of ours, and tells its session.
func (l *Loop) abort(c *Conn, why broker.Cause) {
	if c.stage == open {
		l.home.Gone(l.now, c.session)
	}
	if c.stage != closing {
		l.count.Inc(closedBy(why))
	}
	l.close(c, false)
}

// close lets the socket go.
func (l *Loop) close(c *Conn, politely bool) {
	l.unpause(c)
	c.stage = gone
	c.out.discard()
	l.letGo(c)
	l.giveUp(c)
	c.arrived()
	place := c.place
	c.place = listener.Outside(place.From()) // what is said of it yet says where it was
	place.Closing()                          // what is left of it is a socket, which waits for nothing of ours
	l.forget(c)
	c.sock.Close(politely, place)
	l.server.died()
}

var closedByCause = [broker.Causes]metrics.ID{
	broker.CauseGone:           metrics.ConnectionsClosedGone,
	broker.CauseDisconnect:     metrics.ConnectionsClosedDisconnect,
	broker.CauseHandshake:      metrics.ConnectionsClosedHandshake,
	broker.CauseConnectTimeout: metrics.ConnectionsClosedConnectTimeout,
	broker.CauseConnectRefused: metrics.ConnectionsClosedConnectRefused,
	broker.CauseKeepAlive:      metrics.ConnectionsClosedKeepAlive,
	broker.CauseMalformed:      metrics.ConnectionsClosedMalformed,
	broker.CauseProtocol:       metrics.ConnectionsClosedProtocol,
	broker.CauseTooLarge:       metrics.ConnectionsClosedTooLarge,
	broker.CauseNotAuthorized:  metrics.ConnectionsClosedNotAuthorized,
	broker.CauseExpired:        metrics.ConnectionsClosedExpired,
	broker.CauseTakenOver:      metrics.ConnectionsClosedTakenOver,
	broker.CauseKicked:         metrics.ConnectionsClosedKicked,
	broker.CauseSlow:           metrics.ConnectionsClosedSlow,
	broker.CauseQuota:          metrics.ConnectionsClosedQuota,
	broker.CauseEvicted:        metrics.ConnectionsClosedEvicted,
	broker.CauseOverload:       metrics.ConnectionsClosedOverload,
	broker.CauseServerError:    metrics.ConnectionsClosedServerError,
	broker.CauseShutdown:       metrics.ConnectionsClosedShuttingDown,
}

func closedBy(why broker.Cause) metrics.ID { return closedByCause[why] }
