package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/mqtt"
)

// trialWithin is how long the authenticators may take to refuse somebody who shows nothing.
// One that has not answered then has not let him in.
const trialWithin = 3 * time.Second

// nowhere is an address of nobody (TEST-NET-1, RFC 5737).
var nowhere = netip.MustParseAddr("192.0.2.1")

// tryChains asks instead of believing the text of the configuration: a client without user
// name, password and certificate is let in by no listener that opens (P4.1).
func tryChains(c *config.Config, chains map[string]*auth.Chain) error {
	type answer struct {
		listener string
		auth.Result
	}
	answers := make(chan answer, len(chains))
	asked := 0
	for _, name := range sortedKeys(chains) {
		if len(c.Listeners[name].Bind) == 0 {
			continue
		}
		asked++
		chains[name].Authenticate(&auth.Request{ClientID: "trial-" + rand.Text(), Listener: name, Addr: nowhere, Version: byte(mqtt.V5)},
			func(r auth.Result) { answers <- answer{name, r} })
	}
	within, cancel := context.WithTimeout(context.Background(), trialWithin)
	defer cancel()
	var open []string
	for range asked {
		select {
		case <-within.Done():
			return openTo(open)
		case a := <-answers:
			if a.Outcome == auth.Allow {
				open = append(open, fmt.Sprintf("P4.1: listeners.%s: a client without user name, password and certificate is let in by authenticator %s of authn.chains.%s. Have it ask for something: nobody comes in without saying who he is.",
					a.listener, a.Principal.Method, c.Listeners[a.listener].Authn))
			}
		}
	}
	return openTo(open)
}

func openTo(open []string) error {
	if len(open) == 0 {
		return nil
	}
	return errors.New("refusing to go ready: " + strings.Join(open, "\n"))
}

// tryPolicy asks the rules in force what somebody may do who has just been made up. A rule
// that somebody wrote may allow it; nothing else may (P4.2): a broker whose rules are read
// and not enforced must not go ready.
func tryPolicy(policy *auth.Policy) error {
	written := policy.Rules()
	written = written[:len(written)-1] // the last one is nobody's
	who := "trial-" + rand.Text()
	by := &auth.Principal{Identity: who, Username: who, ClientID: who, Addr: nowhere}
	for _, a := range []auth.Access{
		{Action: auth.Publish, Topic: []byte(who + "/x"), QoS: 1},
		{Action: auth.Subscribe, Topic: []byte("#")},
		{Action: auth.Subscribe, Topic: []byte("$SYS/#")},
		{Action: auth.Subscribe, Topic: []byte("$share/g/#")},
	} {
		if d := policy.Decide(by, a); d.Allow && !slices.Contains(written, d.Rule) {
			return fmt.Errorf("refusing to go ready: P4.2: somebody about whom there is no rule may %s %s: the rules are not enforced. That is a fault of this program and not of the configuration", a.Action, a.Topic)
		}
	}
	return nil
}
