package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// Enrolment: who asks for a certificate over the network. A signing request says what the
// key is; the token, the claim certificate or the certificate before says of whom.

// RenewedMost is how many valid certificates a device can have and still renew one by
// itself: one in use, one whose answer was lost, one to spare. More would let it fill the
// record.
const RenewedMost = 3

// Kind of a Denied, for counters. The values are those of metrics.
const (
	DeniedToken       = "token"
	DeniedClaim       = "claim"
	DeniedCertificate = "certificate"
	DeniedRequest     = "request"
)

// Denied is why a certificate is not given out, in words for whoever runs the broker. The
// device hears nothing of them.
type Denied struct {
	Kind string
	What string // tells reasons of one kind apart, for who counts repetitions; it holds nothing of the device's
	Why  string
}

// Error implements error.
func (d *Denied) Error() string { return d.Why }

// Deny makes a refusal. The format is what tells it from others.
func Deny(kind, format string, args ...any) *Denied {
	return &Denied{kind, kind + format, fmt.Sprintf(format, args...)}
}

// How a certificate came about, in issued.json; "": by a command.
const (
	howToken   = "token "   // and its id
	howClaim   = "claim "   // and the serial number of the claim certificate
	howRenewal = "renewal " // and the serial number of the certificate before
)

// Request is what counts of a signing request.
type Request struct {
	Public crypto.PublicKey
	Name   string // the common name; empty: it asks for none
}

// ReadRequest is ParseRequest, with the name that is asked for. It is up to the caller what
// that is worth. Its errors are *Denied.
func ReadRequest(b []byte) (Request, error) {
	r, err := readRequest(b, "what the device sent")
	if err != nil {
		return Request{}, Deny(DeniedRequest, "%s", err.Error())
	}
	return Request{Public: r.PublicKey, Name: r.Subject.CommonName}, nil
}

// KnowsToken tells whether the token is good, without using it. Its errors are *Denied, or
// say that the tokens cannot be read.
func (d *Devices) KnowsToken(now time.Time, name string, token secret.Value) error {
	f, err := d.readTokens()
	if err != nil {
		return err
	}
	_, err = f.find(now, name, token)
	return err
}

// EnrollToken issues a certificate to who has a token of the name in the order. The token is
// used up before the certificate exists, whatever happens then: of two who have it, one gets
// a certificate.
func (d *Devices) EnrollToken(now time.Time, o Order, token secret.Value) (*IssuedDevice, error) {
	return d.issue(now, o, func(_ *ledger, o *Order) error {
		f, err := d.readTokens()
		if err != nil {
			return err
		}
		t, err := f.find(now, o.Name, token)
		if err != nil {
			return err
		}
		t.Used, o.how = now.UTC().Truncate(time.Second), howToken+t.ID
		f.forget(now)
		return d.writeTokens(f)
	})
}

// EnrollClaim issues the first certificate of a name to who has shown a claim certificate.
// A name that ever had one is refused: who has taken the claim certificate out of a device
// would be any other, and one that was revoked would be back. perDay bounds what one claim
// certificate gets in a day.
func (d *Devices) EnrollClaim(now time.Time, o Order, claim *x509.Certificate, perDay int) (*IssuedDevice, error) {
	return d.issue(now, o, func(l *ledger, o *Order) error {
		if len(l.byName(o.Name)) > 0 {
			return Deny(DeniedClaim, "%q has had a certificate, and a claim certificate gets the first one only: give it a token (redoubt cert token %s)", o.Name, o.Name)
		}
		o.how = howClaim + hexOf(claim.SerialNumber)
		today := 0
		for i := range l.Certificates {
			if c := &l.Certificates[i]; c.How == o.how && c.NotBefore.Add(backdate).After(now.Add(-24*time.Hour)) {
				today++
			}
		}
		if today >= perDay {
			return Deny(DeniedClaim, "claim certificate %s has enrolled %d devices within a day, which is the most (enroll.claims[].per_day)", hexOf(claim.SerialNumber), today)
		}
		return nil
	})
}

// RenewShown issues the next certificate to who has shown the one before, which the caller
// has found to be of this CA and not expired. It must be on record as not revoked.
func (d *Devices) RenewShown(now time.Time, o Order, shown *x509.Certificate) (*IssuedDevice, error) {
	serial := hexOf(shown.SerialNumber)
	return d.issue(now, o, func(l *ledger, o *Order) error {
		c := l.bySerial(serial)
		switch {
		case c == nil || c.Fingerprint != Fingerprint(shown) || c.Name != o.Name:
			return Deny(DeniedCertificate, "certificate %s of %q is not on record", serial, o.Name)
		case c.Revoked():
			return Deny(DeniedCertificate, "certificate %s of %q was revoked on %s (%s)", serial, o.Name, day(c.RevokedAt), c.Reason)
		case !c.Valid(now):
			return Deny(DeniedCertificate, "certificate %s of %q expired on %s", serial, o.Name, day(c.NotAfter))
		}
		valid := 0
		for _, c := range l.byName(o.Name) {
			if c.Valid(now) {
				valid++
			}
		}
		if valid >= RenewedMost {
			return Deny(DeniedCertificate, "%q has %d valid certificates, and renews none until one of them has expired or was revoked", o.Name, valid)
		}
		o.how = howRenewal + serial
		return nil
	})
}

// RenewAt is when a certificate is to be renewed: two thirds into its life.
func RenewAt(x *x509.Certificate) time.Time { return renewAt(x.NotBefore, x.NotAfter) }

// AsDenied is the refusal in an error, or nil.
func AsDenied(err error) *Denied {
	var d *Denied
	if errors.As(err, &d) {
		return d
	}
	return nil
}
