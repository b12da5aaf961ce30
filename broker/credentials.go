package broker

import (
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/wheel"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Some credentials end while their client is connected: a token has a last second, and an
// operator can take one back. A client that renews what it has, by re-authentication, is
// looked at with what it has now.

// credentials is what a home has to do about them. Clients whose credential never ends have
// nothing here.
type credentials struct {
	ends    *wheel.Wheel // by slot of the session
	due     []Ref        // those whose time has come, and that no turn had room for
	fired   []uint32     // scratch
	revoked revocation
}

// revocation is a pass over the sessions by what was revoked. What comes meanwhile has a
// pass of its own afterwards.
type revocation struct {
	why, next []func(*auth.Principal) string
	slot      uint32
}

const (
	// expirePerTurn bounds how many clients one turn closes: tokens that were made in one
	// second end in one, and each client has a will, and others who wait.
	expirePerTurn = 32
	// revokePerTurn bounds how many sessions one turn looks at, a lookup or two each; one that is
	// closed is endedEffort of them.
	revokePerTurn = 8000
	// armMax is how far ahead a timer is set; one that is further is set again then.
	armMax = 30 * 24 * time.Hour
)

// until is when the credential of a client ends; zero: it does not.
func until(by *auth.Principal) time.Time {
	if by.Claims == nil {
		return time.Time{}
	}
	return by.Claims.Until
}

// over tells whether the credential of a client has ended.
func over(now time.Time, by *auth.Principal) bool {
	at := until(by)
	return !at.IsZero() && !now.Before(at)
}

// watchCredential has the connection of r end with its credential, whatever was set before.
func (h *Home) watchCredential(now time.Time, r *resident) {
	c := &h.credentials
	at := until(&r.by)
	if at.IsZero() || !r.s.Online() {
		c.ends.Clear(r.ref.Slot)
		return
	}
	c.ends.Set(r.ref.Slot, now.Add(min(at.Sub(now), armMax)))
}

// endCredentials closes clients whose credential has ended, a part at once and the rest in turns.
func (h *Home) endCredentials(now time.Time) {
	c := &h.credentials
	c.fired = c.ends.Advance(now, c.fired[:0], math.MaxInt) // to put them on a list is cheap
	for _, slot := range c.fired {
		if r := h.slots[slot]; r != nil {
			c.due = append(c.due, r.ref)
		}
	}
	h.endSome(now)
}

func (h *Home) endSome(now time.Time) {
	c := &h.credentials
	n := min(len(c.due), expirePerTurn)
	for _, ref := range c.due[:n] {
		r := h.at(ref)
		if r == nil || !r.s.Online() {
			continue
		}
		if !over(now, &r.by) { // it was renewed, or its end is far
			h.watchCredential(now, r)
			continue
		}
		h.count.Inc(metrics.CredentialsExpired)
		h.b.log.Event(now, slog.LevelInfo, "client closed: its credential has expired", r.by.Identity+"\x00"+r.by.ClientID, h.whose(r)...)
		h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.NotAuthorized, ReasonString: "the credential has expired"}, CauseExpired)
	}
	if c.due = slices.Delete(c.due, 0, n); len(c.due) > 0 {
		h.wire.Again()
	} else if cap(c.due) > 4*expirePerTurn {
		c.due = nil
	}
}

func (h *Home) whose(r *resident) []slog.Attr {
	return []slog.Attr{slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("address", r.by.Addr.String()),
		slog.String("listener", r.by.Listener), slog.String("method", r.by.Method)}
}

// Revoked closes the connections of clients whose credential is not good any more, as why
// says it: a reason, or nothing where it is. Their wills are not published, because whoever
// had the credential may have left them; their sessions stay until they expire.
func (h *Home) Revoked(now time.Time, why func(*auth.Principal) string) {
	h.credentials.revoked.next = append(h.credentials.revoked.next, why)
	h.revokeSome(now)
}

func (h *Home) revokeSome(now time.Time) {
	w := &h.credentials.revoked
	if len(w.why) == 0 {
		if len(w.next) == 0 {
			return
		}
		w.why, w.next, w.slot = w.next, nil, 0
	}
	for left := revokePerTurn; left > 0 && int(w.slot) < len(h.slots); w.slot++ {
		left--
		r := h.slots[w.slot]
		if r == nil || !r.s.Online() || r.by.Claims == nil {
			continue
		}
		for _, why := range w.why {
			left--
			if text := why(&r.by); text != "" {
				h.withdraw(now, r, text)
				left -= endedEffort
				break
			}
		}
	}
	if int(w.slot) >= len(h.slots) {
		w.why = nil
	}
	if len(w.why)+len(w.next) > 0 {
		h.wire.Again()
	}
}

// revoked tells whether a client had a token that was taken back since.
func (h *Home) revoked(by *auth.Principal) bool {
	return by.Claims != nil && !by.Claims.Issued.IsZero() && h.b.known != nil && !h.b.known(by)
}

func (h *Home) withdraw(now time.Time, r *resident, why string) {
	h.count.Inc(metrics.CredentialsRevoked)
	h.b.log.Event(now, slog.LevelWarn, "client closed: its token was revoked", r.by.Identity+"\x00"+r.by.ClientID, append(h.whose(r), slog.String("why", why))...)
	h.wire.Close(r.conn, &mqtt.Disconnect{Reason: mqtt.AdministrativeAction}, CauseKicked)
	h.leave(now, r, false, CauseKicked)
}
