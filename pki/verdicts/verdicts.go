// Package verdicts keeps what OCSP responders say of certificates of clients: it is told of
// certificates that were verified, asks the responders that they name, beside the handshakes,
// and remembers the answers as long as they count. It decides about no client, and starts no
// goroutine: Run belongs to its owner.
//
// An answer never takes the place of a later one, and nothing makes good again what was
// revoked for good. What may be remembered, wait and be asked at the same time has bounds.
//
// Rules: RFC 6960 and RFC 5019; checklist row P3.5; attacks A138 and A139.
package verdicts

import (
	"container/list"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/pki/fetch"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// Bounds of one listener.
const (
	certificatesMax = 1 << 16 // remembered, at some 500 bytes each
	waitingMax      = 1 << 10 // to be asked about
	perCertificate  = 2       // addresses of a certificate that are asked, in turn
	inUse           = 2 * time.Hour
	askWithin       = 5 * time.Second
	firstRetry      = 2 * time.Second
	lastRetry       = time.Minute // or who is kept out stays out long after a responder is well again
	soonest         = time.Second
	silentMax       = 30 * time.Second
	downMax         = 256     // responders that are remembered not to answer
	sweepSlowly     = 1 << 12 // certificates from which on what is due is looked for less often
)

// Options are how a listener asks. The zero Options ask nobody.
type Options struct {
	On      bool
	Allowed []netip.Prefix // of addresses that are not public
	Refresh time.Duration  // longest time between two questions about a certificate in use
}

// Verdicts are those of one listener. All methods are safe for concurrent use.
type Verdicts struct {
	now  func() time.Time
	wake chan struct{} // holds a token when something may be due

	mu      sync.Mutex // guards everything below
	options Options
	client  *fetch.Client
	known   map[id]*entry
	used    *list.List // of *entry, the one used last in front
	queue   []*entry   // to be asked about
	failing map[*entry]bool
	issuers map[[sha256.Size]byte]*issuer
	down    map[string]silence // responders that did not answer
	swept   time.Time          // when what is due was last looked for
}

// id is a certificate, by what its issuer has signed and by that one's certificate.
type id [sha256.Size]byte

// silence is that of a responder.
type silence struct {
	failures int // in a row
	until    time.Time
}

// issuer is one certificate for all that it has issued.
type issuer struct {
	x     *x509.Certificate
	count int
}

// entry is what is known of a certificate.
type entry struct {
	id        id
	by        [sha256.Size]byte // of the issuer's certificate
	serial    *big.Int
	addresses []string
	place     *list.Element

	status *revoke.Status // nil: nobody has said anything yet
	used   time.Time
	due    time.Time // for the next question
	until  time.Time // how long status counts

	waits    bool // in the queue, or being asked about
	failures int  // since the last answer
	why      string
	forged   bool
}

// New knows nothing yet. now is the time of its owner.
func New(now func() time.Time) *Verdicts {
	return &Verdicts{now: now, wake: make(chan struct{}, 1), known: map[id]*entry{}, used: list.New(), failing: map[*entry]bool{}, issuers: map[[sha256.Size]byte]*issuer{}, down: map[string]silence{}}
}

// Configure puts other options in force. What is known stays.
func (v *Verdicts) Configure(o Options) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.options, v.client = o, fetch.New(o.Allowed, askWithin)
	now := v.now()
	for e := range v.failing {
		e.due = now // what was refused may be allowed now
	}
	v.swept = time.Time{}
	clear(v.down)
	v.stir()
}

func (v *Verdicts) stir() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Standing implements revoke.Responders.
func (v *Verdicts) Standing(c, by *x509.Certificate) (revoke.Standing, string) {
	// By what is signed: the rest can be written in another way, and would be somebody else.
	byID := sha256.Sum256(by.RawTBSCertificate)
	h := sha256.New()
	h.Write(byID[:])
	h.Write(c.RawTBSCertificate)
	key := id(h.Sum(nil))
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	e := v.known[key]
	if e == nil {
		if e = v.add(key, byID, c, by, now); e == nil {
			return revoke.Unknown, "it names no responder at an address of http or https"
		}
	}
	e.used = now
	v.used.MoveToFront(e.place)
	switch {
	case e.status != nil && e.status.Standing == revoke.Revoked:
		return revoke.Revoked, fmt.Sprintf("the OCSP responder %q says so, since %s", e.addresses[0], e.status.RevokedAt.UTC().Format(time.RFC3339))
	case e.status != nil && now.Before(e.until):
		return revoke.Good, ""
	}
	if !e.due.After(now) && !e.waits && !v.enqueue(e) {
		return revoke.Unknown, "too many certificates wait for their responders"
	}
	if e.why != "" {
		return revoke.Unknown, "its OCSP responder was asked in vain: " + e.why
	}
	return revoke.Unknown, fmt.Sprintf("the OCSP responder %q is being asked: the next attempt may find its answer", e.addresses[0])
}

// add makes room for a certificate, of those that were used longest ago; one that was revoked
// stays as long as its answer counts, unless all were.
func (v *Verdicts) add(key id, byID [sha256.Size]byte, c, by *x509.Certificate, now time.Time) *entry {
	var addresses []string
	for _, a := range c.OCSPServer {
		if len(addresses) < perCertificate && fetch.Check(a) == nil {
			addresses = append(addresses, a)
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	if len(v.known) >= certificatesMax {
		v.forget(v.oldest(now))
	}
	e := &entry{id: key, by: byID, serial: c.SerialNumber, addresses: addresses, due: now}
	v.known[key], e.place = e, v.used.PushFront(e)
	if v.issuers[byID] == nil {
		v.issuers[byID] = &issuer{x: by}
	}
	v.issuers[byID].count++
	return e
}

// triesMax bounds how many are looked at to find one to forget.
const triesMax = 64

func (v *Verdicts) oldest(now time.Time) *entry {
	el := v.used.Back()
	for range triesMax {
		e := el.Value.(*entry)
		if e.status == nil || e.status.Standing != revoke.Revoked || !now.Before(e.until) {
			return e
		}
		if el = el.Prev(); el == nil {
			break
		}
	}
	return v.used.Back().Value.(*entry)
}

func (v *Verdicts) forget(e *entry) {
	delete(v.known, e.id)
	delete(v.failing, e)
	v.used.Remove(e.place)
	if i := v.issuers[e.by]; i.count > 1 {
		i.count--
	} else {
		delete(v.issuers, e.by)
	}
}

func (v *Verdicts) enqueue(e *entry) bool {
	if len(v.queue) >= waitingMax {
		return false
	}
	e.waits = true
	v.queue = append(v.queue, e)
	v.stir()
	return true
}

// question is about one certificate, at one of its responders.
type question struct {
	*entry
	issuer  *x509.Certificate
	address string
	client  *fetch.Client
	refresh time.Duration
}

// take answers the next question; nil: there is none before the time it answers.
func (v *Verdicts) take() (*question, time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if !v.options.On {
		return nil, now.Add(time.Hour)
	}
	every := soonest
	if len(v.known) > sweepSlowly {
		every *= 10
	}
	if now.Sub(v.swept) >= every {
		v.swept = now
		v.sweep(now)
	}
	for len(v.queue) > 0 {
		e := v.queue[0]
		v.queue = v.queue[1:]
		if v.known[e.id] != e {
			continue // forgotten meanwhile
		}
		address := e.addresses[e.failures%len(e.addresses)]
		if until := v.down[address].until; until.After(now) { // or all who ask would wait for it
			e.waits = false
			e.fail(fmt.Errorf("%q: it did not answer a moment ago", address), until)
			v.failing[e] = true
			continue
		}
		if len(v.queue) > 0 {
			v.stir() // for another one who runs
		}
		return &question{e, v.issuers[e.by].x, address, v.client, v.options.Refresh}, now
	}
	v.queue = nil
	return nil, now.Add(soonest)
}

// fail notes that a question came to nothing.
func (e *entry) fail(err error, retry time.Time) {
	e.failures++
	e.why, e.forged, e.due = err.Error(), errors.Is(err, revoke.ErrForged), retry
}

// sweep finds what is due of the certificates in use, and forgets those of which nothing is
// known and that nobody uses.
func (v *Verdicts) sweep(now time.Time) {
	for _, e := range v.known {
		idle := now.Sub(e.used) > inUse
		switch {
		case e.waits:
		case idle && !now.Before(e.until) && (e.status == nil || e.status.Standing != revoke.Revoked):
			v.forget(e)
		case !idle && !e.due.After(now) && !v.enqueue(e):
			return
		}
	}
}

// refreshAt is when a certificate in use is asked about again: after refresh at the latest,
// and before that at half the time for which the answer counts.
func refreshAt(now time.Time, s *revoke.Status, refresh time.Duration) time.Time {
	wait := refresh
	if !s.NextUpdate.IsZero() {
		half := s.ThisUpdate.Add(s.NextUpdate.Sub(s.ThisUpdate) / 2)
		for _, at := range []time.Time{half, s.NextUpdate} {
			if left := at.Sub(now); left > 0 {
				wait = min(wait, left)
			}
		}
	}
	return now.Add(max(wait-jitter(wait/10), soonest))
}

// retryAt is when a certificate is asked about again whose answer did not count so often in a
// row.
func retryAt(now time.Time, failures int) time.Time {
	wait := min(firstRetry<<min(failures-1, 16), lastRetry)
	return now.Add(wait - jitter(wait/4))
}

// silentUntil is how long a responder is left alone that did not answer: not long, because
// whoever was revoked meanwhile is in as long with soft, and everybody out with hard.
func silentUntil(now time.Time, failures int, refresh time.Duration) time.Time {
	wait := min(soonest<<min(failures-1, 16), silentMax, max(refresh, soonest))
	return now.Add(wait - jitter(wait/4))
}

func jitter(most time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(most) + 1)) }
