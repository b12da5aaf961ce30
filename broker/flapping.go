package broker

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/internal/directory"
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
// and so the clients whose connects it counts: about 3 MB. Beyond that the window that began
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
	by    directory.Directory // of the numbers of windows, by key
	order []flap              // oldest first; some are not in by any more
	first uint32              // number of the first of order; the next has the next one
	epoch time.Time           // of the times below; a client that has connected once takes 30 bytes so
}

// flap is one window.
type flap struct {
	key   uint64 // a hash with a secret seed
	since flapTick
	n     uint32
}

// flapTick is when a window began, in tenths of a second since the epoch: thirteen years of
// them are there, and then all windows begin anew.
type flapTick uint32

const flapUnit = time.Second / 10

func (t flapTick) time() time.Duration { return time.Duration(t) * flapUnit }

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
	at := now.Sub(f.epoch)
	if f.epoch.IsZero() || at < 0 || at >= flapTick(math.MaxUint32).time() {
		f.forget(len(f.order))
		f.epoch, at = now, 0
	}
	f.sweep(at - set.Window)
	number, known := f.by.Find(key, func(number uint32) bool { return f.at(number).key == key })
	if known && f.at(number).since.time() <= at-set.Window { // it is over, and was not swept yet
		f.by.Drop(key, number)
		known = false
	}
	if !known {
		if len(f.order) >= flapsMax { // by has no more: each has its place in order
			f.forget(1)
		}
		if f.first > directory.NumberMax-flapsMax { // after four thousand million: they begin anew, and no window is longer for it
			f.forget(len(f.order))
			f.first = 0
		}
		number = f.first + uint32(len(f.order))               //nolint:gosec // at most flapsMax
		f.add(flap{key: key, since: flapTick(at / flapUnit)}) //nolint:gosec // it fits
		f.by.Put(key, number)
	}
	e := f.at(number)
	if e.n++; int(e.n) > set.Connects {
		f.by.Drop(key, number)
		return true
	}
	return false
}

// add has room for few more than there are: what a slice doubles by would stay while
// everybody who came in a storm is there.
func (f *flaps) add(w flap) {
	if n := len(f.order); n == cap(f.order) {
		f.order = append(make([]flap, 0, n+n/8+8), f.order...)
	}
	f.order = append(f.order, w)
}

// at is the window of a number that by has.
func (f *flaps) at(number uint32) *flap { return &f.order[number-f.first] }

// sweep forgets some of the windows that began before, and tells whether there are more.
func (f *flaps) sweep(before time.Duration) (more bool) {
	gone := 0
	for gone < min(len(f.order), forgetMost) && f.order[gone].since.time() <= before {
		gone++
	}
	if gone > 0 {
		f.forget(gone)
	}
	return gone == forgetMost
}

// forget forgets the oldest windows. Those of order that are over already count.
func (f *flaps) forget(n int) {
	for i := range f.order[:n] {
		f.by.Drop(f.order[i].key, f.first+uint32(i)) //nolint:gosec // at most flapsMax
	}
	f.order, f.first = f.order[n:], f.first+uint32(n) //nolint:gosec // the same
	if len(f.order) == 0 {
		f.order = nil
	}
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
