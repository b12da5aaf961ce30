package staple

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/fetch"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

const (
	// askTimeout is for one request; a responder that takes longer is as good as none.
	askTimeout = 10 * time.Second
	// respondersMax bounds the addresses of one certificate that are asked; real ones have one.
	respondersMax = 4
	// refreshMost is the longest wait for the next answer, however long this one counts: a
	// revocation should not take longer to be seen.
	refreshMost = 24 * time.Hour
	// retryFirst is the wait after a first failure; it doubles up to retryMost.
	retryFirst = 5 * time.Second
	retryMost  = 5 * time.Minute
	// revokedAgain is how often is asked about a certificate that was revoked: it may have
	// been put on hold only.
	revokedAgain = time.Hour
)

// Want is a certificate that is served.
type Want struct {
	Certificate *tls.Certificate // with its chain: the issuer is needed to judge answers
	From        []netip.Prefix   // networks beside the public ones whose responders may be asked
}

// State is what there is to know of one certificate.
type State struct {
	Fingerprint string
	Must        bool
	Since       time.Time // the staple that is served is of then
	Until       time.Time // and ends then; zero: there is none
	Why         string    // there is none, or no newer one; empty: nothing is wrong
	Revoked     bool      // and Why says since when
}

// Keeper has the staples of the certificates that are wanted. All methods are safe for
// concurrent use.
type Keeper struct {
	dir    string
	jitter func() float64 // from 0 up to 1

	mu      sync.Mutex        // guards entries and what they hold
	entries map[string]*entry // by Fingerprint

	serving atomic.Pointer[map[string]*served] // by the certificate in DER, for handshakes
}

// entry is one certificate that names a responder, or must have a staple.
type entry struct {
	leaf, issuer *x509.Certificate // issuer: nil if the chain lacks it
	chain        *tls.Certificate
	from         []netip.Prefix

	staple   *Staple
	revoked  *RevokedError
	err      error // of the last try
	failures int
	next     time.Time     // when to ask
	asking   chan struct{} // closed when who asks is done; nil: nobody does
}

// served is what a handshake gets; without a staple only if must is not set.
type served struct {
	with *tls.Certificate
	end  time.Time
	must bool
}

// New keeps answers in <dataDir>/certs/staples.
func New(dataDir string, jitter func() float64) *Keeper {
	k := &Keeper{dir: folder(dataDir), jitter: jitter, entries: make(map[string]*entry)}
	k.serving.Store(&map[string]*served{})
	return k
}

// Applies tells whether there is something to staple to a certificate.
func Applies(leaf *x509.Certificate) bool { return len(leaf.OCSPServer) > 0 || Must(leaf) }

// Want says which certificates are served or about to be. For those that are new, an answer
// on the disk counts if it still would; those that are not in the list are forgotten. It
// reads the disk for new ones only.
func (k *Keeper) Want(now time.Time, wants []Want) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep, changed := make(map[string]*entry), false
	for _, w := range wants {
		leaf := w.Certificate.Leaf
		if !Applies(leaf) {
			continue
		}
		id := pki.Fingerprint(leaf)
		if e := keep[id]; e != nil { // on several listeners: each permits what it permits
			e.from = append(e.from, w.From...)
			continue
		}
		e := k.entries[id]
		if e == nil || !slices.EqualFunc(e.chain.Certificate, w.Certificate.Certificate, bytes.Equal) {
			e, changed = newEntry(w.Certificate), true
			k.restore(e, now)
		}
		e.from = append([]netip.Prefix(nil), w.From...)
		keep[id] = e
	}
	if len(keep) != len(k.entries) {
		changed = true
	}
	k.entries = keep
	if changed {
		k.publish()
	}
}

func newEntry(c *tls.Certificate) *entry {
	e := &entry{leaf: c.Leaf, chain: c}
	if len(c.Certificate) > 1 {
		if x, err := x509.ParseCertificate(c.Certificate[1]); err == nil && c.Leaf.CheckSignatureFrom(x) == nil {
			e.issuer = x
		}
	}
	return e
}

// publish puts what there is in force for handshakes; k.mu is held.
func (k *Keeper) publish() {
	m := make(map[string]*served, len(k.entries))
	for _, e := range k.entries {
		s := &served{must: Must(e.leaf)}
		if e.staple != nil {
			with := *e.chain
			with.OCSPStaple = e.staple.Raw
			s.with, s.end = &with, e.staple.NextUpdate
		}
		m[string(e.leaf.Raw)] = s
	}
	k.serving.Store(&m)
}

// errMust is for a handshake that would show a must-staple certificate without a staple.
// Clients that know the extension refuse it, and for those that do not, the CA has said
// that nobody should be let in by it unless it was looked up.
var errMust = errors.New("staple: the server certificate may not be shown without an answer of its OCSP responder, and there is none that counts")

// Serve is the certificate c with its staple, for a handshake at now. An answer that has
// come to its end is not shown; a must-staple certificate is not shown without one.
func (k *Keeper) Serve(c *tls.Certificate, now time.Time) (*tls.Certificate, error) {
	s := (*k.serving.Load())[string(c.Leaf.Raw)]
	switch {
	case s == nil:
		return c, nil
	case s.with != nil && now.Before(s.end):
		return s.with, nil
	case s.must:
		return nil, errMust
	}
	return c, nil
}

// Missing are the must-staple certificates among these that have no answer which counts, in
// words; empty: they can be served.
func (k *Keeper) Missing(now time.Time, certs []*tls.Certificate) (why string) {
	for _, c := range certs {
		if _, err := k.Serve(c, now); !Must(c.Leaf) || err == nil && k.known(c) {
			continue
		}
		s := k.State(now, c.Leaf)
		if s.Why == "" {
			s.Why = "nobody was asked yet"
		}
		return fmt.Sprintf("%s is must-staple and may not be shown without an answer of its OCSP responder: %s", pki.Describe(c.Leaf), s.Why)
	}
	return ""
}

func (k *Keeper) known(c *tls.Certificate) bool {
	return (*k.serving.Load())[string(c.Leaf.Raw)] != nil
}

// Refresh asks the responders of all certificates for which it is time, once and one after
// the other, and waits for those that somebody else is asking. Until ctx is done at the longest; what
// was not asked then is asked the next time. It answers whether something came.
func (k *Keeper) Refresh(ctx context.Context, now func() time.Time) (came bool) {
	asked := make(map[*entry]bool)
	for ctx.Err() == nil {
		e, done := k.due(now(), asked)
		switch {
		case e == nil && done == nil:
			return came
		case e == nil:
			select {
			case <-done:
			case <-ctx.Done():
			}
			continue
		}
		asked[e] = true
		s, err := k.ask(ctx, e, now())
		came = k.settle(e, s, err, now()) || came
	}
	return came
}

// due takes an entry that is to be asked for, or answers what to wait for.
func (k *Keeper) due(now time.Time, asked map[*entry]bool) (*entry, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var wait <-chan struct{}
	for _, e := range k.entries {
		switch {
		case e.asking != nil:
			wait = e.asking
		case !now.Before(e.next) && !asked[e]:
			e.asking = make(chan struct{})
			return e, nil
		}
	}
	return nil, wait
}

// ask asks each responder until one answers something that counts.
func (k *Keeper) ask(ctx context.Context, e *entry, now time.Time) (*Staple, error) {
	if len(e.leaf.OCSPServer) == 0 {
		return nil, errors.New("it names no OCSP responder that could be asked")
	}
	if e.issuer == nil {
		return nil, fmt.Errorf("the certificate of its issuer (%s) is not behind it in the file, and without that one no answer can be judged: add it", e.leaf.Issuer)
	}
	request, err := ocsp.CreateRequest(e.leaf, e.issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("make an OCSP request: %w", err)
	}
	k.mu.Lock()
	client := fetch.New(e.from, askTimeout)
	k.mu.Unlock()
	for _, at := range e.leaf.OCSPServer[:min(len(e.leaf.OCSPServer), respondersMax)] {
		var raw []byte
		var s *Staple
		if raw, err = client.Post(ctx, at, "application/ocsp-request", request, revoke.StatusBytesMax); err == nil {
			if s, err = Judge(raw, e.leaf, e.issuer, now); err == nil {
				return s, nil
			}
			err = fmt.Errorf("%q: %w", at, err)
		}
		if r := (*RevokedError)(nil); errors.As(err, &r) {
			return nil, err // it was proved; another one would only be slower to know
		}
	}
	return nil, err
}

// settle takes over what came of asking, and says whether it changes what is served.
func (k *Keeper) settle(e *entry, s *Staple, err error, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(e.asking)
	e.asking = nil
	e.err = err
	var revoked *RevokedError
	switch {
	case errors.As(err, &revoked):
		e.revoked, e.staple, e.failures = revoked, nil, 0
		e.next = now.Add(k.early(revokedAgain))
		e.err = errors.Join(err, k.forget(e))
	case err != nil:
		wait := retryMost
		if e.failures < 10 {
			wait = min(retryMost, retryFirst<<e.failures)
		}
		if e.staple != nil && now.Before(e.staple.NextUpdate) { // ever more often when its end comes near
			wait = max(retryFirst, min(wait, e.staple.NextUpdate.Sub(now)/4))
		}
		e.failures++
		e.next = now.Add(k.early(wait))
		return false
	case e.staple != nil && s.ThisUpdate.Before(e.staple.ThisUpdate):
		// A responder that is behind the others, or somebody who plays an old answer back.
		e.failures = 0
		e.next = now.Add(k.early(half(e.staple, now)))
		return false
	default:
		e.revoked, e.staple, e.failures = nil, s, 0
		e.next = now.Add(k.early(half(s, now)))
		e.err = k.store(e) // it is served all the same
	}
	if k.entries[pki.Fingerprint(e.leaf)] == e {
		k.publish()
	}
	return true
}

// half is how long to wait for the next answer: half of its life, or of what is left of it.
func half(s *Staple, now time.Time) time.Duration {
	wait := s.ThisUpdate.Add(s.NextUpdate.Sub(s.ThisUpdate) / 2).Sub(now)
	if wait < 0 {
		wait = s.NextUpdate.Sub(now) / 2
	}
	return max(time.Second, min(wait, refreshMost))
}

// early makes a wait up to a tenth shorter, so that brokers started together do not ask
// together.
func (k *Keeper) early(wait time.Duration) time.Duration {
	return wait - time.Duration(k.jitter()*float64(wait)/10)
}

// State answers for one certificate; the zero State but for the name is of one that is not
// wanted.
func (k *Keeper) State(now time.Time, leaf *x509.Certificate) State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{Fingerprint: pki.Fingerprint(leaf), Must: Must(leaf)}
	e := k.entries[s.Fingerprint]
	if e == nil {
		return s
	}
	if e.staple != nil && now.Before(e.staple.NextUpdate) {
		s.Since, s.Until = e.staple.ThisUpdate, e.staple.NextUpdate
	}
	if e.err != nil {
		s.Why = e.err.Error()
	}
	s.Revoked = e.revoked != nil
	return s
}
