package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// served is whether listeners serve what their files hold. The watch notices files by what
// the file system says of them; this compares contents, and so also notices a renewal that
// kept time and size, and one that the watch could not put in force.
type served struct {
	mu      sync.Mutex          // guards differs
	differs map[string]mismatch // by listener
}

type mismatch struct {
	since time.Time
	why   string
}

// differsFor is how long a listener may serve something else than its files hold, before it
// is an alarm: a renewal writes one file after the other, and a look takes a second.
const differsFor = 5 * time.Second

// compare looks once; it reads files. A listener that differs for the first time has its
// files read again.
func (n *node) compare() {
	now, c := n.clock.Now(), n.loaded.Load().Config
	n.served.mu.Lock()
	was := n.served.differs
	n.served.mu.Unlock()
	is := make(map[string]mismatch)
	for _, l := range n.doors() {
		p := l.certs.Load()
		if p == nil || p == n.pki.Provider() {
			continue
		}
		ln := c.Listeners[l.Name]
		why := differ(p.Certificates(), n.pairsOf(l.Name, &ln))
		if why == "" {
			n.alarms.Clear(now, alarm.CertificateDiffers, l.Name)
			continue
		}
		d, known := was[l.Name]
		if !known {
			d.since, n.watch.seen = now, nil // the next look finds everything changed
		}
		d.why = why
		is[l.Name] = d
		if now.Sub(d.since) >= differsFor {
			n.alarms.Raise(now, alarm.CertificateDiffers, l.Name, why)
		}
	}
	if !maps.Equal(was, is) {
		n.served.mu.Lock()
		n.served.differs = is
		n.served.mu.Unlock()
	}
}

// differ says which certificate is not the one in its file; empty: all are.
func differ(serving []*tls.Certificate, pairs []config.Certificate) string {
	if len(serving) != len(pairs) {
		return fmt.Sprintf("it serves %d certificates, and there are files of %d", len(serving), len(pairs))
	}
	for i, pair := range pairs {
		chain, err := pki.ReadChain(pair.Cert)
		if err != nil {
			return fmt.Sprintf("it serves %s, and its file cannot be read any more: %v", pki.Describe(serving[i].Leaf), err)
		}
		same := len(chain) == len(serving[i].Certificate)
		for j := 0; same && j < len(chain); j++ {
			same = bytes.Equal(chain[j].Raw, serving[i].Certificate[j])
		}
		switch {
		case same:
		case chain[0].Equal(serving[i].Leaf):
			return fmt.Sprintf("%s has another chain than it serves for %s", pair.Cert, pki.Describe(chain[0]))
		default:
			return fmt.Sprintf("it serves %s, SHA-256 %s, and %s holds %s, SHA-256 %s", pki.Describe(serving[i].Leaf), pki.Fingerprint(serving[i].Leaf), pair.Cert, pki.Describe(chain[0]), pki.Fingerprint(chain[0]))
		}
	}
	return ""
}

// certificateStatus is what listeners serve, for redoubt status.
func (n *node) certificateStatus() (list []admin.CertificateStatus) {
	c := n.loaded.Load().Config
	n.served.mu.Lock()
	differs := n.served.differs
	n.served.mu.Unlock()
	for _, l := range n.doors() {
		p := l.certs.Load()
		if p == nil {
			continue
		}
		ln := c.Listeners[l.Name]
		for i, x := range p.Certificates() {
			s := admin.CertificateStatus{Listener: l.Name, Names: append([]string(nil), x.Leaf.DNSNames...), NotAfter: x.Leaf.NotAfter, Fingerprint: pki.Fingerprint(x.Leaf), Staple: n.stapleWords(l, x)}
			for _, ip := range x.Leaf.IPAddresses {
				s.Names = append(s.Names, ip.String())
			}
			if pairs := n.pairsOf(l.Name, &ln); p != n.pki.Provider() && i < len(pairs) {
				s.File = pairs[i].Cert
			}
			if d, there := differs[l.Name]; there {
				s.Differs = d.why
			}
			list = append(list, s)
		}
	}
	return list
}

// certificateWords are a certificate in a line of redoubt status.
func certificateWords(s *admin.CertificateStatus) string {
	from := s.File
	if from == "" {
		from = "the built-in CA"
	}
	names := strings.Join(s.Names, " ")
	if len(s.Names) > 3 {
		names = strings.Join(s.Names[:3], " ") + " and " + strconv.Itoa(len(s.Names)-3) + " more"
	}
	line := fmt.Sprintf("%s: %s, until %s, of %s", s.Listener, names, s.NotAfter.UTC().Format("2006-01-02"), from)
	if !strings.HasPrefix(s.Staple, "not applicable") {
		line += ", OCSP staple " + s.Staple
	}
	if s.Differs != "" {
		line += ", and the file holds something else"
	}
	return line
}

// reportCertificates gives the series of when they expire.
func (n *node) reportCertificates() {
	n.metrics.GaugeVector(metrics.CertificateNotAfter, func(set func(int64, ...string)) {
		for _, l := range n.doors() {
			if p := l.certs.Load(); p != nil {
				for i, x := range p.Certificates() {
					set(x.Leaf.NotAfter.Unix(), l.Name, strconv.Itoa(i))
				}
			}
		}
	})
}
