package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/staple"
)

const (
	// stapleStart is how long the opening of a listener waits for OCSP responders. Longer
	// than one takes that works, and shorter than whoever waits for the broker.
	stapleStart = 10 * time.Second
	// stapleSwap is the same for certificates that replace others, which go on meanwhile.
	stapleSwap = 5 * time.Second
	// stapleEvery is how often is looked for what is to be asked.
	stapleEvery = time.Second
)

// staples are the answers of OCSP responders that go with server certificates.
type staples struct {
	keeper *staple.Keeper
	mu     sync.Mutex // makes what is wanted and saying so one step
}

// stapled is what a listener serves with staples.
type stapled struct {
	certs *pki.Provider
	from  []netip.Prefix
}

func (n *node) openStaples(dataDir string) {
	n.staples.keeper = staple.New(dataDir, rand.Float64)
	n.metrics.GaugeVector(metrics.StapleNextUpdate, func(set func(int64, ...string)) {
		for _, l := range n.doors() {
			s := l.staple.Load()
			if s == nil {
				continue
			}
			for i, c := range s.certs.Certificates() {
				if !staple.Applies(c.Leaf) {
					continue
				}
				until := int64(0)
				if at := n.staples.keeper.State(n.clock.Now(), c.Leaf).Until; !at.IsZero() {
					until = at.Unix()
				}
				set(until, l.Name, strconv.Itoa(i))
			}
		}
	})
}

// want says what listeners serve and are about to; also is one that is not open yet.
func (n *node) want(also ...*door) {
	n.staples.mu.Lock()
	defer n.staples.mu.Unlock()
	var wants []staple.Want
	for _, l := range slices.Concat(also, n.doors()) {
		for _, s := range []*stapled{l.staple.Load(), l.stapleNext.Load()} {
			if s == nil {
				continue
			}
			for _, c := range s.certs.Certificates() {
				wants = append(wants, staple.Want{Certificate: c, From: s.from})
			}
		}
	}
	n.staples.keeper.Want(n.clock.Now(), wants)
}

// errUnstapled is for must-staple certificates that nobody has answered for yet. Whoever gets
// it may go on with what he has, and is called again when there is an answer.
type errUnstapled struct{ why string }

func (e errUnstapled) Error() string { return e.why }

// stapleFor gets answers for the certificates that l is about to serve, if there is something
// to get, within so long. What takes longer is got while they are served. The caller
// says l.adopt when it serves them.
func (n *node) stapleFor(ctx context.Context, l *door, c config.Listener, certs *pki.Provider, within time.Duration) error {
	l.stapleNext.Store(nil)
	if certs == n.pki.Provider() {
		return nil
	}
	if c.TLS.OCSPStapling == config.StaplingOff {
		for _, x := range certs.Certificates() {
			if staple.Must(x.Leaf) {
				return fmt.Errorf("listeners.%s.tls.ocsp_stapling is off, and %s is must-staple, so that clients refuse it without: turn it on, or have a certificate issued without that extension", l.Name, pki.Describe(x.Leaf))
			}
		}
		return nil
	}
	for _, x := range certs.Certificates() {
		if !staple.Applies(x.Leaf) {
			n.log.Debug("a server certificate names no OCSP responder, so that there is nothing to staple", "listener", l.Name, "certificate", pki.Describe(x.Leaf))
		}
	}
	l.stapleNext.Store(&stapled{certs, c.TLS.Networks()})
	n.want(l)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	n.staples.keeper.Refresh(ctx, n.clock.Now)
	if why := n.staples.keeper.Missing(n.clock.Now(), certs.Certificates()); why != "" {
		return errUnstapled{fmt.Sprintf("listeners.%s: %s", l.Name, why)}
	}
	return nil
}

// adopt is for when l serves what stapleFor was asked for.
func (l *door) adopt() {
	l.staple.Store(l.stapleNext.Load())
	l.stapleNext.Store(nil)
}

// show is the certificate for a handshake.
func (n *node) show(l *door, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := l.certs.Load().GetCertificate(hello)
	if err != nil || l.staple.Load() == nil {
		return c, err
	}
	return n.staples.keeper.Serve(c, n.clock.Now())
}

// unstapled says at the start that no handshake of a listener succeeds yet. It opens all the
// same: what it waits for may come at any moment, and the others have nothing to do with it.
func (n *node) unstapled(l *door, err error) error {
	var e errUnstapled
	if !errors.As(err, &e) {
		return err
	}
	n.log.Error("no client can connect to a listener until an OCSP responder has answered; it is asked again", "listener", l.Name, "error", err.Error())
	return nil
}

// keepStaples asks in time, until ctx is done.
func (n *node) keepStaples(ctx context.Context) {
	tick := time.NewTicker(stapleEvery)
	defer tick.Stop()
	for {
		n.want()
		if n.staples.keeper.Refresh(ctx, n.clock.Now) {
			for _, l := range n.doors() {
				if l.stapleNext.Load() != nil { // they were refused for want of an answer
					n.watch.again.Store(true)
				}
			}
		}
		n.judgeStaples(n.clock.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// judgeStaples raises and clears alarms.
func (n *node) judgeStaples(now time.Time) {
	for _, l := range n.doors() {
		var missing, revoked []string
		if s := l.staple.Load(); s != nil {
			for _, c := range s.certs.Certificates() {
				state := n.staples.keeper.State(now, c.Leaf)
				what := pki.Describe(c.Leaf) + ": " + state.Why
				if state.Must && state.Until.IsZero() {
					what += "; it is must-staple, so that no handshake with it is let through"
				}
				switch {
				case state.Revoked:
					revoked = append(revoked, what)
				case state.Why == "":
				case state.Until.IsZero():
					missing = append(missing, what)
				case now.After(state.Until.Add(-state.Until.Sub(state.Since) / 4)):
					missing = append(missing, fmt.Sprintf("%s; the answer there is counts until %s", what, state.Until.UTC().Format("2006-01-02 15:04:05 UTC")))
				}
			}
		}
		for kind, why := range map[*alarm.Kind][]string{alarm.StapleMissing: missing, alarm.CertificateRevoked: revoked} {
			if len(why) == 0 {
				n.alarms.Clear(now, kind, l.Name)
			} else {
				n.alarms.Raise(now, kind, l.Name, strings.Join(why, "; "))
			}
		}
	}
}

// stapleWords is what redoubt status says of a certificate.
func (n *node) stapleWords(l *door, c *tls.Certificate) string {
	if !staple.Applies(c.Leaf) {
		return "not applicable: the certificate names no OCSP responder"
	}
	if l.staple.Load() == nil {
		return "off"
	}
	s := n.staples.keeper.State(n.clock.Now(), c.Leaf)
	switch {
	case !s.Until.IsZero() && s.Why == "":
		return "until " + s.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	case !s.Until.IsZero():
		return "until " + s.Until.UTC().Format("2006-01-02 15:04:05 UTC") + ", and no newer one yet: " + s.Why
	case s.Why == "":
		return "none yet"
	}
	return "none: " + s.Why
}
