package conn

import (
	"time"

	"github.com/redoubtmq/redoubt/broker"
)

// company is whether several clients publish.
type company struct {
	spoke   broker.ConnRef // last
	changed time.Time      // when that was another one than before
	took    time.Duration  // the turn before
}

// companyFor is how long two clients are taken to keep each other company.
const companyFor = 10 * time.Millisecond

// accompanied tells whether more than one client publishes now.
func (l *Loop) accompanied() bool { return l.now.Sub(l.changed) < companyFor }

// publishes notes that c does. Acknowledgements are no company: they are what a message of c's has caused.
func (l *Loop) publishes(c *Conn) {
	if c.ref == l.spoke {
		return
	}
	if l.spoke != (broker.ConnRef{}) {
		l.changed = l.now
	}
	l.spoke = c.ref
}

// bulkyTime is the least of a turn that a bulky one has in company.
const bulkyTime = 12 * time.Microsecond

// share is how long c may be served in this turn: packetsTime, or half of it where others publish as well. Who has sent
// more than that, and has filled the next read too, has a quarter of what the turn before took: its part where turns are long because of many.
func (l *Loop) share(c *Conn) time.Duration {
	switch {
	case !l.accompanied():
		return packetsTime
	case !c.bulky():
		return packetsTime / 2
	}
	return min(max(bulkyTime, l.took/4), packetsTime/2)
}

// bulk is whether a connection sends more than is served in a turn.
type bulk uint8

const (
	exceeds bulk = 1 << iota // what was read last was more
	bulky                    // what was read before that was more, and what was read last filled the read
)

// bulky tells whether it goes on like this.
func (c *Conn) bulky() bool { return c.bulk&bulky != 0 }

// came tells that so much was read of c, of most that could have been. Less: that was all.
func (c *Conn) came(n, most int) {
	if c.bulk&exceeds != 0 && n >= most {
		c.bulk = bulky
	} else {
		c.bulk = 0
	}
}
