package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki/revoke"
	"github.com/redoubtmq/redoubt/store/fact"
)

// deniedKey is the list of certificates that are refused whatever their CA says.
const deniedKey = "certificates.denied"

// deniedCerts is the list of c, with what is denied for probes of the doctor at the moment.
func (n *node) deniedCerts(c *config.Config) (*revoke.Denied, error) {
	entries := c.Certificates.Denied
	if probes := n.probed.Load(); probes != nil {
		entries = slices.Concat(entries, *probes)
	}
	d, err := revoke.ParseDenied(entries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", deniedKey, err)
	}
	return d, nil
}

// denies answers what puts the list of c in force: new connections are judged by it, and those
// there are, again. It reads no file, so that nothing else can be in the way.
func (n *node) denies(c *config.Config) (enforce func(), err error) {
	if slices.Equal(c.Certificates.Denied, n.loaded.Load().Config.Certificates.Denied) {
		return func() {}, nil
	}
	d, err := n.deniedCerts(c)
	if err != nil {
		return nil, err
	}
	return func() {
		n.judgeDenied(d)
		n.server.Recheck()
	}, nil
}

// judgeDenied has new connections judged by d.
func (n *node) judgeDenied(d *revoke.Denied) {
	n.enrol.deny(d)
	for _, l := range n.doors() {
		if clients := l.Clients.Load(); clients != nil {
			l.ask(clients.Deny(d), n.clock.Now)
		}
	}
}

// DenyForProbes implements admin.Denier, in the way of certificates.denied. Those who are
// connected are judged again when a denial has come, and not when it has gone.
func (n *node) DenyForProbes(ctx context.Context, entries []string) error {
	done, err := n.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	before := n.probed.Swap(&entries)
	d, err := n.deniedCerts(n.loaded.Load().Config)
	if err != nil {
		n.probed.Store(before)
		return err
	}
	n.judgeDenied(d)
	if before == nil || slices.ContainsFunc(entries, func(e string) bool { return !slices.Contains(*before, e) }) {
		n.server.Recheck()
	}
	return nil
}

// sameEntry tells whether two entries of a list mean the same.
func sameEntry(key, a, b string) bool {
	if key == deniedKey {
		x, errX := revoke.DenialID(a)
		y, errY := revoke.DenialID(b)
		if errX == nil && errY == nil {
			return x == y
		}
	}
	return a == b
}

// AmendSetting implements admin.Settings. What is on the list is read and written in one
// turn, so that of two operators neither undoes what the other did.
func (n *node) AmendSetting(ctx context.Context, key, entry string, gone bool, by int, before func(admin.SettingChange)) (admin.SettingChange, error) {
	return n.changeSetting(ctx, key, before, func(kept []config.Kept) ([]config.Kept, fact.Value, error) {
		if err := n.next.Load().Settable(key); err != nil {
			return nil, fact.Value{}, err
		}
		list, err := n.entries(key)
		if err != nil {
			return nil, fact.Value{}, err
		}
		same := func(other string) bool { return sameEntry(key, entry, other) }
		switch there := slices.ContainsFunc(list, same); {
		case gone && !there:
			return nil, fact.Value{}, &config.KeyError{Key: key, Fault: config.Unknown, What: fmt.Sprintf("does not have %q. redoubt config get %s shows what it has", entry, key)}
		case gone:
			list = slices.DeleteFunc(list, same)
		case !there:
			list = append(list, entry)
		}
		if len(list) == 0 && key == deniedKey { // its default
			return without(kept, key), fact.Value{Name: key, Gone: true}, nil
		}
		text, err := json.Marshal(list) // which is YAML on one line
		if err != nil {
			return nil, fact.Value{}, fmt.Errorf("%s: %w", key, err)
		}
		k := config.Kept{Key: key, Value: string(text), At: n.clock.Now().UTC(), UID: by}
		return append(without(kept, key), k), fact.Value{Name: key, Content: k.Content()}, nil
	})
}

// entries are those of a list of texts.
func (n *node) entries(key string) (list []string, err error) {
	s, there := n.next.Load().Setting(key)
	all, isList := s.Value.([]any)
	if !there || !isList {
		return nil, &config.KeyError{Key: key, Fault: config.BelongsToFile, What: "is no list"}
	}
	for _, e := range all {
		text, isText := e.(string)
		if !isText {
			return nil, errors.New(key + " is no list of texts")
		}
		list = append(list, text)
	}
	return list, nil
}
