package revoke

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" //nolint:gosec // it names an issuer in an answer, as RFC 6960 has it, and proves nothing
	_ "crypto/sha256"
	_ "crypto/sha512"
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

// Standing is what is known of a certificate from OCSP.
type Standing uint8

// The standings.
const (
	Unknown Standing = iota
	Good
	Revoked
)

// Responders know what OCSP responders say.
type Responders interface {
	// Standing answers what is known of a certificate that was verified to a CA, with its
	// issuer, and why no more is known, in words. It returns at once, and asks beside.
	Standing(c, issuer *x509.Certificate) (s Standing, why string)
}

// byResponders looks what OCSP says of a certificate that names a responder.
func (s *Set) byResponders(c, issuer *x509.Certificate, _ time.Time) *Refusal {
	if s.Responders == nil || len(c.OCSPServer) == 0 {
		return nil
	}
	switch standing, why := s.Responders.Standing(c, issuer); {
	case standing == Revoked:
		return &Refusal{Certificate: c, Revoked: true, Why: fmt.Sprintf("%s was revoked by its issuer: %s", name(c), why)}
	case standing == Unknown && s.Strict:
		return &Refusal{Certificate: c, Why: fmt.Sprintf("nobody can tell whether %s was revoked: %s", name(c), why)}
	}
	return nil
}

// StatusBytesMax bounds an answer of a responder, in bytes.
const StatusBytesMax = 64 << 10

// ErrForged is an answer of somebody who may not give it, or about another certificate.
var ErrForged = errors.New("the answer is not the issuer's about this certificate")

// Status is an answer of a responder that counts.
type Status struct {
	Standing   Standing
	ThisUpdate time.Time
	NextUpdate time.Time // zero: the responder does not say, and may know more at any time
	RevokedAt  time.Time
	Reason     int  // why, RFC 5280 §5.3.1
	Hold       bool // for the time being, and it may come back
}

// ParseStatus judges an answer about the certificate with this serial number: it counts if the
// issuer has signed it, or a responder that the issuer has made one (RFC 6960 §4.2.2.2), and
// if it is of now. without bounds how old one may be that does not say how long it counts.
func ParseStatus(b []byte, serial *big.Int, issuer *x509.Certificate, now time.Time, without time.Duration) (*Status, error) {
	if len(b) > StatusBytesMax {
		return nil, fmt.Errorf("an answer of %d bytes; the most is %d", len(b), StatusBytesMax)
	}
	r, err := ocsp.ParseResponseForCert(b, &x509.Certificate{SerialNumber: serial}, nil)
	var said ocsp.ResponseError
	switch {
	case errors.As(err, &said):
		return nil, fmt.Errorf("the responder answers %q", said.Status.String())
	case err != nil && !isAnswer(b):
		return nil, fmt.Errorf("%w: what comes is no OCSP answer, but %d bytes that begin with %.16q", ErrForged, len(b), b)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	if err := signer(r, issuer, now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	if err := names(b, serial, issuer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	s := &Status{ThisUpdate: r.ThisUpdate, NextUpdate: r.NextUpdate}
	until := r.NextUpdate
	if until.IsZero() {
		until = r.ThisUpdate.Add(without)
	}
	switch {
	case r.ThisUpdate.After(now.Add(ClockSkew)):
		return nil, fmt.Errorf("the answer is from %s, which is in the future: check the clock", r.ThisUpdate.UTC().Format(time.RFC3339))
	case !now.Before(until):
		return nil, fmt.Errorf("the answer is from %s and has counted until %s", r.ThisUpdate.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	switch r.Status {
	case ocsp.Good:
		s.Standing = Good
	case ocsp.Revoked:
		s.Standing, s.RevokedAt, s.Reason, s.Hold = Revoked, r.RevokedAt, r.RevocationReason, r.RevocationReason == ocsp.CertificateHold
	default:
		return nil, errors.New("the responder does not know the certificate")
	}
	return s, nil
}

// isAnswer tells an answer, of whatever worth, from the page of a proxy or a portal: what
// package asn1 says of those is nothing for an operator.
func isAnswer(b []byte) bool {
	var a statusAnswer
	rest, err := asn1.Unmarshal(b, &a)
	return err == nil && len(rest) == 0
}

// signer judges who has signed an answer. Package ocsp has checked the signature against the
// certificate that came with it, if one did, and nothing about that.
func signer(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	by := r.Certificate
	switch {
	case by == nil || by.Equal(issuer):
		if err := r.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("it was not signed by %q", issuer.Subject.String())
		}
		return nil
	case !bytes.Equal(by.RawIssuer, issuer.RawSubject) || by.CheckSignatureFrom(issuer) != nil:
		return fmt.Errorf("it was signed by %q, whom %q has not issued a certificate", by.Subject.String(), issuer.Subject.String())
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("it was signed by %q, whose certificate is not for signing answers (OCSPSigning)", by.Subject.String())
	case now.Before(by.NotBefore) || now.After(by.NotAfter):
		return fmt.Errorf("it was signed by %q, whose certificate is valid from %s to %s", by.Subject.String(), by.NotBefore.UTC().Format(time.RFC3339), by.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// What of an answer names the certificate it is about (RFC 6960 §4.2.1).
type (
	statusAnswer struct {
		Status asn1.Enumerated
		Body   struct {
			Type asn1.ObjectIdentifier
			Data []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	statusBasic struct {
		Data struct {
			Raw       asn1.RawContent
			Version   int `asn1:"optional,default:0,explicit,tag:0"`
			Responder asn1.RawValue
			Produced  time.Time `asn1:"generalized"`
			Singles   []struct{ ID statusID }
		}
	}
	statusID struct {
		Hash      pkix.AlgorithmIdentifier
		Name, Key []byte
		Serial    *big.Int
	}
)

var statusHashes = map[string]crypto.Hash{
	"1.3.14.3.2.26": crypto.SHA1, "2.16.840.1.101.3.4.2.1": crypto.SHA256, "2.16.840.1.101.3.4.2.2": crypto.SHA384, "2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// names makes sure that an answer is about a certificate of this issuer, and not about that of
// another one with the same number: package ocsp looks at the number only.
func names(b []byte, serial *big.Int, issuer *x509.Certificate) error {
	var a statusAnswer
	var basic statusBasic
	if _, err := asn1.Unmarshal(b, &a); err != nil {
		return err
	}
	if _, err := asn1.Unmarshal(a.Body.Data, &basic); err != nil {
		return err
	}
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &key); err != nil {
		return err
	}
	for _, single := range basic.Data.Singles {
		if single.ID.Serial == nil || single.ID.Serial.Cmp(serial) != 0 {
			continue // package ocsp has taken the first that fits
		}
		h, known := statusHashes[single.ID.Hash.Algorithm.String()]
		sum := func(b []byte) []byte { d := h.New(); d.Write(b); return d.Sum(nil) }
		if !known || !bytes.Equal(sum(issuer.RawSubject), single.ID.Name) || !bytes.Equal(sum(key.Bits.RightAlign()), single.ID.Key) {
			return errors.New("it is about a certificate of another issuer")
		}
		return nil
	}
	return errors.New("it is about another certificate")
}
