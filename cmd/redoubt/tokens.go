package main

import (
	"context"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/tokens"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// tokenPrefix begins the names of revoked tokens among the bans of the log: a token that is
// shut out. No kind of ban is called so.
const tokenPrefix = "token\x00"

// tokenRecords keeps revocations as records of the log. It implements tokens.Keeper.
type tokenRecords struct {
	log     store.Log
	view    *view.View
	applied func(context.Context, store.Seq) error // waits until a record was applied
}

var (
	_ tokens.Keeper = (*tokenRecords)(nil)
	_ admin.Tokens  = (*node)(nil)
)

// Tokens implements tokens.Keeper.
func (k *tokenRecords) Tokens(fn func(content []byte) error) error {
	return k.view.Values(store.Ban, func(name string, content []byte) error {
		if !strings.HasPrefix(name, tokenPrefix) {
			return nil
		}
		return fn(content)
	})
}

// Write implements tokens.Keeper.
func (k *tokenRecords) Write(list ...tokens.Kept) error {
	values := make([]fact.Value, 0, len(list))
	for _, t := range list {
		values = append(values, fact.Value{Name: tokenPrefix + t.Name, Content: t.Content, Gone: t.Content == nil})
	}
	return keep(k.log, k.applied, keepWithin, store.Ban, values...)
}

// openTokens reads the revoked tokens of the log. Changes wait with applied.
func (n *node) openTokens(applied func(context.Context, store.Seq) error) (err error) {
	if n.tokens, err = tokens.Open(&tokenRecords{n.durable.log, n.durable.view, applied}); err != nil {
		return err
	}
	n.metrics.Gauge(metrics.TokensRevoked, n.tokens.Len)
	return nil
}

// RevokedTokens implements admin.Tokens.
func (n *node) RevokedTokens(now time.Time) []*tokens.Revocation { return n.tokens.List(now) }

// RevokeTokens implements admin.Tokens. Who comes in now is judged by it already.
func (n *node) RevokeTokens(r *tokens.Revocation, before func()) error {
	if err := n.tokens.Add(r, before); err != nil {
		return err
	}
	n.server.Each(func(now time.Time, h *broker.Home) {
		h.Revoked(now, func(by *auth.Principal) string { return n.tokens.Judge(now, by) })
	})
	return nil
}

// RestoreTokens implements admin.Tokens.
func (n *node) RestoreTokens(as, who string, before func(*tokens.Revocation)) error {
	return n.tokens.Restore(as, who, before)
}

// tokenRevoked is asked about every token, also about one that was verified before.
func (n *node) tokenRevoked(id, identity string, issued time.Time) string {
	return n.tokens.Why(n.clock.Now(), id, identity, issued)
}

// purgeTokens forgets revocations that are over.
func (n *node) purgeTokens() {
	purged, err := n.tokens.Purge(n.clock.Now(), purgeBansMax)
	if err != nil {
		n.log.Warn("revocations of tokens that are over could not be forgotten; they refuse nobody", "error", err.Error())
	} else if purged > 0 {
		n.log.Info("revocations of tokens are over", "revocations", purged)
	}
}
