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
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// endless is how long an answer counts that does not say how long, for as long as it takes to
// refuse it in words.
const endless = 100 * 365 * 24 * time.Hour

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
	s, err := revoke.ParseStatus(raw, leaf.SerialNumber, issuer, now, endless)
	switch {
	case err != nil:
		return nil, err
	case s.NextUpdate.IsZero():
		return nil, errors.New("the answer does not say until when it counts (nextUpdate), so that it cannot be kept")
	case !s.NextUpdate.After(s.ThisUpdate):
		return nil, errors.New("the answer counts until before it began")
	case s.Standing == revoke.Revoked:
		return nil, &RevokedError{At: s.RevokedAt, Reason: s.Reason}
	}
	return &Staple{Raw: raw, ThisUpdate: s.ThisUpdate, NextUpdate: s.NextUpdate}, nil
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
