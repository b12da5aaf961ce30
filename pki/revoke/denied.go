package revoke

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// Denied is certificates that are refused whatever their issuer says of them: what an
// operator knows before any list does. It does not change. The nil Denied denies nothing.
type Denied struct {
	serials      map[serial]bool
	fingerprints map[[sha256.Size]byte]bool
}

// What an entry begins with.
const (
	bySerial      = "serial:"
	byFingerprint = "sha256:"
)

// ParseDenied reads entries as DenialID takes them.
func ParseDenied(entries []string) (*Denied, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	d := &Denied{serials: map[serial]bool{}, fingerprints: map[[sha256.Size]byte]bool{}}
	for _, e := range entries {
		id, err := DenialID(e)
		if err != nil {
			return nil, err
		}
		kind, digits, _ := strings.Cut(id, ":")
		if kind+":" == bySerial {
			n, _ := new(big.Int).SetString(digits, 16)
			s, _ := serialOf(n)
			d.serials[s] = true
			continue
		}
		var print [sha256.Size]byte
		_, _ = hex.Decode(print[:], []byte(digits))
		d.fingerprints[print] = true
	}
	return d, nil
}

// DenialID is an entry in the one form that is compared: serial: and the number, or sha256:
// and the fingerprint of the certificate, in hexadecimal, lower case, without colons and, for
// a number, without zeros in front. It takes upper case, and a colon after each two digits, as
// openssl prints them.
func DenialID(entry string) (string, error) {
	kind, digits, _ := strings.Cut(entry, ":")
	kind += ":"
	if kind != bySerial && kind != byFingerprint {
		return "", fmt.Errorf("%q names no certificate: write serial: and its number, or sha256: and its fingerprint, both in hexadecimal", entry)
	}
	plain := digits
	if strings.Contains(digits, ":") {
		for i, pair := range strings.Split(digits, ":") {
			if len(pair) != 2 {
				return "", fmt.Errorf("%q: colons stand between each two digits or nowhere (part %d is %q)", entry, i+1, pair)
			}
		}
		plain = strings.ReplaceAll(digits, ":", "")
	}
	plain = strings.ToLower(plain)
	if strings.Trim(plain, "0123456789abcdef") != "" || plain == "" {
		return "", fmt.Errorf("%q: what follows %s is hexadecimal digits and nothing else", entry, kind)
	}
	if kind == byFingerprint {
		if len(plain) != 2*sha256.Size {
			return "", fmt.Errorf("%q has %d digits, and a SHA-256 fingerprint has %d", entry, len(plain), 2*sha256.Size)
		}
		return kind + plain, nil
	}
	if len(plain) > 2*len(serial{}) {
		return "", fmt.Errorf("%q has %d digits, and a serial number has at most %d", entry, len(plain), 2*len(serial{}))
	}
	if plain = strings.TrimLeft(plain, "0"); plain == "" {
		plain = "0"
	}
	return kind + plain, nil
}

// FingerprintID is the entry that denies exactly this certificate.
func FingerprintID(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return byFingerprint + hex.EncodeToString(sum[:])
}

// Check looks whether one of the chain is denied, up to the root: by its fingerprint each, by
// its number each but the root, which has given itself its own, and often 1.
func (d *Denied) Check(chain []*x509.Certificate) *Refusal {
	if d == nil {
		return nil
	}
	for i, c := range chain {
		by := ""
		if d.fingerprints[sha256.Sum256(c.Raw)] || i+1 < len(chain) && d.deniesTwin(c, chain[i+1]) {
			by = "fingerprint"
		}
		root := len(chain) > 1 && i == len(chain)-1 && bytes.Equal(c.RawSubject, c.RawIssuer)
		if s, ok := serialOf(c.SerialNumber); ok && d.serials[s] && !root {
			by = "serial number"
		}
		if by != "" {
			return &Refusal{Certificate: c, Revoked: true, Why: fmt.Sprintf("%s is denied here by its %s (certificates.denied)", name(c), by)}
		}
	}
	return nil
}

// Mentions tells whether an entry may be about c, whoever of those has issued it: where none is,
// Check has nothing against a chain with it.
func (d *Denied) Mentions(c *x509.Certificate, issuers ...[]*x509.Certificate) bool {
	if d == nil {
		return false
	}
	if s, ok := serialOf(c.SerialNumber); ok && d.serials[s] {
		return true
	}
	if len(d.fingerprints) == 0 {
		return false
	}
	if d.fingerprints[sha256.Sum256(c.Raw)] {
		return true
	}
	for _, some := range issuers {
		for _, issuer := range some {
			if bytes.Equal(c.RawIssuer, issuer.RawSubject) && d.deniesTwin(c, issuer) {
				return true
			}
		}
	}
	return false
}

// deniesTwin tells whether the other way to write the certificate is denied.
func (d *Denied) deniesTwin(c, issuer *x509.Certificate) bool {
	if len(d.fingerprints) == 0 {
		return false
	}
	twin := twin(c, issuer)
	return twin != nil && d.fingerprints[sha256.Sum256(twin)]
}

// twin is the certificate in DER with the other signature that is as good: with ECDSA, whoever
// sees one (r, s) knows (r, n-s), too, and that changes the fingerprint. nil: there is none.
func twin(c, issuer *x509.Certificate) []byte {
	key, isECDSA := issuer.PublicKey.(*ecdsa.PublicKey)
	if !isECDSA {
		return nil
	}
	var parts struct {
		Signed, Algorithm asn1.RawValue
		Signature         asn1.BitString
	}
	var signature struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(c.Raw, &parts); err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(parts.Signature.Bytes, &signature); err != nil {
		return nil
	}
	signature.S.Sub(key.Params().N, signature.S)
	b, err := asn1.Marshal(signature)
	if err != nil {
		return nil
	}
	parts.Signature = asn1.BitString{Bytes: b, BitLength: 8 * len(b)}
	out, err := asn1.Marshal(parts)
	if err != nil {
		return nil
	}
	return out
}
