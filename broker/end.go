package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// End ends a session because an operator says so, connected or not. A connected
// client gets DISCONNECT 0x98 first; the will is published, also one that waits
// for its delay, because the session ends [§3.1.3.2.2]. It answers false when the
// session has ended already.
func (h *Home) End(now time.Time, ref Ref) (ended bool) {
	r := h.at(ref)
	if r == nil {
		return false
	}
	if h.afterRestore(func(now time.Time) { h.End(now, ref) }) {
		return true
	}
	if r.s.Online() {
		h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.AdministrativeAction}, CauseKicked)
	}
	if h.at(ref) == r { // it may have ended with its connection
		h.due(now, r, r.s.End(), false)
	}
	return true
}
