// Package staple gets what OCSP responders say of the certificates that listeners serve, so
// that each handshake carries it: clients need not ask, and the responder does not learn who
// they are. An answer is judged as a client would before anybody sees it, kept on disk, and
// followed by the next one in time. It starts no goroutine and reads no clock: its owner
// calls Refresh, and hands Serve the time of a handshake.
//
// Rules: RFC 6960 (OCSP), RFC 6066 §8 and RFC 8446 §4.4.2.1 (stapling), RFC 7633 (must-staple),
// checklist row P3.6.
package staple

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // it names an issuer, as RFC 6960 has it, and proves nothing
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// answerBytesMax is the largest answer that is taken: real ones have 300 bytes to 3 KiB,
	// and each handshake carries it.
	answerBytesMax = 64 << 10
	// skew is how far the clock of a responder may be ahead of ours.
	skew = 5 * time.Minute
)

// Staple is a good answer.
type Staple struct {
	Raw        []byte
	ThisUpdate time.Time // when it was so
	NextUpdate time.Time // how long it counts
}

// RevokedError is an answer that says the certificate was revoked.
type RevokedError struct {
	At     time.Time
	Reason int // RFC 5280 §5.3.1
}

// Error implements error.
func (r *RevokedError) Error() string {
	return fmt.Sprintf("the responder says that it was revoked on %s (%s)", day(r.At), reason(r.Reason))
}

func reason(n int) string {
	words := []string{"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation", "certificateHold", "", "removeFromCRL", "privilegeWithdrawn", "aACompromise"}
	if n < 0 || n >= len(words) || words[n] == "" {
		return fmt.Sprintf("reason %d", n)
	}
	return words[n]
}

// Judge takes an answer only if a client could: signed by the issuer of the certificate or by
// one whom the issuer has made a responder, about this very certificate, good, and of now.
// The error of a revoked one is *RevokedError.
func Judge(raw []byte, leaf, issuer *x509.Certificate, now time.Time) (*Staple, error) {
	if len(raw) > answerBytesMax {
		return nil, fmt.Errorf("the answer has %d bytes; the most is %d", len(raw), answerBytesMax)
	}
	// Without an issuer here, because that one's own rules for responders are too few.
	r, err := ocsp.ParseResponseForCert(raw, leaf, nil)
	if err != nil {
		return nil, fmt.Errorf("the answer cannot be taken: %w", err)
	}
	if err := signedFor(r, issuer, now); err != nil {
		return nil, err
	}
	if err := about(raw, leaf, issuer); err != nil {
		return nil, err
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return nil, fmt.Errorf("the answer is of %s, which is to come: check the clock", day(r.ThisUpdate))
	case r.NextUpdate.IsZero():
		return nil, errors.New("the answer does not say until when it counts (nextUpdate), so that it cannot be kept")
	case !r.NextUpdate.After(r.ThisUpdate):
		return nil, errors.New("the answer counts until before it began")
	case !now.Before(r.NextUpdate):
		return nil, fmt.Errorf("the answer has counted until %s", day(r.NextUpdate))
	}
	switch r.Status {
	case ocsp.Good:
		return &Staple{Raw: raw, ThisUpdate: r.ThisUpdate, NextUpdate: r.NextUpdate}, nil
	case ocsp.Revoked:
		return nil, &RevokedError{At: r.RevokedAt, Reason: r.RevocationReason}
	}
	return nil, errors.New("the responder says that it does not know the certificate")
}

// signedFor judges who has signed an answer. That its signature is that of the certificate in
// it, if there is one, is known already.
func signedFor(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	c := r.Certificate
	switch {
	case c == nil:
		if err := r.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("the answer is not signed by the issuer of the certificate (%s): %w", issuer.Subject, err)
		}
		return nil
	case c.Equal(issuer):
		return nil
	}
	// RFC 6960 §4.2.2.2: a responder of its own is issued by that very CA, for this use.
	if err := c.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the answer is signed by %q, whom the issuer of the certificate (%s) has not made a responder: %w", c.Subject, issuer.Subject, err)
	}
	if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return fmt.Errorf("the answer is signed by %q, which is not a responder: its extended key usage lacks OCSPSigning", c.Subject)
	}
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("the answer is signed by %q, which is not valid now but from %s to %s", c.Subject, day(c.NotBefore), day(c.NotAfter))
	}
	return nil
}

// The part of an answer that names the certificate it is about (RFC 6960 §4.2.1).
type (
	answer struct {
		Status asn1.Enumerated
		Body   struct {
			Type asn1.ObjectIdentifier
			Data []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	basic struct {
		Data struct {
			Raw        asn1.RawContent
			Version    int `asn1:"optional,default:0,explicit,tag:0"`
			Responder  asn1.RawValue
			ProducedAt time.Time `asn1:"generalized"`
			Singles    []single
		}
	}
	single struct{ ID certID }
	certID struct {
		Hash      pkix.AlgorithmIdentifier
		Name, Key []byte
		Serial    *big.Int
	}
)

var hashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// about makes sure that an answer is about the certificate and not about one of another
// issuer with the same serial number, which package ocsp does not look at.
func about(raw []byte, leaf, issuer *x509.Certificate) error {
	var a answer
	var b basic
	if _, err := asn1.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the answer cannot be taken: %w", err)
	}
	if _, err := asn1.Unmarshal(a.Body.Data, &b); err != nil {
		return fmt.Errorf("the answer cannot be taken: %w", err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return fmt.Errorf("the issuer's key cannot be read: %w", err)
	}
	for _, s := range b.Data.Singles {
		if s.ID.Serial == nil || s.ID.Serial.Cmp(leaf.SerialNumber) != 0 {
			continue
		}
		h, known := hashes[s.ID.Hash.Algorithm.String()]
		if !known || !bytes.Equal(sum(h, issuer.RawSubject), s.ID.Name) || !bytes.Equal(sum(h, spki.Key.RightAlign()), s.ID.Key) {
			return errors.New("the answer is about a certificate of another issuer that has the same serial number")
		}
		return nil // the first is the one that package ocsp took
	}
	return errors.New("the answer is about another certificate")
}

func sum(h crypto.Hash, b []byte) []byte {
	switch h {
	case crypto.SHA1:
		s := sha1.Sum(b) //nolint:gosec // see above
		return s[:]
	case crypto.SHA256:
		s := sha256.Sum256(b)
		return s[:]
	case crypto.SHA384:
		s := sha512.Sum384(b)
		return s[:]
	}
	s := sha512.Sum512(b)
	return s[:]
}

// oidFeatures is the TLS feature extension, oidStatusRequest the feature in it that makes a
// certificate must-staple (RFC 7633).
var oidFeatures = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

const statusRequest = 5

// Must tells whether a certificate says that it may not be shown without a staple. One that
// cannot be read says so, too: nobody knows what it means.
func Must(leaf *x509.Certificate) bool {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(oidFeatures) {
			continue
		}
		var features []int
		rest, err := asn1.Unmarshal(e.Value, &features)
		return err != nil || len(rest) > 0 || slices.Contains(features, statusRequest)
	}
	return false
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
