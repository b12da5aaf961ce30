package main

import (
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// clients is how a listener of the configuration judges certificates of clients; nil: it
// asks for none.
func (n *node) clients(name string, all *config.Config) (*pki.Clients, error) {
	c := all.Listeners[name]
	t := &c.TLS
	if c.Plaintext() || t.ClientCert == string(pki.ClientCertNone) {
		return nil, nil
	}
	denied, err := n.deniedCerts(all)
	if err != nil {
		return nil, err
	}
	clients := &pki.Clients{Denied: denied, Ask: pki.ClientCert(t.ClientCert), Depth: t.ChainDepth, Identity: pki.Identity(t.Identity)}
	if err := clients.LoadClientCAs(t.ClientCA, n.clock.Now()); err != nil {
		return nil, fmt.Errorf("listeners.%s.tls.client_ca: %w", name, err)
	}
	if err := clients.LoadRevoked(t.CRL.Files, t.CRL.Grace()); err != nil {
		return nil, fmt.Errorf("listeners.%s.tls.crl.files: %w", name, err)
	}
	for _, ca := range clients.Unlisted() {
		n.log.Warn("crl.files has lists, and none of this CA; certificates that it has issued are refused, unless they name an address that has one: add its list to crl.files",
			"listener", name, "ca", ca.Subject.String())
	}
	for _, why := range clients.Stale(n.clock.Now()) {
		n.log.Warn("a revocation list is old", "listener", name, "why", why, "crl.stale", t.CRL.Stale)
	}
	return clients, nil
}

// ask has new connections judged by clients; nil: nobody is asked for a certificate. The
// keys of session tickets stay those of the listener.
func (d *door) ask(clients *pki.Clients, now func() time.Time) {
	if clients == nil {
		d.asking.Store(nil)
	} else {
		conf := d.TLS.Clone()
		conf.GetConfigForClient = nil
		clients.Apply(conf, now)
		d.asking.Store(conf)
	}
	d.Clients.Store(clients)
}
