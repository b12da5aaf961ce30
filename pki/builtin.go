package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// BuiltIn is the server CA of one data directory and the leaf it issued. The CA
// is made once and never again: devices trust it. Its key is read while a leaf
// is issued and not kept.
type BuiltIn struct {
	dir      string // of the files
	ca       *x509.Certificate
	provider *Provider

	mu    sync.Mutex // guards all below, and the files while they are written
	names Names
	leaf  *tls.Certificate
}

// Init makes a CA and a leaf in <dataDir>/certs. The data directory must exist.
// The files appear all together or not at all, whatever happens on the way; a
// directory that already holds something is refused.
func Init(dataDir string, now time.Time, names Names) (*BuiltIn, error) {
	dir := filepath.Join(dataDir, certsDir)
	if err := clearLeftovers(dataDir); err != nil {
		return nil, fmt.Errorf("init %s: %w", dir, err)
	}
	// Remove takes an empty directory only, so nothing can be lost here.
	if err := os.Remove(dir); err != nil && !missing(err) {
		return nil, fmt.Errorf("init: %s exists and is not empty; a CA that devices may trust is never replaced: move it away first if that is what you want", dir)
	}
	tmp, err := os.MkdirTemp(dataDir, newDirPattern) // mode 0700
	if err != nil {
		return nil, fmt.Errorf("init %s: %w", dir, err)
	}
	if err := fillNew(tmp, now, names); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, fmt.Errorf("init %s: %w", dir, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, fmt.Errorf("init %s: %w", dir, err)
	}
	if err := syncDir(dataDir); err != nil {
		return nil, fmt.Errorf("init %s: %w", dir, err)
	}
	return Open(dataDir, now, names)
}

// clearLeftovers removes what an interrupted Init left: a CA nobody ever saw.
func clearLeftovers(dataDir string) error { return clearUnder(dataDir, newDirPattern) }

func fillNew(dir string, now time.Time, names Names) error {
	ca, err := newCA(now)
	if err != nil {
		return err
	}
	cert, key, err := parseCA(ca.cert, ca.key, caCertName, caKeyName)
	if err != nil {
		return err
	}
	leaf, err := newLeaf(now, cert, key, names)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{caKeyName, ca.key, keyMode}, {caCertName, ca.cert, certMode},
		{leafKeyName, leaf.key, keyMode}, {leafCertName, leaf.cert, certMode},
	} {
		if err := safefile.Write(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// Open uses what Init made. It refuses files others could read or replace, a CA
// without its key and a key that is another CA's; it never makes a CA. The leaf
// is renewed here if Refresh would.
func Open(dataDir string, now time.Time, names Names) (*BuiltIn, error) {
	b := &BuiltIn{dir: filepath.Join(dataDir, certsDir), provider: NewProvider(), names: names.normal()}
	ca, _, err := b.loadCA()
	if err != nil {
		return nil, err
	}
	if now.After(ca.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s: no device accepts it any more. Move %s away, run redoubt init, put its folder %s back, if it has one (the CA of devices), and give every device the new %s",
			b.CAPath(), day(ca.NotAfter), b.dir, devicesDir, caCertName)
	}
	if now.Before(ca.NotBefore) {
		return nil, fmt.Errorf("%s is valid from %s and it is %s here: set the clock, or devices will refuse what is issued now", b.CAPath(), day(ca.NotBefore), day(now))
	}
	b.ca = ca
	if _, err := b.Refresh(now); err != nil {
		return nil, err
	}
	return b, nil
}

// Ensure opens what is there and makes what is not: Init for a data directory
// without certs, else Open.
func Ensure(dataDir string, now time.Time, names Names) (b *BuiltIn, created bool, err error) {
	if _, err := os.Lstat(filepath.Join(dataDir, certsDir)); missing(err) {
		b, err := Init(dataDir, now, names)
		return b, err == nil, err
	}
	b, err = Open(dataDir, now, names)
	return b, false, err
}

// CAFile is where the built-in CA of a data directory is, whether or not it has
// been made.
func CAFile(dataDir string) string { return filepath.Join(dataDir, certsDir, caCertName) }

// CAPath is the file clients are given.
func (b *BuiltIn) CAPath() string { return filepath.Join(b.dir, caCertName) }

// CA is the certificate clients trust.
func (b *BuiltIn) CA() *x509.Certificate { return b.ca }

// Provider hands out the current leaf; it stays the same over renewals.
func (b *BuiltIn) Provider() *Provider { return b.provider }

// Certificate is the current leaf.
func (b *BuiltIn) Certificate() *tls.Certificate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leaf
}

// SetNames changes what the certificate is to be valid for; the next Refresh
// issues it.
func (b *BuiltIn) SetNames(names Names) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = names.normal()
}

// Refresh renews the leaf when two thirds of its life have passed, its names are
// not the wanted ones, or it is missing or unusable, and swaps it into the
// Provider: connections keep what they have, new ones get the new one. changed
// is true when a leaf was issued. After an error the old leaf stays in use. Its
// owner calls it about hourly; it does I/O.
func (b *BuiltIn) Refresh(now time.Time) (changed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	leaf, err := b.loadLeaf(now)
	if err != nil {
		return false, err
	}
	if leaf == nil {
		if leaf, err = b.issueLeaf(now); err != nil {
			return false, err
		}
		changed = true
	}
	b.leaf = leaf
	b.provider.Set(leaf)
	return changed, nil
}

// loadLeaf answers nil when a new leaf is due, and an error when a person has to
// look: a key that others could have read is not quietly replaced.
func (b *BuiltIn) loadLeaf(now time.Time) (*tls.Certificate, error) {
	certPEM, err := ReadGuarded(b.path(leafCertName))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keyPEM, err := ReadSecret(b.path(leafKeyName))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leaf, err := parsePair(certPEM, keyPEM, b.path(leafCertName), b.path(leafKeyName), now)
	if err != nil {
		// Ours, and anything wrong with it (expired while we were off, written
		// half by a crash between two renames) is repaired by a new one.
		return nil, nil
	}
	if leaf.Leaf.CheckSignatureFrom(b.ca) != nil || !namesOf(leaf.Leaf).equal(b.names) {
		return nil, nil
	}
	if !now.Before(renewAt(leaf.Leaf.NotBefore, leaf.Leaf.NotAfter)) {
		return nil, nil
	}
	return leaf, nil
}

func (b *BuiltIn) issueLeaf(now time.Time) (*tls.Certificate, error) {
	ca, key, err := b.loadCA()
	if err != nil {
		return nil, fmt.Errorf("renew the server certificate: %w", err)
	}
	out, err := newLeaf(now, ca, key, b.names)
	if err != nil {
		return nil, err
	}
	leaf, err := parsePair(out.cert, out.key, b.path(leafCertName), b.path(leafKeyName), now)
	if err != nil {
		return nil, fmt.Errorf("renew the server certificate: %w", err)
	}
	// Key first. A crash in between leaves a pair that does not match, which
	// loadLeaf answers with a new one.
	if err := safefile.Write(b.path(leafKeyName), out.key, keyMode); err != nil {
		return nil, err
	}
	if err := safefile.Write(b.path(leafCertName), out.cert, certMode); err != nil {
		return nil, err
	}
	return leaf, nil
}

// loadCA reads the CA and its key, and says in words what is wrong with them.
func (b *BuiltIn) loadCA() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certPEM, certErr := ReadGuarded(b.path(caCertName))
	keyPEM, keyErr := ReadSecret(b.path(caKeyName))
	switch {
	case missing(certErr) && missing(keyErr):
		return nil, nil, fmt.Errorf("there is no server CA in %s: restore it from a backup, or move the directory away, run redoubt init (devices then need the new %s) and put its folder %s back, if it has one: that is the CA of devices", b.dir, caCertName, devicesDir)
	case missing(certErr):
		return nil, nil, fmt.Errorf("%s is missing while its key is there: put back the copy your devices use", b.CAPath())
	case missing(keyErr):
		return nil, nil, fmt.Errorf("%s is missing while %s is there: restore it from a backup. It is not made anew, because devices that trust %s would refuse a new CA", b.path(caKeyName), b.CAPath(), caCertName)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, nil, err
	}
	return parseCA(certPEM, keyPEM, b.CAPath(), b.path(caKeyName))
}

func (b *BuiltIn) path(name string) string { return filepath.Join(b.dir, name) }

// parseCA reads a CA pair; the file names are for the errors.
func parseCA(certPEM, keyPEM []byte, certFile, keyFile string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	chain, err := parseChain(certPEM, certFile)
	if err != nil {
		return nil, nil, err
	}
	ca := chain[0]
	if !ca.IsCA {
		return nil, nil, fmt.Errorf("%s is not a CA certificate: put back the CA your devices trust", certFile)
	}
	signer, err := parseKey(keyPEM, keyFile)
	if err != nil {
		return nil, nil, err
	}
	key, ok := signer.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(ca.PublicKey) {
		return nil, nil, fmt.Errorf("the key in %s is not the key of %s: restore the pair from one backup", keyFile, certFile)
	}
	return ca, key, nil
}

// syncDir makes a rename inside dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// escapeGlob takes the meaning from the characters filepath.Glob knows.
func escapeGlob(path string) string {
	var out []rune
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(out)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
