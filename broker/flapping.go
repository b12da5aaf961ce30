package broker

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/internal/shrink"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Flapping bounds how often one client connects. The zero Flapping does not.
type Flapping struct {
	Connects int           // in a Window; 0: any number
	Window   time.Duration // from the first of them
	Ban      time.Duration
}

// flapsMax bounds the windows that a home knows, those that have ended in a ban among them,
// and so the clients whose connects it counts: about 4 MB. Beyond that the window that began
// first is forgotten, which lets its client connect as often again.
const flapsMax = 65_536

// flaps counts connects of clients that have proved who they are, by identity, client
// identifier and the network that they come from. All three are in the key, so that nobody
// adds to the count of somebody else by knowing his names, by sharing his address, or with
// credentials of his own (A058).
//
// A window begins with the first connect and nothing is counted twice, so that a client is
// over only if it has really connected that often within one.
type flaps struct {
	by    map[uint64]flap // by the hash of the key, with a secret seed
	order []flapped       // oldest first; some are not in by any more
	most  shrink.Most
	epoch time.Time // of the times below; a client that has connected once takes 60 bytes so
}

type flap struct {
	since time.Duration
	n     int
}

type flapped struct {
	key   uint64
	since time.Duration
}

// flapKey is what a client's connects are counted by; 0: they are not, because it has no
// address, as on a unix socket.
func (b *Broker) flapKey(by *auth.Principal) uint64 {
	from := bans.Network(by.Addr)
	if !from.IsValid() {
		return 0
	}
	return max(1, maphash.Comparable(b.seed, struct {
		identity, clientID string
		from               netip.Prefix
	}{by.Identity, by.ClientID, from}))
}

// over counts one connect and tells whether it is one too many. Then the count begins anew.
func (f *flaps) over(now time.Time, key uint64, set *Flapping) bool {
	if set.Connects == 0 || key == 0 {
		return false
	}
	if f.epoch.IsZero() {
		f.epoch = now
	}
	at := now.Sub(f.epoch)
	f.sweep(at - set.Window)
	e, known := f.by[key]
	if !known {
		if len(f.order) >= flapsMax { // by has no more: each has its place in order
			f.forget(1)
		}
		if f.by == nil {
			f.by = make(map[uint64]flap)
		}
		e = flap{since: at}
		f.order = append(f.order, flapped{key, at})
	}
	if e.n++; e.n > set.Connects {
		delete(f.by, key)
		return true
	}
	f.by[key] = e
	return false
}

// sweep forgets windows that began before.
func (f *flaps) sweep(before time.Duration) {
	gone := 0
	for gone < len(f.order) && f.order[gone].since <= before {
		gone++
	}
	if gone > 0 {
		f.forget(gone)
	}
}

// forget forgets the oldest windows. Those of order that are over already count.
func (f *flaps) forget(n int) {
	f.most.Note(len(f.by))
	for _, o := range f.order[:n] {
		if f.by[o.key].since == o.since {
			delete(f.by, o.key)
		}
	}
	f.order = f.order[n:]
	if len(f.order) == 0 {
		f.by, f.order = nil, nil
		return
	}
	f.by = shrink.Map(f.by, &f.most)
}

// flapped bans a client that has connected once too often.
func (h *Home) flapped(now time.Time, by *auth.Principal, set *Flapping) *mqtt.Error {
	reason := fmt.Sprintf("more than %d connects in %v", set.Connects, set.Window)
	ban := h.b.bans.Flapped(now, by, set.Ban, reason)
	if ban == nil {
		return nil
	}
	h.count.Inc(metrics.FlappingDetected)
	h.count.Inc(metrics.BansRefused.At(banKind(ban)))
	h.b.log.Event(now, slog.LevelWarn, "client banned for flapping", by.Identity+"\x00"+by.ClientID,
		slog.String("user", by.Username), slog.String("client_id", by.ClientID), slog.String("address", by.Addr.String()), slog.String("listener", by.Listener),
		slog.String("network", ban.From.String()), slog.String("why", reason), slog.String("limit", "flapping.connects"), slog.String("until", bans.UntilText(ban.Until)))
	return &mqtt.Error{Reason: mqtt.Banned, Detail: "banned: flapping, " + reason}
}
