package scram

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"errors"
	"fmt"
	"io"

	"github.com/xdg-go/stringprep"
)

// What keys are made with. RFC 7677 wants at least 4,096 iterations. It is the client that
// computes them, at every login, so the default is what a microcontroller does in some
// seconds and a phone does not notice.
const (
	IterationsMin     = 4096
	IterationsDefault = 32_768
	IterationsMax     = 1_000_000
	SaltBytes         = 16
)

// Keys are what is kept of a password for one algorithm. They are immutable.
type Keys struct {
	Algorithm  Algorithm
	Iterations int
	Salt       [SaltBytes]byte
	Stored     []byte // H(HMAC(SaltedPassword, "Client Key")): tests a proof
	Server     []byte // HMAC(SaltedPassword, "Server Key"): proves us
}

// Format implements fmt.Formatter, so that no verb shows a key.
func (k *Keys) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "[keys of %s]", k.Algorithm.Method())
}

// errPrepare shows nothing of the password.
var errPrepare = errors.New("the password holds a character that SCRAM forbids (RFC 4013: controls, private use, text in both directions), so there are no keys of it")

// Derive makes the keys of a password, with a fresh salt. It costs what one login costs the
// client: about 5 ms per 10,000 iterations on a server.
func Derive(random io.Reader, a Algorithm, iterations int, password []byte) (*Keys, error) {
	if iterations < IterationsMin || iterations > IterationsMax {
		return nil, fmt.Errorf("%d iterations are not in %d to %d", iterations, IterationsMin, IterationsMax)
	}
	k := &Keys{Algorithm: a, Iterations: iterations}
	if _, err := io.ReadFull(random, k.Salt[:]); err != nil {
		return nil, fmt.Errorf("read random bytes for a salt: %w", err)
	}
	// Clients prepare it the same way, or the proof of a password with accents depends on
	// the keyboard.
	prepared, err := stringprep.SASLprep.Prepare(string(password))
	if err != nil || prepared == "" {
		return nil, errPrepare
	}
	salted, err := pbkdf2.Key(a.new, prepared, k.Salt[:], iterations, a.Size())
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	k.Stored = a.sum(a.mac(salted, "Client Key"))
	k.Server = a.mac(salted, "Server Key")
	return k, nil
}

func (a Algorithm) mac(key []byte, text string) []byte {
	h := hmac.New(a.new, key)
	_, _ = io.WriteString(h, text)
	return h.Sum(nil)
}

func (a Algorithm) sum(b []byte) []byte {
	h := a.new()
	h.Write(b)
	return h.Sum(nil)
}
