package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/enroll"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// enrolment is the port of enroll.bind; the zero enrolment is off.
type enrolment struct {
	server   *enroll.Server // nil: off
	entrance *listener.Listener
}

// claimsSubject is what an alarm about the files of enrolment names; no listener is called so.
const claimsSubject = "enroll.claims"

// openEnroll opens the port, behind the door of the listeners and with the TLS of one of
// them; nobody is served yet.
func (n *node) openEnroll(c *config.Config) error {
	if len(c.Enroll.Bind) == 0 {
		return nil
	}
	devices, err := pki.OpenDevices(c.Node.DataDir)
	if err != nil {
		return fmt.Errorf("enroll.bind: %w", err)
	}
	known := &pki.Clients{Ask: pki.ClientCertOptional, Identity: pki.IdentityCN}
	if err := known.LoadClientCAs([]string{pki.DevicesCA(c.Node.DataDir)}, n.clock.Now()); err != nil {
		return fmt.Errorf("enroll.bind: %w", err)
	}
	policy, err := n.enrolPolicy(c, n.judges())
	if err != nil {
		return err
	}
	certs, profile := n.pki.Provider, pki.Intermediate
	extra := []*x509.Certificate{n.pki.CA()}
	for _, l := range n.doors() {
		if l.Name == c.Enroll.Listener {
			certs, profile = l.certs.Load, pki.Profile(c.Listeners[l.Name].TLS.Profile)
			if len(c.Listeners[l.Name].TLS.Certificates) > 0 {
				extra = nil
			}
		}
	}
	conf, err := pki.ServerTLS(profile, certs())
	if err != nil {
		return fmt.Errorf("enroll.bind: %w", err)
	}
	conf.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return certs().GetCertificate(hello) }
	n.enrol.server = enroll.New(enroll.Options{
		Devices: devices, Known: known, Extra: extra, Door: n.door, TLS: conf, Clock: n.clock, Audit: n.audit, Log: n.log, Count: n.metrics.NewShard(),
	}, policy)
	n.enrol.entrance = &listener.Listener{Name: "enroll", Protocol: "https", Door: n.door}
	return n.enrol.entrance.Bind(c.Enroll.Bind)
}

// judges are how the listeners judge certificates of clients now.
func (n *node) judges() map[string]*pki.Clients {
	out := make(map[string]*pki.Clients)
	for _, l := range n.doors() {
		if clients := l.Clients.Load(); clients != nil {
			out[l.Name] = clients
		}
	}
	return out
}

// enrolPolicy reads who may enrol. A CA of claim certificates that a listener, or the CA of
// devices, knows is refused: what every device of a batch has would let in anybody.
func (n *node) enrolPolicy(c *config.Config, judges map[string]*pki.Clients) (p enroll.Policy, err error) {
	p.Life = time.Duration(c.Enroll.Life)
	if len(c.Enroll.Bind) == 0 {
		return p, nil
	}
	if p.Denied, err = n.deniedCerts(c); err != nil {
		return p, err
	}
	devices := &pki.Clients{Ask: pki.ClientCertOptional}
	if err := devices.LoadClientCAs([]string{pki.DevicesCA(c.Node.DataDir)}, n.clock.Now()); err != nil {
		return p, fmt.Errorf("enroll.bind: %w", err)
	}
	for i := range c.Enroll.Claims {
		from, key := &c.Enroll.Claims[i], fmt.Sprintf("enroll.claims[%d]", i)
		claim := enroll.Claim{Clients: &pki.Clients{Ask: pki.ClientCertRequired, Depth: 1, Identity: pki.IdentityCN}, PerDay: from.PerDay}
		if err := claim.Clients.LoadClientCAs([]string{from.CA}, n.clock.Now()); err != nil {
			return p, fmt.Errorf("%s.ca: %w", key, err)
		}
		if err := claim.Clients.LoadRevoked(from.CRL, 0); err != nil {
			return p, fmt.Errorf("%s.crl: %w", key, err)
		}
		if claim.Names, err = from.NamesPattern(); err != nil {
			return p, fmt.Errorf("%s.names: %w", key, err)
		}
		if x := devices.Overlaps(claim.Clients); x != nil {
			return p, fmt.Errorf("%s.ca: %s is the CA of devices, or one of the two has issued the other: claim certificates need a CA that issues nothing else", key, pki.Describe(x))
		}
		for _, name := range sortedKeys(judges) {
			if err := apart(name, judges[name], claim.Clients); err != nil {
				return p, fmt.Errorf("%s.ca: %w", key, err)
			}
		}
		p.Claims = append(p.Claims, claim)
	}
	return p, nil
}

// apart refuses a listener that accepts claim certificates.
func apart(name string, clients, claims *pki.Clients) error {
	if x := clients.Overlaps(claims); x != nil {
		return fmt.Errorf("claim certificates of %s would be accepted by listeners.%s (client_ca), too: they need a CA that issues nothing else", pki.Describe(x), name)
	}
	return nil
}

// apart is the same for the claims in force; clients may be nil.
func (e *enrolment) apart(name string, clients *pki.Clients) error {
	if e.server == nil || clients == nil {
		return nil
	}
	for _, claim := range e.server.Policy().Claims {
		if err := apart(name, clients, claim.Clients); err != nil {
			return err
		}
	}
	return nil
}

// addresses are those listened on.
func (e *enrolment) addresses() []string {
	if e.entrance == nil {
		return nil
	}
	return e.entrance.Addresses()
}

// deny puts another list of denied certificates in force.
func (e *enrolment) deny(d *revoke.Denied) {
	if e.server != nil {
		e.server.Deny(d)
	}
}

// apply puts a policy in force.
func (e *enrolment) apply(p enroll.Policy) {
	if e.server != nil {
		e.server.Apply(p)
	}
}
