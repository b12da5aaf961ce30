package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Algorithms are all that are known, in the order in which they are told. There is no "none".
var Algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// Symmetric tells whether an algorithm is for a secret that both sides have.
func Symmetric(alg string) bool { return strings.HasPrefix(alg, "HS") }

// secretBytes is how long a secret must be for an algorithm: as long as its hash
// [RFC 7518 §3.2].
var secretBytes = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

// curves are the one curve of each algorithm [RFC 7518 §3.4].
var curves = map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

// fits tells whether a key is for an algorithm. The key says what may be verified with it,
// and the token never does: with a public key nobody verifies an HMAC, nor a signature with
// a secret.
func fits(k any, alg string) bool {
	switch k := k.(type) {
	case []byte:
		n, is := secretBytes[alg]
		return is && len(k) >= n
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return curves[alg] == k.Curve.Params().Name
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// checkAlgorithms judges the list of an authenticator, whose keys are secret or not.
func checkAlgorithms(list []string, symmetric bool) ([]jose.SignatureAlgorithm, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("algorithms is empty; write those that the issuer uses, such as ES256. There are %s", strings.Join(Algorithms, ", "))
	}
	out := make([]jose.SignatureAlgorithm, 0, len(list))
	for _, a := range list {
		switch {
		case !slices.Contains(Algorithms, a):
			return nil, fmt.Errorf("algorithms: %q is none that is known. There are %s", a, strings.Join(Algorithms, ", "))
		case Symmetric(a) && !symmetric:
			return nil, fmt.Errorf("algorithms: %s is for a secret, and the keys here are public: whoever knows a public key could make tokens. Take it out, or set secret in place of keys", a)
		case !Symmetric(a) && symmetric:
			return nil, fmt.Errorf("algorithms: %s is for a public key, and the key here is a secret. Take it out, or set public_keys or jwks in place of secret", a)
		case slices.Contains(out, jose.SignatureAlgorithm(a)):
			return nil, fmt.Errorf("algorithms: %s is there twice", a)
		}
		out = append(out, jose.SignatureAlgorithm(a))
	}
	return out, nil
}
