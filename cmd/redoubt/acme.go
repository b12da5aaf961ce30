package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/acme"
)

// acmeManagers get certificates by ACME, by listener. Written by the start.
type acmeManagers map[string]*acme.Manager

// openACME makes the manager of a listener that wants one. It asks nobody yet.
func (n *node) openACME(name string, c config.Listener) error {
	a := &c.TLS.ACME
	if len(a.Names) == 0 {
		return nil
	}
	var roots *x509.CertPool
	if a.DirectoryCA != "" {
		chain, err := pki.ReadChain(a.DirectoryCA)
		if err != nil {
			return fmt.Errorf("listeners.%s.tls.acme.directory_ca: %w", name, err)
		}
		roots = x509.NewCertPool()
		for _, x := range chain {
			roots.AddCert(x)
		}
	}
	m, err := acme.New(acme.Options{
		DataDir: n.loaded.Load().Config.Node.DataDir, Names: a.Names, Email: a.Email, Directory: a.Directory, Roots: roots, Bind: a.ChallengeBind,
		Obtained: func(host string) {
			n.alarms.Clear(n.clock.Now(), alarm.ACMEFailed, host)
			n.log.Info("a server certificate was got by ACME", "listener", name, "name", host)
			n.watch.again.Store(true)
		},
		Failed: func(host string, err error) {
			n.alarms.Raise(n.clock.Now(), alarm.ACMEFailed, host, fmt.Sprintf("no certificate can be had for listener %s, and it is tried again: %v", name, err))
		},
	})
	if err != nil {
		return fmt.Errorf("listeners.%s.tls.acme: %w", name, err)
	}
	if n.acme == nil {
		n.acme = make(acmeManagers)
	}
	n.acme[name] = m
	return nil
}

// startACME runs the managers in services.
func (n *node) startACME(ctx context.Context, s *services) {
	for _, name := range sortedKeys(n.acme) {
		s.run(func() error { return n.acme[name].Run(ctx) }, n)
	}
}

// pairsOf are the files of a listener's certificates: those of the configuration, or those
// that ACME has brought so far.
func (n *node) pairsOf(name string, c *config.Listener) []config.Certificate {
	m := n.acme[name]
	if m == nil {
		return c.TLS.Certificates
	}
	var pairs []config.Certificate
	for _, host := range c.TLS.ACME.Names {
		cert, key := m.Files(host)
		if _, err := os.Lstat(cert); err != nil {
			continue // not yet
		}
		pairs = append(pairs, config.Certificate{Cert: cert, Key: config.Secret{Ref: "file:" + key}})
	}
	return pairs
}
