package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const (
	// rsaBitsMin is the least every current guideline accepts (112-bit strength).
	rsaBitsMin = 2048
	// chainMax bounds the certificates in one file; real chains have two or three.
	chainMax = 16
)

// LoadPair reads a server certificate with its chain and the key an operator
// gives us. Key and certificate may be in one file. Refused in words are: files
// others could read or change (the key) or change (the certificate), a key of
// another certificate, expired and not yet valid certificates, a CA as server
// certificate, one without a name in it, SHA-1, RSA below 2048 bits and keys of
// samples anywhere in the chain, and a chain in the wrong order or with a gap.
func LoadPair(certFile, keyFile string, now time.Time) (*tls.Certificate, error) {
	certPEM, err := ReadGuarded(certFile)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	keyPEM, err := ReadSecret(keyFile)
	if err != nil {
		return nil, fmt.Errorf("server key: %w", err)
	}
	return parsePair(certPEM, keyPEM, certFile, keyFile, now)
}

// LoadPairWithKey is LoadPair for a key that did not come from a file of its own;
// keyName says in errors where it came from.
func LoadPairWithKey(certFile string, key secret.Value, keyName string, now time.Time) (*tls.Certificate, error) {
	certPEM, err := ReadGuarded(certFile)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	return parsePair(certPEM, key.Reveal(), certFile, keyName, now)
}

func parsePair(certPEM, keyPEM []byte, certFile, keyFile string, now time.Time) (*tls.Certificate, error) {
	chain, err := parseChain(certPEM, certFile)
	if err != nil {
		return nil, err
	}
	if err := checkServerChain(chain, certFile, now); err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM, keyFile)
	if err != nil {
		return nil, err
	}
	if err := belongs(key, chain[0], keyFile, certFile); err != nil {
		return nil, err
	}
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c, nil
}

// belongs judges whether a key is that of a certificate.
func belongs(key crypto.Signer, c *x509.Certificate, keyFile, certFile string) error {
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(c.PublicKey) {
		return fmt.Errorf("the key in %s does not belong to the certificate in %s: give the pair that was issued together", keyFile, certFile)
	}
	return nil
}

// parseChain reads the certificates of a PEM file; anything else in it is passed
// over, so that a combined file works.
func parseChain(b []byte, file string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(chain) == chainMax {
			return nil, fmt.Errorf("%s holds more than %d certificates: give the server certificate and its intermediates, not a bundle of roots", file, chainMax)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d cannot be read: %w", file, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		if len(b) > 0 && b[0] == 0x30 {
			return nil, fmt.Errorf("%s is binary (DER); convert it: openssl x509 -inform der -in %s -out server.pem", file, datadir.Quote(file))
		}
		return nil, fmt.Errorf("%s holds no certificate (-----BEGIN CERTIFICATE-----)", file)
	}
	return chain, nil
}

// errKey keeps key bytes out of errors: those of package x509 are not passed on.
var errKey = errors.New("no unencrypted RSA, ECDSA or Ed25519 private key that can be read (-----BEGIN PRIVATE KEY-----)")

// parseKey reads the first private key of a PEM file.
func parseKey(b []byte, file string) (crypto.Signer, error) {
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("%s holds %w", file, errKey)
		}
		if !bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, fmt.Errorf("the key in %s is protected by a passphrase, which nobody could type at start-up; store it unprotected with mode 0600: openssl pkey -in %s -out server.key", file, datadir.Quote(file))
		}
		if key := parseKeyDER(block.Bytes); key != nil {
			return key, nil
		}
		return nil, fmt.Errorf("%s holds %w", file, errKey)
	}
}

// parseKeyDER tries PKCS #8, SEC 1 and PKCS #1; nil when it is none of them.
func parseKeyDER(der []byte) crypto.Signer {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if s, ok := k.(crypto.Signer); ok {
			return s
		}
		return nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k
	}
	return nil
}

// checkServerChain is the first of serverFaults.
func checkServerChain(chain []*x509.Certificate, file string, now time.Time) error {
	return first(serverFaults(chain, file, now))
}

func first(faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	return faults[0]
}

// serverFaults judges the leaf as a server certificate and every certificate of the chain
// as part of it, and answers everything for which it is refused.
func serverFaults(chain []*x509.Certificate, file string, now time.Time) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	leaf := chain[0]
	if leaf.IsCA {
		fault("the first certificate in %s (%s) is a CA certificate; a server needs one issued by it, and the CA's key has no place on a broker", file, leaf.Subject)
	}
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		fault("the certificate in %s (%s) has no DNS name and no IP address in its Subject Alternative Name, so that clients refuse it; the common name does not count: issue it with the names clients connect to", file, leaf.Subject)
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		fault("the certificate in %s (%s) may not be used by a server: its extended key usage lacks serverAuth", file, leaf.Subject)
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		fault("the certificate in %s (%s) may not sign handshakes: its key usage lacks digitalSignature", file, leaf.Subject)
	}
	if err := aloneFault(chain, file); err != nil {
		faults = append(faults, err)
	}
	return append(faults, chainFaults(chain, file, now)...)
}

// chainFaults judges what holds for every chain: each certificate by itself, and that each
// was issued by the next one.
func chainFaults(chain []*x509.Certificate, file string, now time.Time) (faults []error) {
	for i, c := range chain {
		root := i > 0 && selfIssued(c)
		faults = append(faults, certificateFaults(c, root, fmt.Sprintf("certificate %d in %s (%s)", i+1, file, c.Subject), now)...)
		if i+1 < len(chain) {
			if err := c.CheckSignatureFrom(chain[i+1]); err != nil {
				faults = append(faults, gapFault(chain, i, file))
			}
		}
	}
	return faults
}

// checkCertificate is the first of certificateFaults.
func checkCertificate(c *x509.Certificate, root bool, what string, now time.Time) error {
	return first(certificateFaults(c, root, what, now))
}

// certificateFaults judges what holds for every certificate of a chain. Nobody
// verifies the signature of a root, so that one may be old.
func certificateFaults(c *x509.Certificate, root bool, what string, now time.Time) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if now.Before(c.NotBefore) {
		fault("%s is not valid before %s and it is %s here: check the clock", what, day(c.NotBefore), day(now))
	}
	if now.After(c.NotAfter) {
		fault("%s expired on %s: renew it", what, day(c.NotAfter))
	}
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		if !root {
			fault("%s is signed with %s, which can be forged: issue it with SHA-256", what, c.SignatureAlgorithm)
		}
	}
	if err := checkKey(c.PublicKey, what); err != nil {
		faults = append(faults, err)
	}
	if where := published(c); where != "" {
		fault("%s has a key that everybody has: its private key is published (%s), so that anybody can pretend to be its owner: issue it with a new key", what, where)
	}
	return faults
}

// checkKey judges the public key of a certificate, or of who asks for one.
func checkKey(public crypto.PublicKey, what string) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < rsaBitsMin {
			return fmt.Errorf("%s has an RSA key of %d bits; the least is %d: issue it with a new key, best ECDSA P-256", what, key.N.BitLen(), rsaBitsMin)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return fmt.Errorf("%s has a P-224 key, which TLS 1.3 does not know: issue it with P-256", what)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("%s has a key of a kind that TLS does not use here: issue it with ECDSA P-256", what)
	}
	return nil
}
