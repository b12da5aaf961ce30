package pki

import (
	"fmt"
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
