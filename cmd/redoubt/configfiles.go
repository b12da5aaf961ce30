package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

// checkFiles judges the certificates, CAs, keys of tokens, lists, bans and rules that a configuration names as a start
// does, which is when they would be read. It opens nothing else, and makes nothing.
// Its error is a *config.Errors.
func checkFiles(loaded *config.Loaded) error {
	c := loaded.Config
	n := &node{clock: clock.System{}, log: slog.New(slog.DiscardHandler)}
	var found config.Errors
	note := func(err error) {
		if err == nil {
			return
		}
		key, what, cut := strings.Cut(err.Error(), ": ")
		if !cut || !slices.ContainsFunc([]string{"listeners.", "enroll.", "backends.", "authn."}, func(p string) bool { return strings.HasPrefix(key, p) }) {
			key, what = "", err.Error()
		}
		origin := loaded.Origin(key)
		if list, _, item := strings.Cut(key, "["); item {
			origin = loaded.Origin(list)
		}
		found.Problems = append(found.Problems, config.Problem{Origin: origin, Key: key, What: what})
	}
	judges := make(map[string]*pki.Clients)
	for _, name := range sortedKeys(c.Listeners) {
		ln := c.Listeners[name]
		if ln.Plaintext() || len(ln.Bind) == 0 {
			continue
		}
		if len(ln.TLS.Certificates) > 0 { // else that of the built-in CA, which a start makes
			_, err := n.certificates(name, ln)
			note(err)
		}
		clients, err := n.clients(name, withoutListToCome(name, c))
		if err == nil && clients != nil {
			judges[name] = clients
		}
		note(err)
	}
	for _, name := range sortedKeys(c.Backends) {
		b := c.Backends[name]
		_, _, err := backendTLS(&b)
		if err != nil {
			note(fmt.Errorf("backends.%s.tls.%w", name, err))
		}
	}
	for _, name := range sortedKeys(c.Authn.JWT) {
		note(n.jwtFiles(c, name))
	}
	for _, name := range sortedKeys(c.Authn.Kerberos) {
		_, _, err := n.kerberosOf(c, name)
		note(err)
	}
	_, err := n.enrolPolicy(c, judges)
	note(err)
	if _, err := readBans(c, n.clock.Now()); err != nil {
		what := strings.TrimLeft(strings.TrimPrefix(err.Error(), "bans.file:"), " \n")
		found.Problems = append(found.Problems, config.Problem{Origin: loaded.Origin("bans.file"), Key: "bans.file", What: what})
	}
	for _, f := range []struct {
		key, path string
		made      bool // by a start
	}{
		{"authz.rules_file", c.Authz.RulesFile, c.Authz.RulesFile == ownRules(c)},
		{"authz.report_only.rules_file", c.Authz.ReportOnly.RulesFile, false},
	} {
		if f.path == "" {
			continue
		}
		if _, err := rules.Load(f.path); err != nil && !(f.made && errors.Is(err, fs.ErrNotExist)) {
			found.Problems = append(found.Problems, config.Problem{Origin: loaded.Origin(f.key), Key: f.key, What: strings.TrimPrefix(err.Error(), "rules: ")})
		}
	}
	if len(found.Problems) == 0 {
		return nil
	}
	return &found
}

// withoutListToCome is c for one listener; the list of the CA of devices is left out while it
// is missing, because a start writes it before it reads it.
func withoutListToCome(name string, c *config.Config) *config.Config {
	own := pki.DevicesList(c.Node.DataDir)
	if _, err := os.Lstat(own); !errors.Is(err, fs.ErrNotExist) {
		return c
	}
	next, ln := *c, c.Listeners[name]
	ln.TLS.CRL.Files = slices.DeleteFunc(slices.Clone(ln.TLS.CRL.Files), func(file string) bool { return file == own })
	next.Listeners = maps.Clone(c.Listeners)
	next.Listeners[name] = ln
	return &next
}
