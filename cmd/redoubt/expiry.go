package main

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/pki"
)

// expiryDays are how many days before a server certificate expires its operator is told.
var expiryDays = [...]int{30, 14, 7}

// ownDue tells whether a certificate that renews itself, of the built-in CA or by ACME, should
// have by now: that happens with a third of its life left, which is a matter of days for some.
func ownDue(now time.Time, c *x509.Certificate) bool {
	return near(now, c.NotAfter) > 1 && c.NotAfter.Sub(now) < c.NotAfter.Sub(c.NotBefore)/4
}

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

// expiryWords says how near a certificate is to its end. They change with the step and not
// from day to day: each change of an alarm is told.
func expiryWords(step int, certificate string, notAfter time.Time) string {
	when := notAfter.UTC().Format("2006-01-02 15:04 UTC")
	if step > len(expiryDays) {
		return fmt.Sprintf("%s expired on %s, and clients refuse it", certificate, when)
	}
	return fmt.Sprintf("%s expires in less than %d days, on %s", certificate, expiryDays[step-1], when)
}

// warnExpiry raises the alarm of each listener that has certificates near their end, and
// clears it where they were renewed.
func (n *node) warnExpiry(now time.Time) {
	for _, l := range n.doors() {
		p := l.certs.Load()
		if p == nil {
			continue
		}
		own := p == n.pki.Provider() || n.acme[l.Name] != nil
		var why []string
		for _, c := range p.Certificates() {
			if step := near(now, c.Leaf.NotAfter); step > 0 && (!own || ownDue(now, c.Leaf)) {
				why = append(why, expiryWords(step, pki.Describe(c.Leaf), c.Leaf.NotAfter))
			}
		}
		if len(why) == 0 {
			n.alarms.Clear(now, alarm.CertificateExpiry, l.Name)
			continue
		}
		n.alarms.Raise(now, alarm.CertificateExpiry, l.Name, strings.Join(why, "; "))
	}
}
