package listener

import (
	"time"

	"github.com/redoubtmq/redoubt/limit"
)

// Who is known is who has proved who he is: an address from which a CONNECT was
// accepted, while that client is there and for limit.KnownFor after it, and a client
// that has shown a certificate which its listener accepts. The known have
// limits.known_share of what strangers compete for: of unauthenticated_total, of
// handshakes_total, of the last places of connections_total, and of
// limits.handshake_cpu.
//
// A session ticket makes nobody known. crypto/tls hands one to whoever finishes a
// handshake, before he has said who he is, and a ticket can be read off the wire
// and sent by others: either way somebody without credentials would have the share.

// Accepted says that the CONNECT of this connection was accepted.
func (a *Admission) Accepted(now time.Time) {
	if a.door != nil && !a.accepted {
		a.known, a.accepted = true, a.door.known.Enter(now, a.from)
	}
}

// Proven says that the client of this connection has shown a certificate that its
// listener accepts. Its CONNECT may still be refused, and its address is not known
// because of it.
func (a *Admission) Proven() {
	a.known = true
	w := a.places()
	w.stranger.Prove()
	w.guest.Prove()
}

// Known tells whether this client is known, while limits.known_share gives the known
// anything.
func (a *Admission) Known() bool {
	return a.known && a.door != nil && a.door.sharing.Load()
}

// gone is the end of a connection that was accepted.
func (a *Admission) gone() {
	if a.accepted {
		a.accepted = false
		a.door.known.Gone(time.Unix(a.door.seconds.Load(), 0), a.from)
	}
}

// knows tells whether connections from the address of a are known, and notes the
// time for those who leave.
func (d *Door) knows(now time.Time, a *Admission) bool {
	d.seconds.Store(now.Unix())
	return d.known.Has(now, a.from)
}

// share puts limits.known_share in force.
func (d *Door) share(percent int) {
	d.sharing.Store(percent > 0)
	for _, w := range []*limit.Waiting{d.strangers, d.shakers} {
		w.SetShare(percent)
	}
}
