package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// issued is a fresh key with its certificate, in PEM.
type issued struct {
	cert []byte
	key  []byte
}

// newCA makes the server CA.
func newCA(now time.Time) (issued, error) {
	serial := newSerial()
	// The number keeps two brokers' CAs apart in a trust store that looks issuers up by
	// name.
	return newRoot(now, serial, fmt.Sprintf("Redoubt server CA %x", serial.Bytes()[:4]))
}

// newRoot makes a CA: ECDSA P-256, self-signed, path length 0, so that no CA below it can
// exist.
func newRoot(now time.Time, serial *big.Int, name string) (issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issued{}, fmt.Errorf("make the CA key: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(caLife).UTC(),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            0,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return issued{}, fmt.Errorf("make the CA certificate: %w", err)
	}
	return encode(der, key)
}

// serverName is the common name of every server certificate.
const serverName = "Redoubt server"

// newLeaf makes a server certificate for names: a new key each time, server
// authentication only. It never outlives its CA.
func newLeaf(now time.Time, ca *x509.Certificate, caKey *ecdsa.PrivateKey, names Names) (issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issued{}, fmt.Errorf("make the server key: %w", err)
	}
	notAfter := now.Add(leafLife)
	if ca.NotAfter.Before(notAfter) {
		notAfter = ca.NotAfter
	}
	names = names.normal()
	t := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: serverName},
		NotBefore:    now.Add(-backdate).UTC(),
		NotAfter:     notAfter.UTC(),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// Says "not a CA" in so many words; without it some verifiers guess.
		BasicConstraintsValid: true,
		DNSNames:              names.Hosts,
		IPAddresses:           names.ips(),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	if err != nil {
		return issued{}, fmt.Errorf("make the server certificate: %w", err)
	}
	return encode(der, key)
}

// newSerial is 127 random bits with the highest set: positive, at most 20 bytes
// and never short (RFC 5280 §4.1.2.2).
func newSerial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

func encode(der []byte, key *ecdsa.PrivateKey) (issued, error) {
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return issued{}, fmt.Errorf("encode the key: %w", err)
	}
	return issued{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}),
	}, nil
}
