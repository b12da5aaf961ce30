package main

import (
	"time"

	"github.com/redoubtmq/redoubt/pki"
)

// expiryDays are how many days before a server certificate expires its operator is told.
var expiryDays = [...]int{30, 14, 7}

// expiries are the certificates of which somebody was told, by fingerprint, and how near
// the end was then.
type expiries map[string]int

// near is how many of expiryDays a certificate that expires then is past; len(expiryDays)+1:
// it has expired.
func near(now, notAfter time.Time) (step int) {
	for _, days := range expiryDays {
		if !now.Before(notAfter.Add(-time.Duration(days) * 24 * time.Hour)) {
			step++
		}
	}
	if !now.Before(notAfter) {
		step++
	}
	return step
}

// warnExpiry tells of server certificates that are about to expire, each time one comes
// nearer to it. Those of the built-in CA are renewed in time by themselves.
func (n *node) warnExpiry(now time.Time) {
	told := make(expiries)
	for _, l := range n.listeners {
		p := l.certs.Load()
		if p == nil || p == n.pki.Provider() {
			continue
		}
		for _, c := range p.Certificates() {
			id := pki.Fingerprint(c.Leaf)
			step := near(now, c.Leaf.NotAfter)
			if told[id] = step; step <= n.expiries[id] {
				continue
			}
			say := n.log.Warn
			if step > len(expiryDays)-1 {
				say = n.log.Error
			}
			say("a server certificate is about to expire; clients will refuse it then: renew it, and its files are read by themselves",
				"listener", l.Name, "certificate", pki.Describe(c.Leaf), "not_after", c.Leaf.NotAfter)
		}
	}
	n.expiries = told
}
