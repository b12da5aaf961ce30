package pki

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// LoadRevoked reads the revocation lists of a listener, in PEM or DER. It comes after
// LoadClientCAs: a list that says it is of one of those CAs and was not signed by it is
// refused. Lists of CAs that only clients send are judged when one does. grace is how long
// a list counts after it should have been followed by another.
func (c *Clients) LoadRevoked(files []string, grace time.Duration) error {
	set := &revoke.Set{Grace: grace}
	for _, file := range files {
		b, err := readList(file)
		if err != nil {
			return fmt.Errorf("revocation list: %w", err)
		}
		l, err := revoke.ParseList(b, file)
		if err != nil {
			return err
		}
		if l.Forged(c.cas) {
			return fmt.Errorf("%s says it is the revocation list of %s, and was not signed by that CA, or by one that may not: get it from the CA again", file, l.Issuer)
		}
		set.Lists = append(set.Lists, l)
	}
	c.Revoked = set
	return nil
}

// Relisted is c with the lists that are in files now, and nothing else of it read again.
func (c *Clients) Relisted(files []string, grace time.Duration) (*Clients, error) {
	next := *c
	if err := next.LoadRevoked(files, grace); err != nil {
		return nil, err
	}
	if c.Revoked != nil {
		set := *c.Revoked
		set.Lists, set.Grace = next.Revoked.Lists, grace
		next.Revoked = &set
	}
	return &next, nil
}

// Unlisted are the CAs that the operator has forgotten: he has named lists, so that every
// certificate needs one, and none is of these.
func (c *Clients) Unlisted() (cas []*x509.Certificate) {
	if c.Revoked == nil || len(c.Revoked.Lists) == 0 {
		return nil
	}
	for _, ca := range c.cas {
		if !slices.ContainsFunc(c.Revoked.Lists, func(l *revoke.List) bool { return l.Of(ca) == nil }) {
			cas = append(cas, ca)
		}
	}
	return cas
}

// FetchRevoked has also the lists looked at that certificates say where to get: points is
// asked for them, and lists are those that have come. It comes after LoadRevoked.
func (c *Clients) FetchRevoked(points revoke.Points, lists []*revoke.List) {
	c.Revoked.Points, c.Revoked.Fetched = points, lists
}

// AskResponders has also OCSP looked at: responders are asked. strict refuses of whom nothing
// is known. It comes after LoadRevoked.
func (c *Clients) AskResponders(responders revoke.Responders, strict bool) {
	c.Revoked.Responders, c.Revoked.Strict = responders, strict
}

// Again is c, and another one to those who compare: what it asks has learned of a revocation.
func (c *Clients) Again() *Clients {
	next := *c
	return &next
}

// Relist is c with other lists from addresses in certificates.
func (c *Clients) Relist(lists []*revoke.List) *Clients {
	next, set := *c, *c.Revoked
	set.Fetched = lists
	next.Revoked = &set
	return &next
}

// Trusts tells whether certificates of a CA are accepted now: it is one of client_ca, or one
// of those has issued it.
func (c *Clients) Trusts(ca *x509.Certificate, now time.Time) bool {
	if c == nil || c.roots == nil {
		return false
	}
	_, err := ca.Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: c.between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// NextUpdate is when the first of the lists should be followed by another; the zero time:
// there are none.
func (c *Clients) NextUpdate() (first time.Time) {
	if c.Revoked == nil {
		return first
	}
	for _, l := range slices.Concat(c.Revoked.Lists, c.Revoked.Fetched) {
		if first.IsZero() || l.NextUpdate.Before(first) {
			first = l.NextUpdate
		}
	}
	return first
}

// Stale are the lists that should have been followed by others by now, in words.
func (c *Clients) Stale(now time.Time) (list []string) {
	if c.Revoked == nil {
		return nil
	}
	for _, l := range c.Revoked.Lists {
		if now.After(l.NextUpdate) {
			list = append(list, fmt.Sprintf("%s (%s) should have been followed by another on %s", l.Source, l.Issuer, day(l.NextUpdate)))
		}
	}
	return list
}
