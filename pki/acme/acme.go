// Package acme gets server certificates for public names from a CA that speaks ACME, such as
// Let's Encrypt, and renews them. What comes is files in the data directory, which listeners
// read as they read anybody's: judged, watched, stapled. Nobody's handshake goes through
// here.
//
// Rules: RFC 8555 (ACME), challenge http-01; certmagic does the protocol.
package acme

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Options are what one listener wants.
type Options struct {
	DataDir   string
	Names     []string // a certificate each
	Email     string   // whom the CA tells what it has to; empty: nobody
	Directory string   // of the CA; empty: Let's Encrypt
	Roots     *x509.CertPool
	Bind      string // address:port where the CA finds the answer to its challenge

	// Obtained is called after the files of a name are there, or are new ones, and Failed
	// when they cannot be had now; it is tried again. Both from goroutines of their own.
	Obtained func(name string)
	Failed   func(name string, err error)

	CheckEvery time.Duration // whether to renew; 0: ten minutes
	RenewAt    float64       // when less than this part of its life is left; 0: a third
}

// Manager keeps the files of one listener.
type Manager struct {
	names   []string
	storage *certmagic.FileStorage
	cache   *certmagic.Cache
	config  *certmagic.Config
	key     string
}

// Folder is where they are.
func Folder(dataDir string) string { return filepath.Join(dataDir, "certs", "acme") }

// New makes a manager. It asks nobody yet; it has a goroutine until Run ends.
func New(o Options) (*Manager, error) {
	host, text, err := net.SplitHostPort(o.Bind)
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("acme: port %q is no number", text)
	}
	quiet := zap.NewNop() // what it has to say comes as events
	m := &Manager{names: o.Names, storage: &certmagic.FileStorage{Path: Folder(o.DataDir)}}
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.config, nil },
		RenewCheckInterval: o.CheckEvery,
		Logger:             quiet,
	})
	m.config = certmagic.New(m.cache, certmagic.Config{
		Storage: m.storage, Logger: quiet, RenewalWindowRatio: o.RenewAt,
		OCSP: certmagic.OCSPConfig{DisableStapling: true}, // package staple does
		OnEvent: func(_ context.Context, event string, data map[string]any) error {
			name, _ := data["identifier"].(string)
			switch event {
			case "cert_obtained":
				o.Obtained(name)
			case "cert_failed":
				err, _ := data["error"].(error)
				o.Failed(name, err)
			}
			return nil
		},
	})
	issuer := certmagic.NewACMEIssuer(m.config, certmagic.ACMEIssuer{
		CA: o.Directory, Email: o.Email, Agreed: true, TrustedRoots: o.Roots, Logger: quiet,
		DisableTLSALPNChallenge: true, ListenHost: host, AltHTTPPort: port,
	})
	m.config.Issuers = []certmagic.Issuer{issuer}
	m.key = issuer.IssuerKey()
	return m, nil
}

// Files are where the chain and the key of a name are, or will be.
func (m *Manager) Files(name string) (cert, key string) {
	name = strings.ToLower(name)
	return m.storage.Filename(certmagic.StorageKeys.SiteCert(m.key, name)), m.storage.Filename(certmagic.StorageKeys.SitePrivateKey(m.key, name))
}

// Run gets and renews until ctx is done.
func (m *Manager) Run(ctx context.Context) error {
	defer m.cache.Stop()
	if err := m.config.ManageAsync(ctx, m.names); err != nil {
		return fmt.Errorf("acme: %w", err)
	}
	<-ctx.Done()
	return nil
}
