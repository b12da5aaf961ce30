package jwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const (
	// KeysMax is how many keys an authenticator may have, and a key set bring.
	KeysMax = 64
	// triesMax is how many keys are tried on one token. Who forges tokens makes us do that
	// many signatures for each; a token that names its key has one or two.
	triesMax = 4
	// FileBytesMax bounds a file of keys, in bytes.
	FileBytesMax = 256 << 10
	// An RSA key below has been factored or will be; one above takes milliseconds.
	rsaBitsMin, rsaBitsMax = 2048, 8192
)

// key is one key.
type key struct {
	id     string    // kid; empty: it has none
	alg    string    // the only algorithm of it; empty: any that fits
	value  any       // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	until  time.Time // of a certificate: its end; zero: it has none
	origin string    // for messages
}

// may tells whether the key verifies tokens with these headers.
func (k *key) may(now time.Time, alg, kid string) bool {
	return (k.alg == "" || k.alg == alg) && fits(k.value, alg) && (kid == "" || k.id == "" || k.id == kid) && (k.until.IsZero() || now.Before(k.until))
}

// secretKey is the key of a shared secret. It is never shown.
func secretKey(b []byte, encoded bool, algs []string) (key, error) {
	b = bytes.TrimRight(b, "\r\n")
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")) {
		return key{}, errors.New("secret is PEM: a key that others know is no secret, and a private key is the issuer's alone. Write public_keys for a public key")
	}
	if encoded {
		raw, err := decodeSecret(b)
		if err != nil {
			return key{}, err
		}
		b = raw
	}
	for _, a := range algs {
		if n := secretBytes[a]; len(b) < n {
			return key{}, fmt.Errorf("secret has %d bytes; %s wants %d or more, because whoever has one token can try secrets without asking. Make one: head -c %d /dev/urandom | base64 -w0, with secret_base64: true", len(b), a, n, max(n, 32))
		}
	}
	return key{value: bytes.Clone(b), origin: "secret"}, nil
}

func decodeSecret(b []byte) ([]byte, error) {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := e.Strict().DecodeString(string(b)); err == nil {
			return raw, nil
		}
	}
	return nil, errors.New("secret is no base64, which secret_base64 says that it is")
}

// readPEM reads public keys and certificates.
func readPEM(origin string, data []byte) ([]key, error) {
	var keys []key
	for n := 1; ; n++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if len(bytes.TrimSpace(data)) > 0 {
				return nil, fmt.Errorf("%s: what follows block %d is no PEM", origin, n-1)
			}
			break
		}
		data = rest
		k := key{origin: fmt.Sprintf("%s, block %d", origin, n)}
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			k.value, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			k.value, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				k.value, k.until = c.PublicKey, c.NotAfter
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			err = errors.New("it is a private key, which is the issuer's alone; write the public one: openssl pkey -in FILE -pubout")
		default:
			err = fmt.Errorf("%q is neither a public key nor a certificate", block.Type)
		}
		if err == nil {
			err = checkPublic(k.value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.origin, err)
		}
		if keys = append(keys, k); len(keys) > KeysMax {
			return nil, fmt.Errorf("%s has more than %d keys", origin, KeysMax)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key in PEM", origin)
	}
	return keys, nil
}

// checkPublic says why nobody may sign tokens with the other half of a key.
func checkPublic(k any) error {
	switch k := k.(type) {
	case *rsa.PublicKey:
		switch n := k.N.BitLen(); {
		case n < rsaBitsMin:
			return fmt.Errorf("an RSA key of %d bits, the least is %d", n, rsaBitsMin)
		case n > rsaBitsMax:
			return fmt.Errorf("an RSA key of %d bits, the most is %d", n, rsaBitsMax)
		case k.E < 3 || k.E%2 == 0:
			return fmt.Errorf("an RSA key with the exponent %d", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		switch name := k.Curve.Params().Name; name {
		case "P-256", "P-384", "P-521":
			if _, err := k.ECDH(); err != nil {
				return errors.New("a point that is not on its curve")
			}
			return nil
		default:
			return fmt.Errorf("a key on the curve %s; there are P-256, P-384 and P-521", name)
		}
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key of a wrong length")
		}
		return nil
	}
	return errors.New("a key that is not of RSA, ECDSA or Ed25519")
}
