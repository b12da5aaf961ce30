package broker

import (
	"net/netip"
	"strings"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic"
)

// Place is how far a walk over the sessions of a home has come; the zero value is
// the start. It holds no session, so that it may be kept or forgotten at will, and
// one that means nothing any longer leads to a place that does.
type Place struct {
	Slot uint32 // the next to look at
	Gen  uint32 // of a session whose subscriptions were seen in part; 0: of none
	Left uint32 // how many of those are still to come
}

// What a walk is charged. A slot costs reaching memory that is in no cache, a row
// several times that, so that one step of StepEffort is well under a millisecond,
// whatever the home holds (A179).
const (
	StepEffort = 2000
	rowEffort  = 3
)

// SessionInfo is what an operator sees of one session.
type SessionInfo struct {
	Key   session.Key
	By    auth.Principal // as last proven
	Ref   Ref
	Conn  ConnRef // means nothing while offline
	Held  session.Held
	Rates Spending
	Has   Belongings // the identity, on the disk
	session.Info
}

// Walk shows fn the sessions that want admits, from the place on, and moves it. It
// spends no more than effort and tells whether the walk is over; if not, the
// caller goes on from the same place when it likes. If fn answers false the walk
// stops after that session.
//
// A session that lives from the first step to the last is seen exactly once; one
// that comes or goes meanwhile is seen or not.
func (h *Home) Walk(at *Place, want *Selection, effort int, fn func(SessionInfo) (more bool)) (done bool) {
	for int(at.Slot) < len(h.slots) {
		if effort <= 0 {
			return false
		}
		effort--
		r := h.slots[at.Slot]
		*at = Place{Slot: at.Slot + 1}
		if r == nil || !want.admits(r) {
			continue
		}
		effort -= rowEffort
		if !fn(SessionInfo{Key: r.key(), By: r.by, Ref: r.ref, Conn: r.conn, Held: r.s.Held(), Rates: h.spending(r), Has: h.belongings(r.by.Mountpoint, r.by.Identity), Info: r.info()}) {
			return false
		}
	}
	return true
}

// info is the session's own account of itself, with the losses that were counted.
func (r *resident) info() session.Info {
	i := r.s.Info()
	if r.log != nil { // what waits in the log waits, too
		i.Flow.Mqueue += r.log.lag.messages
		i.Flow.MqueueBytes += r.log.lag.bytes
	}
	if lost := r.look().lost; lost != nil {
		i.Dropped = i.Dropped.Plus(*lost)
	}
	return i
}

// lose keeps what the metrics are told of, for whoever asks about this session.
func (r *resident) lose(d *session.Drops) {
	m := r.more()
	if m.lost == nil {
		m.lost = new(session.Drops)
	}
	*m.lost = m.lost.Plus(*d)
}

// SubscriptionInfo is one subscription of one session.
type SubscriptionInfo struct {
	Key      session.Key
	Username string
	Online   bool
	session.Sub
}

// WalkSubscriptions is Walk for subscriptions. It stops between two of one session
// if it must, so that a session with many costs a step no more than others do. A
// subscription that stays from the first step to the last is never missed; it is
// seen twice if its session unsubscribes from others just then.
func (h *Home) WalkSubscriptions(at *Place, want *SubscriptionSelection, effort int, fn func(SubscriptionInfo) (more bool)) (done bool) {
	for ; int(at.Slot) < len(h.slots); *at = (Place{Slot: at.Slot + 1}) {
		if effort <= 0 {
			return false
		}
		effort--
		r := h.slots[at.Slot]
		if r == nil || !want.Sessions.admits(r) {
			continue
		}
		// From the last to the first: what is removed is replaced by the last, which
		// has been seen, and what is added comes behind it.
		n := r.s.Subscriptions()
		if at.Gen == r.ref.Gen {
			n = min(n, int(at.Left))
		}
		for n > 0 {
			more := effort > 0
			if more {
				n--
				effort--
				if sub := r.s.Subscription(n); want.admits(&sub) {
					effort -= rowEffort
					more = fn(SubscriptionInfo{Key: r.key(), Username: r.by.Username, Online: r.s.Online(), Sub: sub})
				}
			}
			if !more {
				at.Gen, at.Left = r.ref.Gen, uint32(n)
				return false
			}
		}
	}
	return true
}

// Presence selects by whether somebody is connected.
type Presence uint8

// The presences.
const (
	Anywhere Presence = iota
	Connected
	Disconnected
)

// Selection says which sessions are wanted; an empty field means any.
type Selection struct {
	ClientID string  // exactly
	Like     string  // the client id holds this
	Match    Pattern // the client id as a whole
	Username string
	Listener string
	Network  netip.Prefix // the last address is in it
	Presence Presence

	// Exactly these; nil means any, because an empty one is one too.
	Identity, Mountpoint *string
}

func (w *Selection) admits(r *resident) bool {
	switch {
	case w.Presence != Anywhere && r.s.Online() != (w.Presence == Connected),
		w.ClientID != "" && r.by.ClientID != w.ClientID,
		w.Identity != nil && r.by.Identity != *w.Identity,
		w.Mountpoint != nil && r.by.Mountpoint != *w.Mountpoint,
		w.Username != "" && r.by.Username != w.Username,
		w.Listener != "" && r.by.Listener != w.Listener,
		w.Network.IsValid() && !w.Network.Contains(r.by.Addr),
		w.Like != "" && !strings.Contains(r.by.ClientID, w.Like):
		return false
	}
	return w.Match.Matches(r.by.ClientID)
}

// SubscriptionSelection says which subscriptions are wanted.
type SubscriptionSelection struct {
	Sessions Selection
	Filter   string // exactly; empty: any
	Match    []byte // a topic name the filter matches; empty: any
}

func (w *SubscriptionSelection) admits(sub *session.Sub) bool {
	if w.Filter != "" && sub.Filter != w.Filter {
		return false
	}
	if len(w.Match) == 0 {
		return true
	}
	filter := sub.Filter
	if _, rest, shared, _ := topic.ParseShare(filter); shared {
		filter = rest
	}
	return topic.Match(filter, w.Match)
}

// Pattern is a text in which '*' stands for any characters, also none. The zero
// Pattern matches everything.
type Pattern struct {
	pieces []string // between the stars; nil: everything
}

// NewPattern reads a pattern. Without a star it matches itself only.
func NewPattern(s string) Pattern { return Pattern{strings.Split(s, "*")} }

// Matches tells whether s as a whole fits. It takes the first place of each piece
// and never goes back, so that the time is that of reading s once.
func (p Pattern) Matches(s string) bool {
	if p.pieces == nil {
		return true
	}
	last := len(p.pieces) - 1
	if last == 0 {
		return s == p.pieces[0]
	}
	s, ok := strings.CutPrefix(s, p.pieces[0])
	if !ok {
		return false
	}
	for _, piece := range p.pieces[1:last] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return strings.HasSuffix(s, p.pieces[last])
}
