// Package revoke answers whether a certificate that a client has shown was taken back by
// who issued it: it reads certificate revocation lists and asks them, for every
// certificate of a chain. It opens no file and no socket.
//
// What cannot be answered is refused, with the words for whoever runs the broker: a list
// that is missing, forged, out of date, or of a kind that is not understood.
//
// Rules: RFC 5280 §5 and §6.3; checklist row P3.5; attacks A092 to A095.
package revoke

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"
)

// BytesMax bounds a list, in bytes as it comes: about 400,000 certificates.
const BytesMax = 16 << 20

// List is a revocation list. What it says counts only for certificates of an issuer
// whose key has signed it: see signedBy.
type List struct {
	Source     string // for people: file or address
	Issuer     string // for people
	ThisUpdate time.Time
	NextUpdate time.Time // never zero
	Number     *big.Int  // nil: the list does not say
	Revoked    int       // certificates

	subject []byte // of the issuer, DER
	serials []serial
	users   bool     // it is about certificates of users only
	cas     bool     // it is about certificates of CAs only
	points  []string // it is about certificates that name one of these addresses; nil: all
	raw     *x509.RevocationList

	mu     sync.Mutex                 // guards everything below
	signed map[[sha256.Size]byte]bool // by this certificate of the issuer
}

// serial is a serial number of at most 20 bytes (RFC 5280 §4.1.2.2), filled with zeros in front.
type serial [20]byte

func serialOf(n *big.Int) (s serial, ok bool) {
	if n.Sign() < 0 || n.BitLen() > 8*len(s) {
		return s, false
	}
	n.FillBytes(s[:])
	return s, true
}

// errKind is a list that says something else than it seems to.
var errKind = errors.New("its kind is not understood here (a delta list, an indirect one, one for some reasons only, or a part without an address): give a full list of the issuer's own")

// ParseList reads a list in PEM or DER.
func ParseList(b []byte, source string) (*List, error) {
	if len(b) > BytesMax {
		return nil, fmt.Errorf("%s: a revocation list of %d bytes; the most is %d: let the CA leave out what has expired, or split it by issuer", source, len(b), BytesMax)
	}
	if block, _ := pem.Decode(b); block != nil {
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("%s is no revocation list: it begins with %q, and should with \"X509 CRL\"", source, block.Type)
		}
		b = block.Bytes
	}
	raw, err := x509.ParseRevocationList(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no revocation list in PEM or DER: %w", source, err)
	}
	l := &List{
		Source: source, Issuer: raw.Issuer.String(), ThisUpdate: raw.ThisUpdate, NextUpdate: raw.NextUpdate, Number: raw.Number, Revoked: len(raw.RevokedCertificateEntries),
		subject: raw.RawIssuer, signed: make(map[[sha256.Size]byte]bool),
	}
	if raw.NextUpdate.IsZero() {
		return nil, fmt.Errorf("%s (%s) does not say when the next one comes (nextUpdate), so that nobody could tell an old list from a new one", source, l.Issuer)
	}
	if err := l.scope(raw); err != nil {
		return nil, fmt.Errorf("%s (%s): %w", source, l.Issuer, err)
	}
	l.serials = make([]serial, 0, len(raw.RevokedCertificateEntries))
	for i := range raw.RevokedCertificateEntries {
		e := &raw.RevokedCertificateEntries[i]
		for _, x := range e.Extensions {
			if x.Critical { // such as certificateIssuer, of an indirect list
				return nil, fmt.Errorf("%s (%s): %w", source, l.Issuer, errKind)
			}
		}
		s, ok := serialOf(e.SerialNumber)
		if !ok {
			return nil, fmt.Errorf("%s (%s) names a serial number of more than 20 bytes", source, l.Issuer)
		}
		l.serials = append(l.serials, s)
	}
	slices.SortFunc(l.serials, func(a, b serial) int { return bytes.Compare(a[:], b[:]) })
	// Of what was parsed only what the signature is over is still needed.
	l.raw = &x509.RevocationList{RawTBSRevocationList: raw.RawTBSRevocationList, Signature: raw.Signature, SignatureAlgorithm: raw.SignatureAlgorithm}
	return l, nil
}

// issuingDistributionPoint is the extension that narrows what a list is about (RFC 5280
// §5.2.5).
type issuingDistributionPoint struct {
	Point          asn1.RawValue `asn1:"optional,tag:0"`
	OnlyUsers      bool          `asn1:"optional,tag:1"`
	OnlyCAs        bool          `asn1:"optional,tag:2"`
	OnlyReasons    asn1.RawValue `asn1:"optional,tag:3"`
	Indirect       bool          `asn1:"optional,tag:4"`
	OnlyAttributes bool          `asn1:"optional,tag:5"`
}

var (
	oidDelta             = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// scope refuses what is about other certificates than all of the issuer's, or of its users
// or CAs.
func (l *List) scope(raw *x509.RevocationList) error {
	for _, x := range raw.Extensions {
		switch {
		case x.Id.Equal(oidDelta):
			return errKind
		case x.Id.Equal(oidDistributionPoint):
			var p issuingDistributionPoint
			if rest, err := asn1.Unmarshal(x.Value, &p); err != nil || len(rest) > 0 {
				return errKind
			}
			if p.Indirect || p.OnlyAttributes || len(p.OnlyReasons.FullBytes) > 0 || p.OnlyUsers && p.OnlyCAs {
				return errKind
			}
			l.users, l.cas, l.points = p.OnlyUsers, p.OnlyCAs, addresses(p.Point)
			if len(p.Point.FullBytes) > 0 && len(l.points) == 0 {
				return errKind // a part of the issuer's list, and nobody here can tell which
			}
		case x.Critical:
			return errKind
		}
	}
	return nil
}

// addresses are those of a DistributionPointName (RFC 5280 §4.2.1.13).
func addresses(name asn1.RawValue) (list []string) {
	var full asn1.RawValue // fullName [0] GeneralNames
	if rest, err := asn1.Unmarshal(name.Bytes, &full); err != nil || len(rest) > 0 || full.Class != asn1.ClassContextSpecific || full.Tag != 0 {
		return nil
	}
	for rest := full.Bytes; len(rest) > 0; {
		var general asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &general); err != nil {
			return nil
		}
		if general.Class == asn1.ClassContextSpecific && general.Tag == 6 { // uniformResourceIdentifier
			list = append(list, string(general.Bytes))
		}
	}
	return list
}

// about tells whether the list can know the certificate, if its issuer has signed it. An
// issuer may have split its list: a part that names its address is about certificates that
// name the same.
func (l *List) about(c *x509.Certificate) bool {
	if !bytes.Equal(l.subject, c.RawIssuer) || l.users && c.IsCA || l.cas && !c.IsCA {
		return false
	}
	if len(l.points) == 0 || len(c.CRLDistributionPoints) == 0 {
		return true
	}
	return slices.ContainsFunc(l.points, func(p string) bool { return slices.Contains(c.CRLDistributionPoints, p) })
}

// Of tells what is wrong with the list as one of this issuer.
func (l *List) Of(issuer *x509.Certificate) error {
	switch {
	case !bytes.Equal(l.subject, issuer.RawSubject):
		return fmt.Errorf("it is the list of %q, and should be that of %q", l.Issuer, issuer.Subject.String())
	case !l.signedBy(issuer):
		return fmt.Errorf("it was not signed by %q, or by a certificate that may not sign lists", issuer.Subject.String())
	}
	return nil
}

// Before tells whether the list is older than another of the same issuer: by its time, and
// among those of one second by its number.
func (l *List) Before(other *List) bool {
	if c := l.ThisUpdate.Compare(other.ThisUpdate); c != 0 || l.Number == nil || other.Number == nil {
		return c < 0
	}
	return l.Number.Cmp(other.Number) < 0
}

// SameRevoked tells whether two lists name the same certificates.
func (l *List) SameRevoked(other *List) bool { return slices.Equal(l.serials, other.serials) }

// Forged tells whether the list says it is of one of the CAs, and none of those has signed it.
func (l *List) Forged(cas []*x509.Certificate) bool {
	claims := false
	for _, ca := range cas {
		if bytes.Equal(ca.RawSubject, l.subject) {
			if l.signedBy(ca) {
				return false
			}
			claims = true
		}
	}
	return claims
}

// has tells whether the list names the certificate.
func (l *List) has(c *x509.Certificate) bool {
	s, ok := serialOf(c.SerialNumber)
	if !ok {
		return true // who makes such numbers is not to be trusted with them
	}
	_, found := slices.BinarySearchFunc(l.serials, s, func(a, b serial) int { return bytes.Compare(a[:], b[:]) })
	return found
}

// signersMax bounds for how many certificates of an issuer it is remembered whether they
// have signed a list: a CA has one or two.
const signersMax = 16

// signedBy tells whether issuer has signed the list and may.
func (l *List) signedBy(issuer *x509.Certificate) bool {
	id := sha256.Sum256(issuer.Raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	signed, known := l.signed[id]
	if !known {
		signed = l.raw.CheckSignatureFrom(issuer) == nil
		if len(l.signed) >= signersMax {
			clear(l.signed)
		}
		l.signed[id] = signed
	}
	return signed
}
