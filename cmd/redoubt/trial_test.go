package main

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/config"
)

// answering is an authenticator that has one answer for everybody, or none.
type answering func(done func(auth.Result))

func (answering) Name() string { return "open" }

func (a answering) Authenticate(_ *auth.Request, done func(auth.Result)) { a(done) }

// TestAListenerThatLetsEverybodyInDoesNotOpen: whoever shows nothing is refused at each
// listener, or the broker does not go ready; what does not answer has let nobody in.
func TestAListenerThatLetsEverybodyInDoesNotOpen(t *testing.T) {
	who := auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: "anybody"}}
	deny := answering(func(done func(auth.Result)) { done(auth.Result{Outcome: auth.Deny}) })
	allow := answering(func(done func(auth.Result)) { done(who) })
	ignore := answering(func(done func(auth.Result)) { done(auth.Result{}) })
	silent := answering(func(func(auth.Result)) {})
	bound := config.Listener{Bind: []string{"127.0.0.1:1"}, Authn: "devices"}
	for name, row := range map[string]struct {
		listener config.Listener
		chain    *auth.Chain
		want     string
	}{
		"denies":                 {bound, auth.NewChain(deny), ""},
		"nobody's":               {bound, auth.NewChain(ignore), ""},
		"silent":                 {bound, auth.NewChain(silent), ""},
		"denies before":          {bound, auth.NewChain(deny, allow), ""},
		"no listener":            {config.Listener{}, auth.NewChain(allow), ""},
		"lets in":                {bound, auth.NewChain(allow), "P4.1: listeners.mqtts: a client without user name, password and certificate is let in by authenticator open of authn.chains.devices"},
		"lets in whom none know": {bound, auth.NewChain(ignore, allow), "P4.1: listeners.mqtts"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &config.Config{Listeners: map[string]config.Listener{"mqtts": row.listener}}
				err := tryChains(c, map[string]*auth.Chain{"mqtts": row.chain})
				if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
					t.Errorf("%v, want %q", err, row.want)
				}
			})
		})
	}
}

// TestRulesThatAreNotEnforcedDoNotGoReady: what somebody may do about whom there is no rule
// comes from a rule that somebody wrote, or the broker does not go ready.
func TestRulesThatAreNotEnforcedDoNotGoReady(t *testing.T) {
	for _, text := range []string{
		"version: 1\nrules: []\n",
		"version: 1\nrules:\n  - {allow: all, topics: [\"devices/${username}/#\"]}\n",
		"version: 1\nrules:\n  - {allow: all, topics: [\"#\"]}\n", // doctor has something to say about that
	} {
		p, err := rules.Parse("rules.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := tryPolicy(p); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := tryPolicy(nil); err != nil {
		t.Errorf("no rules at all, which deny: %v", err)
	}
}
