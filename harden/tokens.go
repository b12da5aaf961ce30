package harden

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/safefile"
)

// forged are tokens that no authenticator of a chain may take, for each of its JWT
// authenticators. Where it has a secret they are signed with that one, so that what is wrong
// with them is the only thing that is; a public key is used as if it were one.
func (e *Env) forged(p *endpoint, level byte) (list []stranger) {
	now := e.Clock.Now()
	for _, name := range e.Config.Authn.Chains[e.Config.Listeners[p.name].Authn] {
		j, ok := e.Config.Authn.JWT[name]
		if !ok {
			continue
		}
		user := "probe-" + randomText()
		try := func(what, token string) {
			c := connectPacket{level: level, user: &user, password: []byte(token), hasPass: true}
			if j.From == config.FromUsername {
				c.user, c.password, c.hasPass = &token, nil, false
			}
			list = append(list, stranger{what + " (" + name + ")", c})
		}
		good := claimsOf(&j, user, now)
		try("a token that is not signed, alg none", jws("none", good, nil))
		if level == level3 {
			continue // the others are judged by the same code
		}
		try("a token that is not signed, alg None", jws("None", good, nil))
		secret := secretOf(&j)
		if len(secret) == 0 {
			try("a token that an empty secret has signed", jws("HS256", good, []byte{}))
			for _, path := range j.PublicKeys {
				if text, err := safefile.Read(path, 1<<20); err == nil {
					try("a token that the public key has signed as a secret, alg swapped", jws("HS256", good, text))
				}
			}
			continue
		}
		i := slices.IndexFunc(j.Algorithms, func(alg string) bool { return digests[alg] != nil })
		if i < 0 {
			continue
		}
		alg := j.Algorithms[i]
		with := func(change map[string]any) map[string]any {
			out := maps.Clone(good)
			maps.Copy(out, change)
			return out
		}
		const long = time.Hour
		expired := with(map[string]any{"exp": now.Add(-long).Unix(), "iat": now.Add(-2 * long).Unix()})
		try("an expired token with the right signature", jws(alg, expired, secret))
		if p.private() { // who reads it on the way has it for good
			endless := with(nil)
			delete(endless, "exp")
			try("a token without an end and with the right signature", jws(alg, endless, secret))
		}
		for _, other := range []string{"HS256", "HS384", "HS512"} {
			if !slices.Contains(j.Algorithms, other) {
				try("a token of an algorithm that is not listed, with the right secret", jws(other, good, secret))
				break
			}
		}
		try("a token that another secret has signed", jws(alg, good, append([]byte("not "), secret...)))
	}
	return list
}

// private tells whether nobody on the way can read what is sent to p: it does not leave this
// host, or goes inside TLS. What stands in front of the broker may end that and send it on in
// plain text, and nobody has looked at its certificate.
func (p *endpoint) private() bool {
	return p.tls && p.host == "" || p.addr.network == networkUnix || p.addr.Addr().Unmap().IsLoopback()
}

// claimsOf are claims that the authenticator takes. Where it does not look at aud, that is one
// which nobody else has who knows the same secret.
func claimsOf(j *config.JWTAuthenticator, user string, now time.Time) map[string]any {
	c := map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": randomText()}
	if j.Identity != "" {
		c[j.Identity] = user
	}
	if j.Issuer != "" {
		c["iss"] = j.Issuer
	}
	c["aud"] = "probe-" + randomText()
	if len(j.Audience) > 0 {
		c["aud"] = j.Audience[0]
	}
	return c
}

// secretOf is the secret of an authenticator; nil: it has none, or it cannot be read.
func secretOf(j *config.JWTAuthenticator) []byte {
	s := j.Secret.Value.Reveal()
	if !j.SecretBase64 || len(s) == 0 {
		return s
	}
	b, err := base64.StdEncoding.DecodeString(string(s))
	if err != nil {
		return nil
	}
	return b
}

var digests = map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}

// jws makes a token; a nil key leaves out the signature.
func jws(alg string, claims map[string]any, key []byte) string {
	header, _ := json.Marshal(map[string]string{"alg": alg, "typ": "JWT"}) // of plain text
	body, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(body)
	if key == nil {
		return text + "."
	}
	mac := hmac.New(digests[alg], key)
	_, _ = mac.Write([]byte(text)) // never fails
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
