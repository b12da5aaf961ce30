package harden

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// fakeChain is who gets in at a fake beside its users, and how often.
type fakeChain struct {
	clock *hurried                       // newFake makes it
	takes func(known bool) time.Duration // a refusal, by clock; nil: a hash

	flapping Flapping
	tokens   func(token string) bool             // which are taken; nil: none
	access   func(q AccessQuestion) AccessAnswer // beside what a grant allows; nil: nothing
	rules    []string
	chains   func(all []ChainTrial) []ChainTrial // what is said of them instead; nil: the truth

	takenAway
}

// A broker that takes tokens it should not is found, whatever is wrong with them; one that
// takes none of them passes. The fourth and the fifth try to fool: they refuse what is badly
// signed, and look no further.
func TestForgedTokensAreTried(t *testing.T) {
	t.Parallel()
	const key = "a secret of thirty-two bytes, or so"
	pem := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(pem, []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := config.JWTAuthenticator{Algorithms: []string{"HS256"}, Secret: config.Secret{Value: secret.New([]byte(key))}, Issuer: "us", Audience: []string{"broker"}, Identity: "sub"}
	public := config.JWTAuthenticator{Algorithms: []string{"ES256"}, PublicKeys: []string{pem}}
	byName := shared
	byName.From = config.FromUsername
	signed := func(text string) bool { // with the secret
		at := strings.LastIndex(text, ".")
		var head struct{ Alg string }
		part(t, text, 0, &head)
		var claims map[string]any
		part(t, text, 1, &claims)
		return digests[head.Alg] != nil && jws(head.Alg, claims, []byte(key)) == text && at > 0
	}
	for name, c := range map[string]struct {
		conf  config.JWTAuthenticator
		takes func(alg string, claims map[string]any, text string) bool
		want  string // empty: the row passes
	}{
		"good":                    {shared, func(alg string, c map[string]any, text string) bool { return false }, ""},
		"good, with a public key": {public, func(string, map[string]any, string) bool { return false }, ""},
		"takes none": {shared, func(alg string, _ map[string]any, text string) bool {
			return alg == "none" && strings.HasSuffix(text, ".")
		}, "alg none (tokens): CONNACK 0x00"},
		"takes None": {public, func(alg string, _ map[string]any, _ string) bool { return alg == "None" }, "alg None (tokens): CONNACK 0x00"},
		"does not look at exp": {shared, func(alg string, c map[string]any, text string) bool {
			return alg == "HS256" && c["exp"] != nil && signed(text)
		}, "an expired token with the right signature (tokens): CONNACK 0x00"},
		"takes a token without an end":                   {shared, func(_ string, c map[string]any, text string) bool { return c["exp"] == nil && signed(text) }, "without an end and with the right signature (tokens): CONNACK 0x00"},
		"takes whatever the token says is its algorithm": {shared, func(alg string, _ map[string]any, text string) bool { return alg == "HS384" && signed(text) }, "not listed, with the right secret (tokens): CONNACK 0x00"},
		"a public key is a secret": {public, func(alg string, claims map[string]any, text string) bool {
			b, _ := os.ReadFile(pem)
			return alg == "HS256" && jws("HS256", claims, b) == text
		}, "alg swapped (tokens): CONNACK 0x00"},
		"an empty secret is one": {public, func(alg string, claims map[string]any, text string) bool {
			return alg == "HS256" && jws("HS256", claims, []byte{}) == text
		}, "an empty secret has signed (tokens): CONNACK 0x00"},
		"does not look at the signature": {byName, func(alg string, c map[string]any, text string) bool {
			return alg == "HS256" && c["exp"] != nil && !signed(text)
		}, "another secret has signed (tokens): CONNACK 0x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, flaws{})
			f.config = map[string]config.Listener{"to": {Protocol: "mqtt", Authn: "chain"}}
			f.tokens = func(text string) bool {
				if strings.Count(text, ".") != 2 {
					return false
				}
				var head struct{ Alg string }
				part(t, text, 0, &head)
				claims := map[string]any{}
				part(t, text, 1, &claims)
				return c.takes(head.Alg, claims, text)
			}
			f.listen("to", "mqtt", "127.0.0.1:0")
			e := f.alone(f.env())
			e.Config.Authn.Chains = map[string][]string{"chain": {"tokens", "builtin"}}
			e.Config.Authn.JWT = map[string]config.JWTAuthenticator{"tokens": c.conf}
			rep := examine(t, e, "P4.1")
			want := Fail
			if c.want == "" {
				want = Pass
			}
			fixture("P4.1", "tokens: "+name, want)
			out := text(t, rep)
			if rep.Rows[0].State() != want || !strings.Contains(out, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", rep.Rows[0].State(), want, c.want, out)
			}
			if strings.Contains(out, key) {
				t.Error("the output holds the secret")
			}
		})
	}
}

// A token without an end that the secret has signed goes where nobody can read it on the way,
// and is for nobody else where the authenticator does not look at aud.
func TestEndlessTokensAreNotHeard(t *testing.T) {
	t.Parallel()
	e := newFake(t, flaws{}).env()
	e.Config.Listeners = map[string]config.Listener{"to": {Authn: "chain"}}
	e.Config.Authn.Chains = map[string][]string{"chain": {"tokens"}}
	open := config.JWTAuthenticator{Algorithms: []string{"HS256"}, Secret: config.Secret{Value: secret.New([]byte("a secret of thirty-two bytes, or so"))}}
	strict := open
	strict.Audience = []string{"broker"}
	at := func(s string) spot { return spot{AddrPort: netip.MustParseAddrPort(s)} }
	for name, c := range map[string]struct {
		p    endpoint
		sent bool
	}{
		"plain text":          {endpoint{addr: at("192.0.2.1:1883")}, false},
		"plain text, IPv6":    {endpoint{addr: at("[2001:db8::1]:1883")}, false},
		"plain text in front": {endpoint{addr: at("192.0.2.1:1883"), host: "broker.example"}, false},
		"TLS":                 {endpoint{addr: at("192.0.2.1:8883"), tls: true}, true},
		"TLS in front":        {endpoint{addr: at("192.0.2.1:8883"), host: "broker.example", tls: true}, false},
		"loopback":            {endpoint{addr: at("127.0.0.1:1883")}, true},
		"loopback, IPv6":      {endpoint{addr: at("[::1]:1883")}, true},
		"loopback, mapped":    {endpoint{addr: at("[::ffff:127.0.0.1]:1883")}, true},
		"a unix socket":       {endpoint{addr: spot{network: networkUnix, path: "/x"}}, true},
	} {
		for _, j := range []config.JWTAuthenticator{open, strict} {
			e.Config.Authn.JWT = map[string]config.JWTAuthenticator{"tokens": j}
			c.p.name = "to"
			endless := 0
			for _, s := range e.forged(&c.p, level5) {
				var claims map[string]any
				part(t, string(s.password), 1, &claims)
				if claims["exp"] == nil {
					endless++
				}
				switch aud, _ := claims["aud"].(string); {
				case j.Audience != nil && aud != "broker", j.Audience == nil && !strings.HasPrefix(aud, "probe-"):
					t.Errorf("%s: %s is for %q", name, s.what, aud)
				}
			}
			if (endless == 1) != c.sent {
				t.Errorf("%s: %d tokens without an end", name, endless)
			}
		}
	}
}

// part decodes one of a token's parts.
func part(t *testing.T, text string, n int, into any) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[n])
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Error(err)
	}
}
