package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// withClaims are the rules that come with a client's authentication.
func withClaims(t *testing.T, filters ...string) *auth.Claims {
	t.Helper()
	specs := []auth.RuleSpec{}
	for _, f := range filters {
		specs = append(specs, auth.RuleSpec{Allow: true, Publish: true, Subscribe: true, Topics: []auth.TopicSpec{{Filter: f}}})
	}
	own, err := auth.CompileOwn(auth.SourceClaims, specs)
	if err != nil {
		t.Fatal(err)
	}
	return &auth.Claims{Rules: []auth.Own{own}}
}

// claims has rules of clients asked behind those of text.
func (k *keptDesk) claims(text string) {
	k.t.Helper()
	k.rules(text)
	k.b.authz.Swap(auth.Compose(auth.Source{Name: auth.SourceRules, Rules: k.b.authz.Policy()}, auth.Source{Name: auth.SourceClaims}))
	for _, h := range k.homes {
		h.PolicyChanged(k.now)
	}
}

// reenter connects user with claims to the session it has.
func (k *keptDesk) reenter(user string, c *auth.Claims) seat {
	k.t.Helper()
	k.conns++
	g := &guest{seat: seat{d: k.desk, home: k.lives[user], conn: ConnRef{Slot: 1000 + k.conns, Gen: 7}}}
	by := principal(user)
	by.Claims, by.Method = c, "tokens"
	g.a = Arrival{Conn: g.conn, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 1000, SessionExpiry: 1000}, By: by,
		Later: func(refusal *mqtt.Error) { g.waits, g.refused = false, refusal }}
	g.enter()
	if g.waits {
		if k.flush(); g.refused == nil && !g.waits {
			g.enter()
		}
	}
	s, _ := g.in()
	return s
}

const otherwise = "  - {deny: all, topics: [\"never/#\"]}\n  - {allow: publish, topics: [\"#\"]}"

// A session that was read from the disk keeps what only its client's claims can give, whatever
// the rules do meanwhile; when it comes back it is judged by what its client has proved then,
// and is given nothing that this does not give.
func TestASessionFromTheDiskWaitsForItsClaims(t *testing.T) {
	for _, again := range []string{"the same claims", "fewer claims", "none"} {
		for _, filter := range []string{"mine/x", "$share/g/mine/x"} {
			what := fmt.Sprint(filter, ", ", again)
			k := newKeptDesk(t, 1)
			k.policy = otherwise
			k.lives["a"] = 0
			k.claims(otherwise)
			a := k.reenter("a", withClaims(t, "mine/#", "too/#"))
			k.rest()
			k.hears(a, filter, 1)
			k.hears(a, "too/x", 1)
			pub := k.join(0, "pub")
			k.rest()
			k.crash()
			k.claims(otherwise)
			k.rest()
			pub = k.back("pub")
			pub.publish("mine/x", "1", 1, 1)
			k.rest()
			k.claims(otherwise + "\n  - {deny: all, topics: [\"else/#\"]}") // and the rules change while it is away
			k.rest()
			if k.homes[0].byKey.Len() == 0 {
				t.Fatal("no sessions")
			}
			var c *auth.Claims
			want, left := []string{}, 0
			switch again {
			case "the same claims":
				c, want, left = withClaims(t, "mine/#", "too/#"), []string{"1"}, 2
			case "fewer claims":
				c, left = withClaims(t, "too/#"), 1
			}
			a = k.reenter("a", c)
			if got := k.drinkAll(a)[0]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: it has %v, want %v", what, got, want)
			}
			if n := a.resident().s.Subscriptions(); n != left {
				t.Errorf("%s: %d subscriptions, want %d", what, n, left)
			}
		}
	}
}

// A rule that needs no claims ends what it denies while the client is away.
func TestARuleBeforeTheClaimsEndsWhatIsOnTheDisk(t *testing.T) {
	k := newKeptDesk(t, 1)
	k.lives["a"] = 0
	k.claims(otherwise)
	by := withClaims(t, "mine/#")
	a := k.reenter("a", by)
	k.rest()
	k.hears(a, "mine/x", 1)
	k.crash()
	k.rules("  - {deny: all, topics: [\"mine/#\"]}")
	policy := auth.Compose(auth.Source{Name: auth.SourceRules, Rules: k.b.authz.Policy()}, auth.Source{Name: auth.SourceClaims})
	k.b.authz.Swap(policy)
	for _, h := range k.homes {
		for _, r := range h.slots {
			if r != nil {
				r.by.Method = "builtin" // which makes nobody a superuser
			}
		}
		h.PolicyChanged(k.now)
	}
	k.rest()
	n := -1
	for _, r := range k.homes[0].slots {
		if r != nil {
			n = r.s.Subscriptions()
		}
	}
	if n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}
