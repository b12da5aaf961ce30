// Package signed signs what a node says of itself, and keeps it in a chain: every report has
// a number and the SHA-256 of the one before it, so that one that was changed, left out or put in
// later is seen by whoever has the node's public key. It knows bytes in JSON and no report.
//
// Rules: the form of a signed text is in docs/security/doctor.md; RFC 8032 for Ed25519. The key
// is the node's, so that whoever owns the node can sign anything anew: only a copy elsewhere tells that.
package signed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// algorithm is the one there is.
const algorithm = "ed25519"

// A signed text is a JSON object, one member to a line, whose second line is the signature. What is
// signed are the bytes without that line, which is an object again.
const (
	opening = "{\n"
	label   = `  "signature": `
	ending  = ",\n"
)

// lineBytesMax is more than any line with a signature has.
const lineBytesMax = 1024

// BytesMax is how large a text may be that is verified.
const BytesMax = 64 << 20

// signature is the second line.
type signature struct {
	Algorithm string `json:"algorithm"`
	KeyID     string `json:"key_id"`
	Value     string `json:"value"` // base64
}

// What can be wrong with a signed text.
var (
	// ErrUnsigned: there is no signature to judge.
	ErrUnsigned = errors.New("it is not signed: its second line is no signature")
	// ErrOtherKey: it says itself that another key has signed it.
	ErrOtherKey = errors.New("it is signed by another key")
	// ErrChanged: the signature is not of these bytes.
	ErrChanged = errors.New("it was changed after it was signed, or is not what that key has signed")
)

// KeyID names a public key: SHA256: and the hash of its SubjectPublicKeyInfo.
func KeyID(public ed25519.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "" // no key of this type fails
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// Hash is what the next report of a chain says of a text: SHA-256 in hexadecimal digits.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Sign puts the second line into payload, a JSON object of several lines.
func Sign(key ed25519.PrivateKey, payload []byte) ([]byte, error) {
	if !bytes.HasPrefix(payload, []byte(opening+`  "`)) {
		return nil, errors.New("what is signed is no JSON object of lines")
	}
	line, err := json.Marshal(signature{algorithm, KeyID(key.Public().(ed25519.PublicKey)), base64.StdEncoding.EncodeToString(ed25519.Sign(key, payload))})
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(payload)+len(line)+len(label)+len(ending))
	out = append(append(out, opening...), label...)
	out = append(append(out, line...), ending...)
	return append(out, payload[len(opening):]...), nil
}

// split takes a signed text apart.
func split(text []byte) (payload []byte, s signature, err error) {
	rest, ok := bytes.CutPrefix(text, []byte(opening+label))
	if !ok {
		return nil, s, ErrUnsigned
	}
	line, _, ok := bytes.Cut(rest[:min(len(rest), lineBytesMax)], []byte(ending))
	if !ok || json.Unmarshal(line, &s) != nil {
		return nil, s, ErrUnsigned
	}
	payload = append([]byte(opening), text[len(opening)+len(label)+len(line)+len(ending):]...)
	return payload, s, nil
}

// Verify answers the bytes that the key has signed. What it answers an error for is not to be
// looked at.
func Verify(text []byte, public ed25519.PublicKey) (payload []byte, err error) {
	if len(text) > BytesMax {
		return nil, fmt.Errorf("it is larger than %d MiB", BytesMax>>20)
	}
	payload, s, err := split(text)
	switch {
	case err != nil:
		return nil, err
	case s.Algorithm != algorithm:
		return nil, fmt.Errorf("its signature is not of %s", algorithm)
	case s.KeyID != KeyID(public):
		return nil, ErrOtherKey
	}
	value, err := base64.StdEncoding.DecodeString(s.Value)
	if err != nil || !ed25519.Verify(public, payload, value) {
		return nil, ErrChanged
	}
	return payload, nil
}

// SignedBy is what a text says of the key that has signed it, which is worth nothing by itself; "": nothing.
func SignedBy(text []byte) string {
	_, s, err := split(text)
	if err != nil {
		return ""
	}
	return s.KeyID
}

// pemPublic and pemPrivate are the types of PEM blocks (RFC 7468, 10 and 13).
const (
	pemPublic  = "PUBLIC KEY"
	pemPrivate = "PRIVATE KEY"
)

// EncodePublic is the key as PEM, which other programs read.
func EncodePublic(public ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}), nil
}

// ParsePublic reads what EncodePublic wrote.
func ParsePublic(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPublic {
		return nil, errors.New("no PUBLIC KEY in PEM is in it; redoubt doctor --public-key prints that of a node")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := key.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("its public key is not one of Ed25519")
	}
	return public, nil
}
