package jwt

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TokenBytes bounds a token. A token is read before anybody has proved anything (A121).
const (
	TokenBytesMin     = 512
	TokenBytesDefault = 8 << 10
	TokenBytesMax     = 64 << 10
)

// kidBytesMax bounds the name of a key.
const kidBytesMax = 256

// refusal is why a token does not let its client in. what never holds the token, nor text
// of it unless the issuer has signed that.
type refusal struct {
	reason mqtt.ReasonCode
	what   string
	retry  bool // no key fits: newer ones may
}

// bad is a token that proves nothing.
func bad(format string, args ...any) *refusal {
	return &refusal{reason: mqtt.BadUserNameOrPassword, what: "the token " + fmt.Sprintf(format, args...)}
}

// unfit is a token that is good, and not for this.
func unfit(format string, args ...any) *refusal {
	return &refusal{reason: mqtt.NotAuthorized, what: "the token " + fmt.Sprintf(format, args...)}
}

// looksLikeToken tells a token from what is none, which the next authenticator of the chain
// may know. What looks like one is never passed on, however bad it is. A token's first part
// is base64url of an object, which begins with { and a quote; and it is three parts.
func looksLikeToken(b []byte) bool {
	dots := bytes.Count(b, []byte{'.'})
	if dots == 0 {
		return false
	}
	var first [3]byte
	if n, _ := base64.RawURLEncoding.Decode(first[:], b[:min(3, len(b))]); n == 2 && first[0] == '{' && bytes.IndexByte([]byte("\"} \t\r\n"), first[1]) >= 0 {
		return true
	}
	return dots == 2 && b[0] != '.' && !slices.ContainsFunc(b, func(c byte) bool { return c != '.' && !base64url(c) })
}

func base64url(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// header is what counts of a token's header. Everything else of it says where a key could be
// had (jku, jwk, x5u, x5c), and none is taken from there.
type header struct{ alg, kid string }

// split takes a token apart and reads its header. It looks at each byte a few times at most
// and allocates no more than it has.
func split(token []byte, algs []jose.SignatureAlgorithm) (h header, r *refusal) {
	if n := bytes.Count(token, []byte{'.'}); n != 2 {
		return h, bad("has %d parts; a signed one has three", n+1)
	}
	for _, c := range token {
		if c != '.' && !base64url(c) {
			return h, bad("is not base64url")
		}
	}
	var part [3][]byte
	for i, p := range bytes.SplitN(token, []byte{'.'}, 3) {
		if len(p) == 0 {
			return h, bad("has an empty %s", [...]string{"header", "payload", "signature"}[i])
		}
		var err error
		if part[i], err = base64.RawURLEncoding.Strict().AppendDecode(nil, p); err != nil {
			return h, bad("is not base64url")
		}
	}
	o, err := object(part[0])
	if err != nil {
		return h, bad("has a header that %v", err)
	}
	return readHeader(o, algs)
}

// refused are headers that change what the others mean.
var refused = []string{"crit", "b64", "zip", "enc", "cty"}

func readHeader(o map[string]any, algs []jose.SignatureAlgorithm) (h header, r *refusal) {
	for _, name := range refused {
		if _, there := o[name]; there {
			return h, bad("has %s in its header, which is not taken", name)
		}
	}
	var is bool
	if h.alg, is = o["alg"].(string); !is {
		return h, bad("names no algorithm")
	}
	if !slices.Contains(algs, jose.SignatureAlgorithm(h.alg)) {
		return h, bad("is by %s, which is not among algorithms", knownAlgorithm(h.alg))
	}
	if typ, there := o["typ"]; there {
		switch t, _ := typ.(string); strings.TrimPrefix(strings.ToLower(t), "application/") {
		case "jwt", "at+jwt":
		default: // such as a token that says somebody has logged out
			return h, bad("has a typ that is neither JWT nor at+jwt")
		}
	}
	if kid, there := o["kid"]; there {
		if h.kid, is = kid.(string); !is || h.kid == "" || len(h.kid) > kidBytesMax {
			return h, bad("has a kid that is no name of a key")
		}
	}
	return h, nil
}

// knownAlgorithm is an algorithm for the log; not text that anybody may write there.
func knownAlgorithm(alg string) string {
	if slices.Contains(Algorithms, alg) {
		return alg
	}
	if strings.EqualFold(alg, "none") {
		return "the algorithm none"
	}
	return "an algorithm that is not known"
}
