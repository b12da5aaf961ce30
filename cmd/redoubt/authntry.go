package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/pki"
)

// TryLogin implements admin.Logins. It asks what a CONNECT asks, in the same order and in
// the same queues, and has no effect on anybody: nothing that counts failures of clients,
// and nothing that bans for them, is told.
func (n *node) TryLogin(req *auth.Request, certificates string, done func(admin.LoginTrial)) error {
	i := slices.IndexFunc(n.doors(), func(l *door) bool { return l.Name == req.Listener })
	if i < 0 {
		return fmt.Errorf("there is no listener %q; there are %s", req.Listener, strings.Join(n.doorNames(), ", "))
	}
	l := n.doors()[i]
	refused, err := n.present(l, req, certificates)
	if err != nil {
		return err
	}
	now := n.clock.Now()
	if ban := n.bans.Address(now, req.Addr); ban != nil && refused == "" {
		refused = "banned: the address is shut out (redoubt ban list)"
	}
	if refused != "" {
		done(admin.LoginTrial{Result: auth.Result{Outcome: auth.Deny, Reason: mqtt.NotAuthorized, Detail: refused}, Door: refused})
		return nil
	}
	chain := n.broker.Chain(l.Chain)
	if chain == nil {
		return fmt.Errorf("listener %s has no chain (listeners.%s.authn)", l.Name, l.Name)
	}
	chain.Try(n.clock, req, func(r auth.Result, steps []auth.Step) {
		out := admin.LoginTrial{Result: r, Steps: steps}
		if r.Outcome == auth.Allow {
			if ban := n.bans.Judge(n.clock.Now(), &r.Principal); ban != nil {
				out.Door = "banned: " + ban.As.String() + " (redoubt ban list)"
				out.Result = auth.Result{Outcome: auth.Deny, Reason: mqtt.Banned, Detail: out.Door}
			} else if !n.stillKnown(&r.Principal) {
				out.Door = "the user was deleted, or the token revoked"
				out.Result = auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: out.Door}
			}
		}
		done(out)
	})
	return nil
}

func (n *node) doorNames() (names []string) {
	for _, l := range n.doors() {
		names = append(names, l.Name)
	}
	return names
}

// present gives the request the certificate as the listener would, and says what the listener
// refuses for; empty: nothing.
func (n *node) present(l *door, req *auth.Request, text string) (refused string, err error) {
	clients := l.Clients.Load()
	if text == "" {
		if clients != nil && clients.Ask == pki.ClientCertRequired {
			return "the listener requires a certificate, and none is shown", nil
		}
		return "", nil
	}
	if clients == nil {
		return "", fmt.Errorf("listener %s asks nobody for a certificate (listeners.%s.tls.client_cert)", l.Name, l.Name)
	}
	var shown []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return "", errors.New("the certificate holds something else than certificates in PEM; give the file without the key")
		}
		shown = append(shown, c)
	}
	if len(shown) == 0 {
		return "", errors.New("there is no certificate in PEM in what was given")
	}
	if _, err := clients.Verify(shown, n.clock.Now()); err != nil {
		return err.Error(), nil
	}
	name, err := clients.Name(shown[0])
	if err != nil {
		return err.Error(), nil //nolint:nilerr // it is the answer
	}
	req.Certificate = auth.Certificate{Name: name, Fingerprint: pki.Fingerprint(shown[0]), CommonName: shown[0].Subject.CommonName, Subject: shown[0].Subject.String()}
	return "", nil
}
