package revoke

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

// Set is the lists of a listener, and how they are used. It does not change: what is new
// is another Set. The zero Set checks nothing.
type Set struct {
	Lists []*List // that an operator has named
	// Grace is how long a list counts after its NextUpdate; 0: not at all.
	Grace time.Duration

	// Points fetches lists from addresses in certificates; nil: nobody does.
	Points  Points
	Fetched []*List // from there

	// Responders say what OCSP says of certificates that name a responder; nil: nobody is
	// asked. Strict refuses whom they cannot say anything of yet.
	Responders Responders
	Strict     bool
}

// Points fetches the lists that certificates say where to get.
type Points interface {
	// Want asks for the list of a certificate that was verified to a CA, with its issuer. It
	// returns at once, and says what becomes of the list, in words.
	Want(c, issuer *x509.Certificate) string
}

// Refusal is why a certificate is not accepted.
type Refusal struct {
	Certificate *x509.Certificate
	Revoked     bool   // by its issuer; otherwise nobody can tell whether it was
	Why         string // for whoever runs the broker
}

// Error implements error.
func (r *Refusal) Error() string { return r.Why }

// Check looks whether one of the chain was revoked, from the leaf up to but not including
// the root, which nobody can revoke but who trusts it. Where an operator has named lists,
// each certificate needs one of its issuer's, and one that says where its list is needs it
// in any case, from wherever it came: whatever is not known is refused.
//
// One that was revoked is answered before any of which nobody can tell, wherever it is: the
// first ends live connections, and the second does not.
func (s *Set) Check(chain []*x509.Certificate, now time.Time) (refused *Refusal) {
	for i := 0; i+1 < len(chain); i++ {
		for _, ask := range [...]func(c, issuer *x509.Certificate, now time.Time) *Refusal{s.byLists, s.byResponders} {
			switch r := ask(chain[i], chain[i+1], now); {
			case r == nil:
			case r.Revoked:
				return r
			case refused == nil:
				refused = r
			}
		}
	}
	return refused
}

// Mentions tells whether a list has a certificate of this number, whoever has issued either:
// where none does, Check answers nobody's revocation by a list. It asks for nothing.
func (s *Set) Mentions(c *x509.Certificate) bool {
	if s == nil {
		return false
	}
	has := func(l *List) bool { return l.has(c) }
	return slices.ContainsFunc(s.Lists, has) || slices.ContainsFunc(s.Fetched, has)
}

func (s *Set) byLists(c, issuer *x509.Certificate, now time.Time) *Refusal {
	if len(s.Lists) == 0 && s.Points == nil {
		return nil
	}
	unknown := func(format string, args ...any) *Refusal {
		return &Refusal{Certificate: c, Why: fmt.Sprintf("nobody can tell whether %s was revoked: ", name(c)) + fmt.Sprintf(format, args...)}
	}
	needed, said := len(s.Lists) > 0, "add its list to crl.files"
	if s.Points != nil && NamesPoint(c) {
		needed, said = true, s.Points.Want(c, issuer)
	}
	var newest *List
	forged := ""
	for _, lists := range [...][]*List{s.Lists, s.Fetched} {
		for _, l := range lists {
			switch {
			case !l.about(c):
			case !l.signedBy(issuer):
				forged = l.Source
			case l.has(c): // also if the list is old: nothing un-revokes it
				return &Refusal{Certificate: c, Revoked: true, Why: fmt.Sprintf("%s was revoked by its issuer (%s)", name(c), l.Source)}
			case newest == nil || l.NextUpdate.After(newest.NextUpdate):
				newest = l
			}
		}
	}
	switch {
	case !needed:
		return nil
	case newest == nil && forged != "":
		return unknown("the list in %s was not signed by %s", forged, issuer.Subject)
	case newest == nil:
		return unknown("there is no revocation list of %s; %s", issuer.Subject, said)
	case newest.ThisUpdate.After(now.Add(ClockSkew)):
		return unknown("the list in %s is from %s, which is in the future: check the clock", newest.Source, newest.ThisUpdate.UTC().Format(time.RFC3339))
	case now.After(newest.NextUpdate.Add(s.Grace)):
		return unknown("the list in %s should have been followed by another on %s; get the new one from %s, or allow some time with crl.stale", newest.Source, newest.NextUpdate.UTC().Format(time.RFC3339), newest.Issuer)
	}
	return nil
}

var oidPoints = asn1.ObjectIdentifier{2, 5, 29, 31}

// NamesPoint tells whether a certificate says where its revocation list is, also if that is
// no address that can be asked.
func NamesPoint(c *x509.Certificate) bool {
	return len(c.CRLDistributionPoints) > 0 || slices.ContainsFunc(c.Extensions, func(x pkix.Extension) bool { return x.Id.Equal(oidPoints) })
}

// ClockSkew is how far clocks of the issuer and of the broker may differ.
const ClockSkew = 5 * time.Minute

// name is a certificate in words that an operator can look for.
func name(c *x509.Certificate) string {
	return fmt.Sprintf("certificate %x (%s)", c.SerialNumber, c.Subject)
}
