package main

import (
	"context"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/acl"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// ruleRecords keeps the built-in rules as records of the log. It implements acl.Keeper.
type ruleRecords struct {
	log     store.Log
	view    *view.View
	applied func(context.Context, store.Seq) error // waits until a record was applied
}

var _ acl.Keeper = (*ruleRecords)(nil)

// Rules implements acl.Keeper.
func (k *ruleRecords) Rules(fn func(name string, content []byte) error) error {
	return k.view.Values(store.Rule, fn)
}

// Write implements acl.Keeper.
func (k *ruleRecords) Write(lists ...acl.Kept) error {
	values := make([]fact.Value, 0, len(lists))
	for _, l := range lists {
		values = append(values, fact.Value{Name: l.Name, Content: l.Content, Gone: l.Content == nil})
	}
	return keep(k.log, k.applied, keepWithin, store.Rule, values...)
}

// ruling is the built-in rules of a node, with who judges live sessions by them.
type ruling struct {
	*acl.Store
	changed chan struct{} // there is something to judge again
}

// openRules reads the built-in rules and puts all sources in force. Changes wait with
// applied.
func (n *node) openRules(c *config.Config, applied func(context.Context, store.Seq) error) error {
	s, err := acl.Open(&ruleRecords{n.durable.log, n.durable.view, applied})
	if err != nil {
		return err
	}
	n.rules = ruling{s, make(chan struct{}, 1)}
	n.govern(c, n.authz.Policy(), n.firstCandidate(c))
	s.OnChange(func(b *auth.Book) {
		n.tried.Rules.SetBook(b)
		n.authz.SetBook(b)
		select {
		case n.rules.changed <- struct{}{}:
		default:
		}
	})
	return nil
}

// govern puts the sources of authz.order in force, with the rules that the file has now, and
// has those of tried judged beside them; nil: none.
func (n *node) govern(c *config.Config, file, tried *auth.Policy) {
	n.rules.Hold(func(book *auth.Book) {
		n.try(c, tried, book)
		n.authz.Swap(auth.Compose(sourcesOf(c, file, book)...))
	})
}

// sourcesOf are the places of authz.order.
func sourcesOf(c *config.Config, file *auth.Policy, book *auth.Book) (order []auth.Source) {
	for _, name := range c.Authz.Order {
		s := auth.Source{Name: name}
		switch name {
		case auth.SourceRules:
			s.Rules = file
		case auth.SourceBuiltin:
			s.Book = book
		}
		order = append(order, s)
	}
	return order
}

// rejudgeEvery is how often at most all sessions are judged because built-in rules change:
// somebody who changes a thousand, one after the other, must not keep a pass from its end.
const rejudgeEvery = 500 * time.Millisecond

// keepRules has what clients have open judged by changed rules, until ctx is done.
func (n *node) keepRules(ctx context.Context) {
	pause := time.NewTicker(rejudgeEvery)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.rules.changed:
		}
		n.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
		pause.Reset(rejudgeEvery)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}
