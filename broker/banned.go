package broker

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
)

// Bans are judged when a client has proved who it is, and never before: who only knows a
// name learns nothing of its ban, and cannot bring one about (A058). Addresses are refused
// at the door, too, where it costs less.

// shutOut refuses a client that is banned, and one that connects too often from now on.
func (h *Home) shutOut(now time.Time, a *Arrival, set *Settings) *mqtt.Error {
	if e := h.refuseBanned(now, &a.By); e != nil {
		return e
	}
	if a.counted || h.full(&a.By, a.Connect, set) || h.turnAway(&a.By, a.Connect.ClientID, set) != nil { // it had to wait, and is here again; or it is told to come again
		return nil
	}
	a.counted = true
	if !h.work.flaps.over(now, h.b.flapKey(&a.By), &set.Flapping) {
		return nil
	}
	return h.flapped(now, &a.By, &set.Flapping)
}

// refuseBanned is the answer to a client that is banned; nil: it is not.
func (h *Home) refuseBanned(now time.Time, by *auth.Principal) *mqtt.Error {
	ban := h.b.bans.Judge(now, by)
	if ban == nil {
		return nil
	}
	h.count.Inc(metrics.BansRefused.At(banKind(ban)))
	return &mqtt.Error{Reason: mqtt.Banned, Detail: "banned: " + describe(ban)}
}

// banKind is the place of a ban's kind in metrics.BansRefused.
func banKind(ban *bans.Ban) int {
	if ban.From.IsValid() {
		return len(bans.Names)
	}
	return int(ban.As)
}

// describe is a ban in the words of the log. What a client may have chosen is not among
// them: the line has its name anyway.
func describe(ban *bans.Ban) string {
	text := ban.As.String()
	switch ban.As {
	case bans.Peerhost, bans.PeerhostNet, bans.ClientIDRe, bans.UsernameRe:
		text += " " + ban.Who
	}
	if ban.By != "" {
		text += ", by " + ban.By
	}
	if ban.Reason != "" {
		text += " (" + ban.Reason + ")"
	}
	return text
}

// silenced tells whether nobody may speak for a client any more that is gone: its will and
// what it has sent for later are not published (A126).
func (h *Home) silenced(now time.Time, by *auth.Principal) bool {
	if h.b.bans.Ordered(now, by) == nil {
		return false
	}
	h.count.Inc(metrics.BansSilenced)
	return true
}

// banSweep is a pass over the sessions by bans that have come to be in force. Those that
// come meanwhile have a pass of their own afterwards: a ban a second would else have the
// first sessions judged over and over, and the last of them never.
type banSweep struct {
	sets, next []*bans.Set
	slot       uint32
}

// Banned closes the connections of clients that these bans shut out, a part at once and
// the rest in turns. Their wills are not published, nor those that wait for their delay;
// their sessions stay until they expire, for those that are let in again.
func (h *Home) Banned(now time.Time, set *bans.Set) {
	if set.Len() == 0 {
		return
	}
	h.work.bans.next = append(h.work.bans.next, set)
	h.banSome(now)
}

const (
	// bansPerTurn bounds how long bans hold up a turn, in names looked up and patterns tried: some
	// hundred microseconds, and more with patterns that find much to try.
	bansPerTurn = 8000
	// endedEffort is what it takes to close a connection, in the same: a ban may be of a network that
	// ten thousand have come from.
	endedEffort = 1000
)

func (h *Home) banSome(now time.Time) {
	w := &h.work.bans
	if len(w.sets) == 0 {
		if len(w.next) == 0 {
			return
		}
		w.sets, w.next, w.slot = w.next, nil, 0
	}
	each := 0
	for _, s := range w.sets {
		each += s.Effort()
	}
	for left := bansPerTurn; left > 0 && int(w.slot) < len(h.slots); w.slot++ {
		left -= each
		r := h.slots[w.slot]
		if r == nil {
			continue
		}
		for _, s := range w.sets {
			if ban := s.Judge(now, &r.by); ban != nil {
				if h.expel(now, r, ban) {
					left -= endedEffort
				}
				break
			}
		}
	}
	if int(w.slot) >= len(h.slots) {
		w.sets = nil
	}
	if len(w.sets)+len(w.next) > 0 {
		h.wire.Again()
	}
}

// expel ends what a banned client has open. A server has no DISCONNECT that says banned
// [§3.14.2.1]. It answers whether there was anything.
func (h *Home) expel(now time.Time, r *resident, ban *bans.Ban) (ended bool) {
	if !r.s.Online() {
		if ended = r.s.HasWill(); ended {
			h.count.Inc(metrics.BansSilenced)
			r.s.DropWill()
			if r.log != nil {
				h.part()
				h.say(now, r.log, store.WillFire, nil)
				h.wire.Again()
			}
		}
		return ended
	}
	if r.s.HasWill() {
		h.count.Inc(metrics.BansSilenced)
	}
	h.count.Inc(metrics.BansClosed)
	h.b.log.Event(now, slog.LevelWarn, "client closed by a ban", r.by.Identity+"\x00"+r.by.ClientID,
		slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID),
		slog.String("address", r.by.Addr.String()), slog.String("listener", r.by.Listener), slog.String("ban", describe(ban)))
	h.wire.Close(r.conn, &mqtt.Disconnect{Reason: mqtt.AdministrativeAction}, CauseKicked)
	h.leave(now, r, false, CauseKicked)
	return true
}
