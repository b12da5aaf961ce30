package builtin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// The argon2id parameters are OWASP's for a login service: 19 MiB, two passes, one
// lane. They are fixed: were they kept per user, the time of a refusal would tell
// whose they are, and a file with huge ones would take the memory of the machine.
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	saltBytes      = 16
	sumBytes       = 32
)

// The heads of the two forms in a users file. argon2id is the PHC string format that other
// tools read too; the second is ours in the same style.
const (
	argonHead  = "$argon2id$v=19$m=19456,t=2,p=1$"
	sha256Head = "$rdt-sha256$v=1$"
)

// kind is how a credential is hashed. It follows from the form of the password.
type kind uint8

const (
	chosen    kind = iota // by a person: argon2id
	generated             // by us, 160 bits: one SHA-256
	foreign               // by another program, in one of its hashes, until the next login makes it chosen
)

// String is the word lists and the API use.
func (k kind) String() string {
	switch k {
	case generated:
		return "generated"
	case foreign:
		return "imported"
	}
	return "chosen"
}

// kindOf looks at the password alone.
func kindOf(password []byte) kind {
	if generatedForm(password) {
		return generated
	}
	return chosen
}

// credential is a stored hash. A foreign one has its hash in the record, and here the salt
// that its argon2id will have: what names it stays the same.
type credential struct {
	kind kind
	salt [saltBytes]byte
	sum  [sumBytes]byte
}

// proof names the credential: a part of its salt, which is random and no secret.
func (c *credential) proof() uint64 { return binary.BigEndian.Uint64(c.salt[:]) }

// newCredential hashes password with a fresh salt. A chosen one takes 19 MiB and
// tens of milliseconds.
func newCredential(random io.Reader, k kind, password []byte) (credential, error) {
	c := credential{kind: k}
	if _, err := io.ReadFull(random, c.salt[:]); err != nil {
		return c, fmt.Errorf("read random bytes for a salt: %w", err)
	}
	c.sum = c.derive(password)
	return c, nil
}

// dummy stands in for a missing user. It is random, so no password fits it.
func dummy(random io.Reader, k kind) (credential, error) {
	c := credential{kind: k}
	for _, b := range [][]byte{c.salt[:], c.sum[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return c, fmt.Errorf("read random bytes for a stand-in: %w", err)
		}
	}
	return c, nil
}

// derive computes what sum must be for password: one evaluation of one hash.
func (c *credential) derive(password []byte) (out [sumBytes]byte) {
	if c.kind == generated {
		h := sha256.New()
		h.Write(c.salt[:])
		h.Write(password)
		h.Sum(out[:0])
		return out
	}
	copy(out[:], argon2.IDKey(password, c.salt[:], argonPasses, argonMemoryKiB, argonLanes, sumBytes))
	return out
}

// fits evaluates the hash once and compares in constant time.
func (c *credential) fits(password []byte) bool {
	_, fits := c.try(password)
	return fits
}

// try also answers what it evaluated. Nothing fits a foreign credential here: its sum is
// not known yet.
func (c *credential) try(password []byte) (got [sumBytes]byte, fits bool) {
	got = c.derive(password)
	return got, subtle.ConstantTimeCompare(got[:], c.sum[:]) == 1 && c.kind != foreign
}

// decodeCredential reads the form it has in a users file. Errors never show it.
func decodeCredential(s string) (credential, error) {
	c := credential{kind: chosen}
	rest, ok := strings.CutPrefix(s, argonHead)
	if !ok {
		if rest, ok = strings.CutPrefix(s, sha256Head); !ok {
			return c, errors.New("the hash is of no known form; only " + argonHead + "SALT$HASH and " + sha256Head + "SALT$HASH are accepted, set the password again")
		}
		c.kind = generated
	}
	salt, sum, _ := strings.Cut(rest, "$")
	if !decodeExact(c.salt[:], salt) || !decodeExact(c.sum[:], sum) {
		return c, fmt.Errorf("the hash is damaged (want %d bytes of salt and %d of hash in base64); set the password again", saltBytes, sumBytes)
	}
	return c, nil
}

func decodeExact(dst []byte, s string) bool {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return err == nil && copy(dst, b) == len(dst) && len(b) == len(dst)
}

// stored is the form that decodeCredential reads. A foreign one has none.
func (c *credential) stored() secret.Value {
	head := argonHead
	if c.kind == generated {
		head = sha256Head
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return secret.FromString(head + b64(c.salt[:]) + "$" + b64(c.sum[:]))
}
