package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// ProbeLifeMax bounds a certificate for a probe.
const ProbeLifeMax = time.Minute

// probeAheadMax is how far in the future one may begin.
const probeAheadMax = 2 * time.Hour

// Prober makes certificates of the CA of devices for the probes of redoubt doctor: good
// ones, and such that a listener has to refuse.
//
// They are not recorded in issued.json, as everything is that a device gets. That file
// keeps what can be revoked, and for ever: these last a minute, which no list overtakes,
// the keys never leave the process that asked, and a check every hour would fill it. Who
// can make one has the CA's key, and could make any.
type Prober struct {
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

// DevicesProber opens the CA of devices of a data directory for reading, as its owner or
// root.
func DevicesProber(dataDir string) (*Prober, error) {
	dir := filepath.Join(dataDir, certsDir, devicesDir)
	certFile, keyFile := filepath.Join(dir, caCertName), filepath.Join(dir, caKeyName)
	cert, err := safefile.Read(certFile, fileBytesMax)
	if err != nil {
		return nil, err
	}
	secret, err := safefile.Read(keyFile, fileBytesMax)
	if err != nil {
		return nil, err
	}
	ca, key, err := parseCA(cert, secret, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &Prober{ca, key}, nil
}

// CA is the certificate of the CA.
func (p *Prober) CA() *x509.Certificate { return p.ca }

// ProbeCert is a certificate for a probe.
type ProbeCert struct {
	Name      string // in every field that can name a client
	NotBefore time.Time
	NotAfter  time.Time // at most ProbeLifeMax behind
	Usage     x509.ExtKeyUsage
}

// Issue makes one with a new key.
func (p *Prober) Issue(now time.Time, c ProbeCert) (*tls.Certificate, error) {
	if c.NotAfter.Sub(c.NotBefore) > ProbeLifeMax || c.NotBefore.After(now.Add(probeAheadMax)) {
		return nil, fmt.Errorf("BUG: a certificate for a probe that lives %v from %v", c.NotAfter.Sub(c.NotBefore), c.NotBefore)
	}
	return IssueFor(c, p.ca, p.key)
}

// IssueFor makes a certificate with a new key, by whatever CA a probe has made for itself.
func IssueFor(c ProbeCert, ca *x509.Certificate, signer *ecdsa.PrivateKey) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: c.Name}, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{c.Usage}, BasicConstraintsValid: true,
		DNSNames: []string{c.Name}, EmailAddresses: []string{c.Name}, URIs: []*url.URL{{Scheme: "urn", Opaque: c.Name}},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.Join(errors.New("BUG: a certificate that cannot be read"), err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: x}, nil
}
