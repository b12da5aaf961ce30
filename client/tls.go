package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// TLS says whom to trust and who we are. There is no way to trust everybody: a
// tool that can do that ends up in scripts.
type TLS struct {
	// CAFile is a PEM file with the CA certificates to trust, and CAPath a
	// directory of such files. Both empty: the trust store of the system.
	CAFile, CAPath string
	// CertFile and KeyFile are our own certificate and key in PEM, for a server
	// that asks for one.
	CertFile, KeyFile string
	// SkipHostName leaves out the comparison of the host name with the names in
	// the server's certificate. The chain is verified all the same. It is
	// mosquitto's --insecure.
	SkipHostName bool
	// Resume keeps the sessions that servers give out, for an Opener that connects again.
	Resume bool
	// Now judges the dates of certificates. nil: the clock in Options.
	Now func() time.Time
}

// caFileMax bounds a file of CA certificates, in bytes; the system's bundle has
// a quarter of a megabyte.
const caFileMax = 16 << 20

// tlsSetup is a TLS with its files read, and what the handshake taught us.
type tlsSetup struct {
	conf    *tls.Config
	trusted string              // where the trusted certificates came from, in words
	roots   []*x509.Certificate // nil for the system's
	own     *x509.Certificate   // ours, nil without
	asked   atomic.Bool         // the server asked for a client certificate
	resumed atomic.Int64        // handshakes
}

// aeadSuites are the suites of TLS 1.2 with forward secrecy and authenticated
// encryption (Mozilla guideline 6.0, intermediate). TLS 1.3 has no others.
var aeadSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// setup reads the files and makes the configuration for one connection to host.
func (t *TLS) setup(host string, now func() time.Time) (*tlsSetup, error) {
	if t.Now != nil {
		now = t.Now
	}
	s := &tlsSetup{trusted: "the trust store of this system"}
	s.conf = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: aeadSuites,
		ServerName:   host,
		Time:         now,
	}
	if t.Resume {
		s.conf.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if t.CAFile != "" || t.CAPath != "" {
		if err := s.loadRoots(t); err != nil {
			return nil, err
		}
	}
	if err := s.loadOwn(t); err != nil {
		return nil, err
	}
	if t.SkipHostName {
		s.conf.InsecureSkipVerify = true // replaced by the next line, which leaves out the name only
		s.conf.VerifyConnection = func(cs tls.ConnectionState) error { return verifyChain(cs, s.conf.RootCAs, now()) }
	}
	return s, nil
}

// verifyChain is crypto/tls's own verification without the host name.
func verifyChain(cs tls.ConnectionState, roots *x509.CertPool, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server presented no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, CurrentTime: now, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

// loadRoots reads the CA file, the CA directory, or both.
func (s *tlsSetup) loadRoots(t *TLS) error {
	var names []string
	if t.CAFile != "" {
		cs, err := readCertificates(t.CAFile)
		if err != nil {
			return err
		}
		s.roots = append(s.roots, cs...)
		names = append(names, t.CAFile)
	}
	if t.CAPath != "" {
		entries, err := os.ReadDir(t.CAPath)
		if err != nil {
			return fileError("CA directory", t.CAPath, err)
		}
		before := len(s.roots)
		for _, e := range entries {
			// Hashed links, bundles and stray files share such directories; what is
			// no certificate is passed over, as OpenSSL does.
			if cs, err := readCertificates(filepath.Join(t.CAPath, e.Name())); err == nil {
				s.roots = append(s.roots, cs...)
			}
		}
		if len(s.roots) == before {
			return &Error{Kind: KindFile, What: "no file in the CA directory " + t.CAPath + " holds a PEM certificate"}
		}
		names = append(names, t.CAPath)
	}
	s.conf.RootCAs = x509.NewCertPool()
	for _, c := range s.roots {
		s.conf.RootCAs.AddCert(c)
	}
	s.trusted = strings.Join(names, " and ")
	return nil
}

// readCertificates reads all certificates of a PEM file. A file with none is an
// error that says what it holds instead.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := readSmall(path)
	if err != nil {
		return nil, fileError("CA file", path, err)
	}
	var out []*x509.Certificate
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, &Error{Kind: KindFile, What: "a certificate in the CA file " + path + " cannot be read: " + err.Error(), Err: err}
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		return out, nil
	}
	e := &Error{Kind: KindFile, What: "the CA file " + path + " holds no PEM certificate"}
	switch _, err := x509.ParseCertificates(data); {
	case err == nil && len(data) > 0:
		e.Help = []string{"it is in DER form: convert it with `openssl x509 -inform der -in " + shellWord(path) + " -out ca.pem`"}
	case strings.Contains(string(data), "PRIVATE KEY-----"):
		e.Help = []string{"it holds a private key; the certificate of the CA is another file"}
	}
	return nil, e
}

// loadOwn reads our certificate and key, and makes the handshake tell whether it
// was asked for.
func (s *tlsSetup) loadOwn(t *TLS) error {
	own := new(tls.Certificate)
	switch {
	case t.CertFile == "" && t.KeyFile == "":
	case t.CertFile == "" || t.KeyFile == "":
		return &Error{Kind: KindOptions, What: "a client certificate needs both its certificate file and its key file"}
	default:
		c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return ownCertError(t, err)
		}
		own, s.own = &c, c.Leaf
	}
	s.conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.asked.Store(true)
		return own, nil
	}
	return nil
}

// ownCertError says which of the two files is at fault, and why.
func ownCertError(t *TLS, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fileError("client certificate or key", path.Path, path.Err)
	}
	e := &Error{Kind: KindFile, What: fmt.Sprintf("client certificate %s and key %s: %s", t.CertFile, t.KeyFile, strings.TrimPrefix(err.Error(), "tls: ")), Err: err}
	if key, readErr := readSmall(t.KeyFile); readErr == nil && strings.Contains(string(key), "ENCRYPTED") {
		e.Kind, e.What = KindFile, "the client key "+t.KeyFile+" is encrypted with a passphrase, and this client asks for none"
		e.Help = []string{"decrypt it with `openssl pkey -in " + shellWord(t.KeyFile) + " -out client.key` and keep the result readable by its owner only"}
	}
	return e
}

// readSmall reads a file of certificates or keys.
func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > caFileMax {
		return nil, errors.New("not a regular file, or too large for one with certificates")
	}
	return os.ReadFile(path)
}

// fileError is a file that cannot be read.
func fileError(what, path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &Error{Kind: KindFile, What: fmt.Sprintf("cannot read the %s %s: %v", what, path, err), Err: err}
}

// fingerprint is the SHA-256 of a certificate as openssl prints it.
func fingerprint(c *x509.Certificate) string {
	var b strings.Builder
	for i, x := range sha256.Sum256(c.Raw) {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", x)
	}
	return b.String()
}
