package jwt

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Bounds of Options.
const (
	LeewayMax        = time.Minute // more would be a second lifetime
	AudienceMax      = 16
	ChecksMax        = 16
	checkBytesMax    = 1024
	cacheEntriesMax  = 10_000
	CacheForDefault  = time.Minute
	CacheForMax      = time.Hour
	LeewayDefault    = 5 * time.Second
	LifetimeDefault  = 24 * time.Hour
	EarlyEvery       = 30 * time.Second // a key set is asked for ahead of time no more often, whatever tokens say
	waitingMax       = 256              // for that
	queueDefault     = 1000
	identityBytesMax = 64 // of the name of a claim
)

// Options are what an Authenticator is made of. Of the keys there is exactly one kind.
type Options struct {
	Name       string   // how configuration calls it
	Algorithms []string // of Algorithms; not empty, and all for the kind of the keys
	Keys       Keys
	Demands    Demands
	Gives      Gives

	// FromUsername takes the token from the user name of CONNECT and not its password.
	FromUsername bool
	// AnyUsername lets CONNECT have another user name than the identity of the token. It is
	// looked at in Demands.Claims only.
	AnyUsername bool
	TokenBytes  int           // 0: TokenBytesDefault
	CacheFor    time.Duration // how long a verified token is not verified again; 0: each time
	Workers     int           // that verify signatures; 0: one
	Queue       int           // tokens that may wait for one; 0: 1000

	Clock clock.Clock
	Log   *slog.Logger
	// Outage is told after each time the key set was asked for: why it cannot be had, and what
	// follows of that; empty where it could be. nil: nobody is. It does not block.
	Outage func(now time.Time, why string)
	// Revoked says why a token is not good any more, by its jti, its identity and its iat (1970
	// if it has none); empty: it is. It must not block. nil: none is revoked.
	Revoked func(id, identity string, issued time.Time) string
}

// Keys are what verifies tokens.
type Keys struct {
	Secret        secret.Value // of HMAC
	SecretEncoded bool         // it is written in base64
	Public        []File       // PEM: public keys and certificates
	Set           *Set         // a JWKS
}

// File is a file that was read.
type File struct {
	Path string
	Data []byte
}

// Demands are what a token must say.
type Demands struct {
	Issuer      string            // iss; empty: any
	Audience    []string          // one of them must be in aud; nil: any
	Claims      map[string]string // by name; the values may hold ${username} and ${clientid}
	Leeway      time.Duration     // between the clocks of issuer and broker
	LifetimeMax time.Duration     // from iat, and from now, to exp; 0: any
}

// Gives are what a token brings.
type Gives struct {
	Identity     string // the claim that says who; empty: sub
	ACL          string // the claim with rules; empty: none is read
	Superuser    bool   // is_superuser is believed
	Attributes   bool   // client_attrs is
	BeyondExpiry bool   // a connection may last longer than its token
}

// settled is Options in the form that is used.
type settled struct {
	Options
	algs   []jose.SignatureAlgorithm
	static []key
	checks []check
}

func (o *Options) settle(files bool) (*settled, error) {
	s := &settled{Options: *o}
	kinds := 0
	for _, there := range []bool{!o.Keys.Secret.Empty(), len(o.Keys.Public) > 0, o.Keys.Set != nil} {
		if there {
			kinds++
		}
	}
	if kinds != 1 {
		return nil, errors.New("exactly one of secret, public_keys and jwks says what verifies tokens")
	}
	var err error
	symmetric := !o.Keys.Secret.Empty()
	if s.algs, err = checkAlgorithms(o.Algorithms, symmetric); err != nil {
		return nil, err
	}
	if err := s.loadKeys(files); err != nil {
		return nil, err
	}
	if s.Gives.Identity == "" {
		s.Gives.Identity = "sub"
	}
	if s.TokenBytes == 0 {
		s.TokenBytes = TokenBytesDefault
	}
	switch d := &s.Demands; {
	case s.TokenBytes < TokenBytesMin || s.TokenBytes > TokenBytesMax:
		return nil, fmt.Errorf("token_bytes is %d; it is from %d to %d", s.TokenBytes, TokenBytesMin, TokenBytesMax)
	case d.Leeway < 0 || d.Leeway > LeewayMax:
		return nil, fmt.Errorf("leeway is %v; it is from 0s to %v", d.Leeway, LeewayMax)
	case d.LifetimeMax < 0:
		return nil, fmt.Errorf("lifetime_max is %v; 0s is none", d.LifetimeMax)
	case s.CacheFor < 0 || s.CacheFor > CacheForMax:
		return nil, fmt.Errorf("cache is %v; it is from 0s to %v", s.CacheFor, CacheForMax)
	case len(d.Audience) > AudienceMax:
		return nil, fmt.Errorf("audience has %d entries; the most is %d", len(d.Audience), AudienceMax)
	case slices.Contains(d.Audience, ""):
		return nil, errors.New("audience has an empty entry")
	case len(s.Gives.Identity) > identityBytesMax || len(s.Gives.ACL) > identityBytesMax:
		return nil, fmt.Errorf("the name of a claim has at most %d bytes", identityBytesMax)
	}
	s.checks, err = compileChecks(s.Demands.Claims, s.FromUsername)
	return s, err
}

func (s *settled) loadKeys(files bool) error {
	if !s.Keys.Secret.Empty() {
		k, err := secretKey(s.Keys.Secret.Reveal(), s.Keys.SecretEncoded, s.Algorithms)
		s.static = []key{k}
		return err
	}
	if s.Keys.Set != nil {
		return s.Keys.Set.check()
	}
	if !files {
		return nil
	}
	for _, f := range s.Keys.Public {
		keys, err := readPEM(f.Path, f.Data)
		if err != nil {
			return err
		}
		s.static = append(s.static, keys...)
	}
	if len(s.static) > triesMax {
		return fmt.Errorf("public_keys has %d keys; the most is %d, because each is tried on every token. A jwks can have %d, which have names", len(s.static), triesMax, KeysMax)
	}
	for i := range s.static {
		if !slices.ContainsFunc(s.Algorithms, func(a string) bool { return fits(s.static[i].value, a) }) {
			return fmt.Errorf("%s is a key for none of algorithms (%s)", s.static[i].origin, strings.Join(s.Algorithms, ", "))
		}
	}
	for _, a := range s.Algorithms {
		if len(s.static) > 0 && !slices.ContainsFunc(s.static, func(k key) bool { return fits(k.value, a) }) {
			return fmt.Errorf("algorithms: %s has no key that it could be verified with", a)
		}
	}
	return nil
}

// CheckForm tells what is wrong with options before anything is made of them. It does not look
// into files.
func CheckForm(o *Options) error {
	_, err := o.settle(false)
	return err
}

// CheckFiles is CheckForm, and looks into files, too: what New would refuse. It asks no issuer.
func CheckFiles(o *Options) error {
	_, err := o.settle(true)
	return err
}

// check is one of Demands.Claims.
type check struct {
	claim string
	parts []part
}

// part is text, or what a client has called itself.
type part struct {
	text string
	of   func(*auth.Request) string // nil: the text
}

var variables = map[string]func(*auth.Request) string{
	"username": func(r *auth.Request) string { return r.Username },
	"clientid": func(r *auth.Request) string { return r.ClientID },
}

// timeClaims have a meaning that a comparison of texts would only get wrong.
var timeClaims = []string{"exp", "nbf", "iat"}

func compileChecks(claims map[string]string, fromUsername bool) ([]check, error) {
	if len(claims) > ChecksMax {
		return nil, fmt.Errorf("claims has %d entries; the most is %d", len(claims), ChecksMax)
	}
	var out []check
	for name, want := range claims {
		c := check{claim: name}
		if slices.Contains(timeClaims, name) {
			return nil, fmt.Errorf("claims: %s is judged as a time already; take it out", name)
		}
		if name == "" || len(name) > identityBytesMax || len(want) > checkBytesMax {
			return nil, fmt.Errorf("claims: a name has 1 to %d bytes and a value at most %d", identityBytesMax, checkBytesMax)
		}
		for rest := want; rest != ""; {
			text, after, open := strings.Cut(rest, "${")
			if text != "" {
				c.parts = append(c.parts, part{text: text})
			}
			if !open {
				break
			}
			v, after, closed := strings.Cut(after, "}")
			of, known := variables[v]
			switch {
			case !closed || !known:
				return nil, fmt.Errorf("claims.%s: %q has a placeholder that is not known; there are ${username} and ${clientid}", name, want)
			case v == "username" && fromUsername:
				return nil, fmt.Errorf("claims.%s: ${username} is the token itself, which from: username says", name)
			}
			c.parts = append(c.parts, part{of: of})
			rest = after
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b check) int { return strings.Compare(a.claim, b.claim) })
	return out, nil
}

// want is the text that a claim must have for this client; ok is false where it is empty,
// which no claim is equal to.
func (c *check) want(req *auth.Request) (text string, ok bool) {
	var b strings.Builder
	for i := range c.parts {
		p := &c.parts[i]
		if p.of == nil {
			b.WriteString(p.text)
			continue
		}
		v := p.of(req)
		if v == "" {
			return "", false
		}
		b.WriteString(v)
	}
	return b.String(), b.Len() > 0
}
