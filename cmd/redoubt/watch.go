package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// watch notices that a file of a listener's TLS is another one: who renews certificates
// need not tell the broker. Files are looked at, and not asked of the system, so that it
// works on every file system and through any chain of links.
type watch struct {
	seen    map[string]stamp // when they were read, or refused
	changed map[string]stamp // at the last look; nil: they were as seen
	refused atomic.Int64     // listeners whose files were refused then
	again   atomic.Bool      // what they were refused for may be otherwise now
}

// watchEvery is how often they are looked at. A file that has changed is read when it is
// the same at the next look: until then somebody may still be writing, or its key may be
// about to follow.
const watchEvery = time.Second

// stamp is what tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
	missing  bool
}

// stamps are those of the files of all listeners.
func (n *node) stamps(c *config.Config) map[string]stamp {
	found := make(map[string]stamp)
	look := func(path string) {
		info, err := os.Stat(path)
		if err != nil {
			found[path] = stamp{missing: true}
			return
		}
		found[path] = stamp{modified: info.ModTime(), size: info.Size()}
	}
	for i := range c.Enroll.Claims {
		look(c.Enroll.Claims[i].CA)
		for _, path := range c.Enroll.Claims[i].CRL {
			look(path)
		}
	}
	for name, ln := range c.Listeners {
		for _, pair := range n.pairsOf(name, &ln) {
			look(pair.Cert)
			if path, ok := strings.CutPrefix(pair.Key.Ref, "file:"); ok {
				look(path)
			}
		}
		for _, path := range ln.TLS.ClientCA {
			look(path)
		}
		for _, path := range ln.TLS.CRL.Files {
			look(path)
		}
	}
	return found
}

// look reads the files of listeners again if they have changed.
func (n *node) look(ctx context.Context) {
	w, now := &n.watch, n.stamps(n.loaded.Load().Config)
	if w.again.Swap(false) {
		w.seen = nil
	}
	switch {
	case maps.Equal(now, w.seen):
		w.changed = nil
	case !maps.Equal(now, w.changed):
		w.changed = now
	default:
		done, err := n.takeTurn(ctx)
		if err != nil {
			return // somebody changes the configuration: at the next look
		}
		defer done()
		w.seen, w.changed = now, nil
		n.reread(ctx)
	}
}

// reread puts the files of listeners in force. A listener whose files are refused keeps what
// it has: half of the new ones would be neither. But what judges clients waits for no server
// certificate, and for nobody who is asked about one: a client that was revoked is out in time
// whatever is wrong with anything else.
func (n *node) reread(ctx context.Context) {
	c, refused := n.loaded.Load().Config, int64(0)
	faults := n.rejudge(c)
	within, cancel := context.WithTimeout(ctx, stapleSwap) // for all listeners together: others wait for our turn
	defer cancel()
	for _, l := range n.doors() {
		ln, known := c.Listeners[l.Name]
		if !known || l.certs.Load() == nil {
			continue
		}
		certs, err := n.pairs(l.Name, ln)
		if err = errors.Join(err, faults[l.Name]); err == nil {
			err = n.stapleFor(within, l, ln, certs, stapleSwap)
		}
		if err != nil {
			refused++
			n.alarms.Raise(n.clock.Now(), alarm.CertificateFilesRefused, l.Name, "files of the listener have changed and are refused; it goes on with what it had, except for its revocation lists if those are good: "+err.Error())
			continue
		}
		n.alarms.Clear(n.clock.Now(), alarm.CertificateFilesRefused, l.Name)
		l.certs.Store(certs)
		l.adopt()
		n.sayOpenEnds(l)
		n.log.Info("files of a listener were read again", "listener", l.Name, "not_after", certs.NotAfter())
	}
	if policy, err := n.enrolPolicy(c, n.judges()); err != nil {
		refused++
		n.alarms.Raise(n.clock.Now(), alarm.CertificateFilesRefused, claimsSubject, "files of enrolment have changed and are refused; it goes on with what it had: "+err.Error())
	} else {
		n.alarms.Clear(n.clock.Now(), alarm.CertificateFilesRefused, claimsSubject)
		n.enrol.apply(policy)
	}
	n.watch.refused.Store(refused)
	n.warnExpiry(n.clock.Now())
	n.compare()
}

// rejudge has each listener judge certificates of clients by what its files say now, those
// there are, too. It answers why not, by listener; of such a one the revocation lists count
// all the same, if those can be read.
func (n *node) rejudge(c *config.Config) map[string]error {
	faults := make(map[string]error)
	for _, l := range n.doors() {
		ln, known := c.Listeners[l.Name]
		if !known || l.certs.Load() == nil {
			continue
		}
		clients, err := n.clients(l.Name, c)
		if err = errors.Join(err, n.enrol.apart(l.Name, clients)); err == nil {
			n.judgeBy(l, clients, c)
			continue
		}
		faults[l.Name] = err
		if now := l.Clients.Load(); now != nil {
			if next, err := now.Relisted(ln.TLS.CRL.Files, ln.TLS.CRL.Grace()); err == nil {
				l.ask(next, n.clock.Now)
			}
		}
	}
	n.server.Recheck()
	return faults
}

// pairs are a listener's server certificates as the files are now.
func (n *node) pairs(name string, c config.Listener) (*pki.Provider, error) {
	pairs := n.pairsOf(name, &c)
	if len(pairs) == 0 {
		return n.pki.Provider(), nil
	}
	p := pki.NewProvider()
	for i, pair := range pairs {
		path, ok := strings.CutPrefix(pair.Key.Ref, "file:")
		if !ok { // of the service manager, which gives it once
			return n.certificates(name, c)
		}
		cert, err := pki.LoadPair(pair.Cert, path, n.clock.Now())
		if err != nil {
			what := fmt.Sprintf("certificates[%d]", i)
			if n.acme[name] != nil {
				what = "acme"
			}
			return nil, fmt.Errorf("listeners.%s.tls.%s: %w", name, what, err)
		}
		p.Set(append(p.Certificates(), cert)...)
	}
	return p, nil
}
