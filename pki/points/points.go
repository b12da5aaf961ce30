// Package points keeps the revocation lists that certificates say where to get (RFC 5280
// §4.2.1.13): it is told of certificates that were verified, fetches their lists beside the
// handshakes, judges what comes before it counts, fetches each anew in time, and keeps them
// on disk, so that a start has them at once. It decides about no client, and starts no
// goroutine: Run belongs to its owner.
//
// An address is chosen by whoever made the certificate. Package fetch guards where it may
// lead; here is what it may cost: bounds on addresses, bytes and requests.
//
// Rules: RFC 5280 §5 and §6.3; checklist row P3.5; attacks A137 and A139.
package points

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/pki/fetch"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// Bounds of one listener. A CA of devices has one address, seldom two; one that has split
// its list has more.
const (
	perCertificate = 4                   // addresses of a certificate that are looked at, from the first on
	perIssuer      = 16                  // addresses
	perListener    = 64                  // addresses
	bytesMax       = 64 << 20            // of all lists together, as they come; the same on disk
	unusedMax      = 30 * 24 * time.Hour // since a certificate asked
	barrenMax      = 2 * time.Hour       // likewise, of an address that never had a list
	crowdedFor     = 10 * time.Minute
)

// When a list is fetched.
const (
	soonest    = time.Second // between two requests for a list that came
	firstRetry = 5 * time.Second
	lastRetry  = time.Hour
)

// Options are how a listener's lists are fetched. The zero Options fetch none.
type Options struct {
	On      bool
	Allowed []netip.Prefix // of addresses that are not public
	Refresh time.Duration  // longest time between two requests for a list
	// Trusts tells whether a CA is one whose certificates are accepted.
	Trusts func(ca *x509.Certificate) bool
}

// Lists are those of one listener. All methods are safe for concurrent use.
type Lists struct {
	folder string
	log    *slog.Logger
	now    func() time.Time
	wake   chan struct{} // holds a token when something may be due

	// parse holds a token while nobody reads a list, which takes several times its size.
	parse chan struct{}

	mu      sync.Mutex // guards everything below
	options Options
	client  *fetch.Client
	points  map[point]*entry
	issuers map[[sha256.Size]byte]int // addresses of each
	bytes   int64                     // of all lists
	crowded struct {                  // the last address there was no room for
		address string
		at      time.Time
	}
}

// point is an address with the certificate of the issuer whose list should be there.
type point struct {
	issuer  [sha256.Size]byte // of its certificate
	address string
}

// entry is what is known of a point.
type entry struct {
	point
	issuer *x509.Certificate
	list   *revoke.List // nil: none came yet
	bytes  int64

	asked    time.Time // by a certificate
	due      time.Time // for the next request
	busy     bool      // a request is under way
	failures int       // since the list came
	why      string    // the last of them
	forged   bool      // it was what came, and not that nothing did
}

// New has the lists that a listener had before, which are in folder. now is the time of
// its owner. A folder that cannot be read is told in the log: lists are fetched again.
func New(folder string, now func() time.Time, log *slog.Logger) *Lists {
	l := &Lists{folder: folder, log: log, now: now, wake: make(chan struct{}, 1), parse: make(chan struct{}, 1), points: map[point]*entry{}, issuers: map[[sha256.Size]byte]int{}}
	l.parse <- struct{}{}
	l.read()
	return l
}

// Configure puts other options in force. Lists of CAs that are not accepted any more go.
func (l *Lists) Configure(o Options) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.stir()
	l.options, l.client = o, fetch.New(o.Allowed, 0)
	now := l.now()
	for _, e := range l.points {
		if !o.On || o.Trusts == nil || !o.Trusts(e.issuer) {
			l.drop(e)
			continue
		}
		if e.why != "" || e.list == nil || e.due.After(now.Add(o.Refresh)) {
			e.due = now // what was refused may be allowed now
		}
	}
}

// stir wakes whoever runs.
func (l *Lists) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Lists are those that have come.
func (l *Lists) Lists() (lists []*revoke.List) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.points {
		if e.list != nil && l.options.On {
			lists = append(lists, e.list)
		}
	}
	return lists
}

// Want implements revoke.Points. Of several addresses the first counts, and the next one as
// long as those before fail.
func (l *Lists) Want(c, issuer *x509.Certificate) (said string) {
	id := sha256.Sum256(issuer.Raw)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	said = "it names no address of http or https where one could be fetched"
	looked := 0
	for _, address := range c.CRLDistributionPoints {
		if fetch.Check(address) != nil {
			continue
		}
		if looked++; looked > perCertificate {
			break
		}
		p := point{id, address}
		e := l.points[p]
		if e == nil {
			if e = l.add(p, issuer, now); e == nil {
				said = fmt.Sprintf("there are too many addresses of lists to fetch that from %q, too", address)
				continue
			}
		}
		e.asked = now
		switch {
		case e.why == "" && e.list != nil:
			return fmt.Sprintf("that from %q has come just now, or is about other certificates", address)
		case e.why == "":
			return fmt.Sprintf("it is being fetched from %q: the next attempt may find it", address)
		}
		said = fmt.Sprintf("it could not be fetched: %s", e.why)
	}
	return said
}

// add makes room for a point and answers it; nil: there is none.
func (l *Lists) add(p point, issuer *x509.Certificate, now time.Time) *entry {
	if l.issuers[p.issuer] >= perIssuer && !l.displace(func(e *entry) bool { return e.point.issuer == p.issuer }) ||
		len(l.points) >= perListener && !l.displace(func(*entry) bool { return true }) {
		l.crowded.address, l.crowded.at = p.address, now
		return nil
	}
	e := &entry{point: p, issuer: issuer, due: now}
	l.points[p] = e
	l.issuers[p.issuer]++
	l.stir()
	return e
}

// displace forgets, of the points that may go, the one that was asked for least lately and
// has never had a list: whoever makes a CA issue certificates with many addresses takes none
// from those whose addresses are good.
func (l *Lists) displace(may func(*entry) bool) bool {
	var oldest *entry
	for _, e := range l.points {
		if e.list == nil && !e.busy && may(e) && (oldest == nil || e.asked.Before(oldest.asked)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	l.forget(oldest)
	return true
}

// drop forgets a point, on disk, too.
func (l *Lists) drop(e *entry) {
	l.forget(e)
	if e.list != nil {
		_ = os.Remove(filepath.Join(l.folder, e.file())) // or the next start does so
	}
}

func (l *Lists) forget(e *entry) {
	if l.points[e.point] != e {
		return
	}
	delete(l.points, e.point)
	if l.issuers[e.point.issuer]--; l.issuers[e.point.issuer] == 0 {
		delete(l.issuers, e.point.issuer)
	}
	l.bytes -= e.bytes
}

// take answers a point that is due, which is busy then; nil: none is before the time it
// answers, or at all if that is zero. Those with a list come first: that is somebody's who
// is let in.
func (l *Lists) take() (next *entry, client *fetch.Client, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.options.On {
		return nil, nil, at
	}
	now := l.now()
	for _, e := range l.points {
		switch {
		case e.busy:
		case now.Sub(e.asked) > unusedMax, e.list == nil && now.Sub(e.asked) > barrenMax:
			l.drop(e)
		case e.due.After(now):
			if at.IsZero() || e.due.Before(at) {
				at = e.due
			}
		case next == nil || next.list == nil && e.list != nil || (next.list == nil) == (e.list == nil) && e.due.Before(next.due):
			next = e
		}
	}
	if next != nil {
		next.busy = true
	}
	return next, l.client, at
}

// refreshAt is when a list is fetched again: after refresh at the latest, and before that at
// half its life, or when its issuer has promised the next one.
func refreshAt(now time.Time, list *revoke.List, refresh time.Duration) time.Time {
	wait := refresh
	half := list.ThisUpdate.Add(list.NextUpdate.Sub(list.ThisUpdate) / 2)
	for _, at := range []time.Time{half, list.NextUpdate} {
		if left := at.Sub(now); left > 0 {
			wait = min(wait, left)
		}
	}
	if !list.NextUpdate.After(now) { // it is overdue
		wait = min(wait, time.Minute)
	}
	return now.Add(max(wait-jitter(wait/10), soonest))
}

// retryAt is when a request that has failed so often in a row is made again.
func retryAt(now time.Time, failures int, refresh time.Duration) time.Time {
	wait := min(firstRetry<<min(failures-1, 16), lastRetry, max(refresh, soonest))
	return now.Add(wait - jitter(wait/4))
}

// jitter keeps brokers that began together from asking together.
func jitter(most time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(most) + 1)) }
