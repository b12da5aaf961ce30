package listener

import (
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// Admit gives a connection from a its place at l, or says what refused it: the
// listener's own list of addresses first, which costs least, then the door that all
// listeners have together. by is the access rule, where that refused.
func (l *Listener) Admit(now time.Time, a netip.Addr) (place Admission, refusal Refusal, by string) {
	ok, by := l.Access.Load().Judge(a)
	if !ok {
		l.Door.count.Inc(metrics.ConnectionsRefusedAccess)
		l.Tally.Refuse(Denied)
		return Admission{}, Denied, by
	}
	place, refusal = l.Door.admit(now, a, l.Shakes(), &l.Gate)
	l.Tally.Refuse(refusal)
	return place, refusal, ""
}
