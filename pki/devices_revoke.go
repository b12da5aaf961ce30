package pki

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reason is why a certificate was revoked, by the names of RFC 5280 §5.3.1.
type Reason string

// reasons are those a device's certificate can have. There is none that is taken back
// later (certificateHold): a device that was kept out gets a new certificate.
var reasons = []struct {
	name Reason
	code int
}{
	{"unspecified", 0}, {"keyCompromise", 1}, {"affiliationChanged", 3}, {"superseded", 4}, {"cessationOfOperation", 5}, {"privilegeWithdrawn", 9},
}

// Reasons are the names of all, in words.
func Reasons() string {
	var names []string
	for _, r := range reasons {
		names = append(names, string(r.name))
	}
	return strings.Join(names, ", ")
}

// ParseReason reads the name of a reason, in upper or lower case.
func ParseReason(s string) (Reason, error) {
	for _, r := range reasons {
		if strings.EqualFold(s, string(r.name)) {
			return r.name, nil
		}
	}
	return "", fmt.Errorf("reason %q is not known; it is one of %s", s, Reasons())
}

// code is the reason in a list; 0, which stands for none, if it is not one of ours.
func (r Reason) code() int {
	for _, known := range reasons {
		if known.name == r {
			return known.code
		}
	}
	return 0
}

func reasonOf(code int) Reason {
	for _, known := range reasons {
		if known.code == code {
			return known.name
		}
	}
	return reasons[0].name
}

// Revoke takes back the certificate with a serial number, or the one of a name, and writes
// the list that says so. Those of that name that have expired go with it: a connection may
// be older than the end of its certificate. Of several valid ones it takes back none, unless
// all is set.
func (d *Devices) Revoke(now time.Time, which string, all bool, why Reason) (revoked []DeviceCert, list ListInfo, err error) {
	unlock, err := d.lock(certsWait)
	if err != nil {
		return nil, list, err
	}
	defer unlock()
	l, err := d.readLedger()
	if err != nil {
		return nil, list, err
	}
	// What a crash has left is repaired also if this is refused: who tries again after one
	// is told that it was revoked already.
	if is := d.current(); d.behind(is, l) {
		if list, err = d.writeList(now, l); err != nil {
			return nil, list, err
		}
	}
	chosen, err := l.choose(now, which, all)
	if err != nil {
		return nil, list, err
	}
	for _, c := range chosen {
		c.RevokedAt, c.Reason = now.UTC().Truncate(time.Second), why
		revoked = append(revoked, *c)
	}
	if list, err = d.writeList(now, l); err != nil {
		return nil, list, err
	}
	return revoked, list, nil
}

// choose is what Revoke takes back; in the order of the file.
func (l *ledger) choose(now time.Time, which string, all bool) ([]*DeviceCert, error) {
	named := l.byName(which)
	if c := l.bySerial(plainSerial(which)); c != nil {
		switch {
		case len(named) > 0: // whoever named a device so meant to confuse
			return nil, fmt.Errorf("%q is the name of a device and also the serial number of a certificate of %q: revoke by another serial number (%s)", which, c.Name, serials(named))
		case c.Revoked():
			return nil, revokedAlready(c)
		}
		return []*DeviceCert{c}, nil
	}
	if len(named) == 0 {
		return nil, fmt.Errorf("nothing was issued to %q, and no certificate has that serial number; see redoubt cert list", which)
	}
	open := slices.DeleteFunc(slices.Clone(named), func(c *DeviceCert) bool { return c.Revoked() })
	if len(open) == 0 {
		return nil, revokedAlready(named[len(named)-1])
	}
	valid := slices.DeleteFunc(slices.Clone(open), func(c *DeviceCert) bool { return !c.Valid(now) })
	if len(valid) > 1 && !all {
		return nil, fmt.Errorf("%q has %d valid certificates: revoke one by its serial number (%s), or all of them with --all", which, len(valid), serials(valid))
	}
	return open, nil
}

// ErrRevokedAlready is in the error of Revoke when there is nothing left to take back.
var ErrRevokedAlready = errors.New("is revoked already")

func revokedAlready(c *DeviceCert) error {
	return fmt.Errorf("certificate %s of %q %w, since %s (%s)", c.Serial, c.Name, ErrRevokedAlready, day(c.RevokedAt), c.Reason)
}

// serials are certificates in words by which to tell them apart.
func serials(certs []*DeviceCert) string {
	var out []string
	for _, c := range certs {
		out = append(out, fmt.Sprintf("%s until %s", c.Serial, day(c.NotAfter)))
	}
	return strings.Join(out, ", ")
}
