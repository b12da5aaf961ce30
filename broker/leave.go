package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
)

// Disconnect handles a client's DISCONNECT. The loop closes the connection
// afterwards, as it is the answer [MQTT-3.14.4-2].
func (h *Home) Disconnect(now time.Time, ref Ref, d *mqtt.Disconnect) {
	r := h.at(ref)
	if r == nil {
		return
	}
	if d.SessionExpiry != nil {
		if err := r.s.SetExpiry(min(*d.SessionExpiry, h.b.Settings().SessionExpiryMax)); err != nil {
			h.fail(now, r, err.(*mqtt.Error))
			return
		}
	}
	conn := r.conn
	h.leave(now, r, d.Reason != mqtt.Success, CauseDisconnect) // [MQTT-3.14.4-3]
	h.wire.Close(conn, nil, CauseDisconnect)
}

// Fail ends a connection for a mistake the loop found and wrote down, such as a
// malformed packet.
func (h *Home) Fail(now time.Time, ref Ref, e *mqtt.Error) {
	if r := h.at(ref); r != nil {
		h.dismiss(now, r, e)
	}
}

// Kick ends the connection of a session at the word of an operator, and not the session.
func (h *Home) Kick(now time.Time, ref Ref) {
	if r := h.at(ref); r != nil && r.s.Online() {
		h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.AdministrativeAction}, CauseKicked)
	}
}

// Who is the client of a session; the zero Principal: there is none.
func (h *Home) Who(ref Ref) auth.Principal {
	if r := h.at(ref); r != nil {
		return r.by
	}
	return auth.Principal{}
}

// Gone tells that the connection has ended without us: the will is due.
func (h *Home) Gone(now time.Time, ref Ref) {
	if r := h.at(ref); r != nil && r.s.Online() {
		h.leave(now, r, true, CauseGone)
	}
}

// Revoke closes the connections of identities whose credentials are no longer
// good. Where gone says that the identity does not exist any more, its sessions
// end as well, connected or not, and their wills are not sent: nobody may speak
// for it.
func (h *Home) Revoke(now time.Time, gone map[string]bool) {
	if h.afterRestore(func(now time.Time) { h.Revoke(now, gone) }) {
		return
	}
	h.forgetDelayed(now, gone)
	for _, r := range h.slots {
		if r == nil {
			continue
		}
		deleted, listed := gone[r.by.Identity]
		if !listed {
			continue
		}
		if r.s.Online() {
			h.wire.Close(r.conn, &mqtt.Disconnect{Reason: mqtt.AdministrativeAction}, CauseKicked)
			h.leave(now, r, !deleted, CauseKicked)
		}
		if deleted && h.at(r.ref) == r {
			h.evict(now, r)
		}
	}
}

// ShutDown closes every connection with DISCONNECT 0x8B, or 0x9C where there is
// another server to go to. Wills are not sent:
// the broker going away says nothing about the devices, and a restart must not
// tell everybody that everybody else is dead.
func (h *Home) ShutDown(now time.Time) {
	say := &mqtt.Disconnect{Reason: mqtt.ServerShuttingDown}
	if to := h.b.Settings().ServerReference; to != "" {
		say = &mqtt.Disconnect{Reason: mqtt.UseAnotherServer, ServerReference: to}
	}
	for _, r := range h.slots {
		if r != nil && r.s.Online() {
			h.wire.Close(r.conn, h.fitting(r, say), CauseShutdown)
			h.leave(now, r, false, CauseShutdown)
		}
	}
}

// leave detaches the session of a connection that is ending.
func (h *Home) leave(now time.Time, r *resident, keepWill bool, why Cause) {
	h.countDrops(r)
	h.uncount(r)
	r.unload()
	h.credentials.ends.Clear(r.ref.Slot)
	due := r.s.Detach(now, keepWill)
	h.tellGroups(r)
	h.part()
	h.reshare(now, r, true)
	if r.log != nil {
		if r.s.Unshared() || r.log.lag.first != 0 {
			h.givesBack(r)
		}
		h.b.keptOnline.Add(-1)
		h.release(now, r) // without what others of its groups have now
	}
	if why != CauseShutdown { // whoever would hear it is being disconnected too
		h.tell(now, r, EventDisconnected, func(e *Event) { e.Reason = why.String() })
	}
	h.due(now, r, due, true)
}

// due publishes a will, and ends the session or waits for its next deadline.
func (h *Home) due(now time.Time, r *resident, d session.Due, timed bool) {
	if d.Will != nil {
		h.publishWill(now, r, d.Will)
		if r.log != nil {
			h.say(now, r.log, store.WillFire, nil)
		}
	}
	if d.End {
		if timed && r.s.ExpirySeconds() > 0 {
			h.count.Inc(metrics.SessionsExpired)
		}
		h.evict(now, r)
		return
	}
	h.wake(r)
}

// publishWill sends a will, retained if it asked for that [MQTT-3.1.2-14]
// [MQTT-3.1.2-15], as the session's identity, judged by the rules of
// now. A will does not wait for anything: what it cannot do is dropped and
// counted.
func (h *Home) publishWill(now time.Time, r *resident, w *mqtt.Will) {
	if h.silenced(now, &r.by) || h.withdrawn(&r.by) {
		return
	}
	f := mqtt.NewFrame([]byte(w.Topic), w.Props, w.Payload)
	f.QoS, f.Retain, f.From, f.CreatedAt = w.QoS, w.Retain, r.s.SID, now.UnixMilli()
	f.ExpiresAt = h.b.Settings().expiresAt(now, w.MessageExpiry, w.HasMessageExpiry)
	rc, _ := h.route(now, r.author(), publication{name: f.Topic(), qos: w.QoS, retain: w.Retain, frame: f})
	if rc < 0x80 {
		h.count.Inc(metrics.WillsPublished)
	}
	f.Release()
}

// expiresAt is when a message ends, Unix milliseconds; 0: never. An interval
// over limits.message_expiry_max is cut to it.
func (s *Settings) expiresAt(now time.Time, seconds uint32, has bool) int64 {
	if !has {
		return 0
	}
	return now.UnixMilli() + int64(min(seconds, s.MessageExpiryMax))*1000
}
