package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of Set.
const (
	SetBytesMax       = 256 << 10
	RefreshMin        = 30 * time.Second
	RefreshMax        = 24 * time.Hour
	RefreshDefault    = 5 * time.Minute
	MaxAgeDefault     = 24 * time.Hour
	MaxAgeMax         = 30 * 24 * time.Hour
	SetTimeoutDefault = 5 * time.Second
	SetTimeoutMax     = time.Minute
)

// Set is a JWKS that is had from a server.
type Set struct {
	URL     string        // https; http of a loopback address
	Refresh time.Duration // between two requests
	MaxAge  time.Duration // how long keys are used when the server cannot be had
	Timeout time.Duration // of one request
	CA      []byte        // PEM of who may have signed the server's certificate; nil: the system's
	Server  string        // the name in it; empty: the host of URL
}

func (s *Set) check() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("jwks.url is no address of a server")
	case u.User != nil:
		return errors.New("jwks.url has a user name in it, which would be shown")
	case u.Scheme != "https" && !(u.Scheme == "http" && Loopback(u.Hostname())):
		return fmt.Errorf("jwks.url is %q, which is not https: whoever is on the way could bring keys of his own. http is for addresses of this machine only", s.URL)
	case s.Refresh < RefreshMin || s.Refresh > RefreshMax:
		return fmt.Errorf("jwks.refresh is %v; it is from %v to %v", s.Refresh, RefreshMin, RefreshMax)
	case s.MaxAge < s.Refresh || s.MaxAge > MaxAgeMax:
		return fmt.Errorf("jwks.max_age is %v; it is from jwks.refresh (%v) to %v", s.MaxAge, s.Refresh, MaxAgeMax)
	case s.Timeout <= 0 || s.Timeout > SetTimeoutMax:
		return fmt.Errorf("jwks.timeout is %v; it is over 0s and at most %v", s.Timeout, SetTimeoutMax)
	}
	return nil
}

// Loopback tells whether a host is this one whatever a name server says.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// readSet reads a JWKS [RFC 7517 §5]. Keys that are not for signatures here are left out; of
// those that should be and are not good (A122), skipped says why. What is no set is an error.
func readSet(data []byte, algs []string) (keys []key, skipped []string, err error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil || set.Keys == nil {
		return nil, nil, errors.New("what came is no key set (JWKS)")
	}
	if len(*set.Keys) > KeysMax {
		return nil, nil, fmt.Errorf("a set of %d keys came; the most is %d", len(*set.Keys), KeysMax)
	}
	for i, raw := range *set.Keys {
		k, wanted, err := readJWK(raw, algs)
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("key %d: %v", i+1, err))
		} else if wanted {
			k.origin = fmt.Sprintf("key %d of the set", i+1)
			keys = append(keys, k)
		}
	}
	return keys, skipped, nil
}

func readJWK(raw json.RawMessage, algs []string) (k key, wanted bool, err error) {
	o, err := object(raw)
	if err != nil {
		return k, false, errors.New("it " + err.Error())
	}
	if use, _ := o["use"].(string); use != "" && use != "sig" {
		return k, false, nil
	}
	if ops, there := o["key_ops"].([]any); there && !slices.Contains(ops, any("verify")) {
		return k, false, nil
	}
	switch kty, _ := o["kty"].(string); kty {
	case "RSA", "EC", "OKP":
	case "oct":
		return k, false, errors.New("it is a secret, which a key set has no business with")
	default:
		return k, false, nil
	}
	for _, private := range []string{"d", "p", "q", "k", "dp", "dq", "qi"} {
		if _, there := o[private]; there {
			return k, false, errors.New("it is a private key: whoever reads the set can make tokens. Its issuer should know")
		}
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(bytes.Clone(raw), &jwk); err != nil || !jwk.Valid() {
		return k, false, errors.New("it cannot be read")
	}
	if err := checkPublic(jwk.Key); err != nil {
		return k, false, err
	}
	if len(jwk.KeyID) > kidBytesMax {
		return k, false, errors.New("its kid is too long")
	}
	if len(jwk.Certificates) > 0 {
		k.until = jwk.Certificates[0].NotAfter
	}
	k.id, k.alg, k.value = jwk.KeyID, jwk.Algorithm, jwk.Key
	return k, slices.ContainsFunc(algs, func(a string) bool { return (k.alg == "" || k.alg == a) && fits(k.value, a) }), nil
}
