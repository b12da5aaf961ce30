// Package hash verifies passwords against hashes that other programs made: what
// databases, EMQX and Mosquitto hold. It makes no hash for keeping; that is
// argon2id, in auth/builtin. It opens nothing and starts no goroutine: a call costs
// what the stored hash asks for, at most the limits of this page, so it belongs to a
// worker and not to a loop.
//
// What is stored is not trusted: whoever can write one row must not be able to stop
// the broker, so a hash that asks for more than the limits is refused and never
// computed. No error shows a part of a hash, a salt or a password.
//
// Rules: RFC 9106 (argon2), RFC 7914 (scrypt), RFC 8018 (PBKDF2), the PHC string
// format; checklist row P4.1.
package hash

import (
	"errors"
	"fmt"
)

// The algorithms. Auto takes what the stored hash says of itself, and never one that
// is Weak.
const (
	Auto     = "auto"
	Argon2id = "argon2id"
	Bcrypt   = "bcrypt"
	Scrypt   = "scrypt"
	PBKDF2   = "pbkdf2"
	SHA512   = "sha512"
	SHA256   = "sha256"
	SHA1     = "sha" // EMQX's word
	MD5      = "md5"
	Plain    = "plain"
)

// Where a salt stands before hashing with one of the fast algorithms (SHA512 and below).
const (
	Prefix  = "prefix"
	Suffix  = "suffix"
	Disable = "disable" // no salt
)

// How a hash is written that is not a string of its own form.
const (
	Hex    = "hex"
	Base64 = "base64"
)

// What one evaluation may cost. The ceilings are above what OWASP, passlib, PHP, Django,
// EMQX and Mosquitto make by default, and keep one check below about two seconds and
// 128 MiB.
const (
	ArgonMemoryKiBMax = 128 << 10 // m
	ArgonPassesMax    = 16        // t
	ArgonLanesMax     = 16        // p
	ArgonWorkKiBMax   = 512 << 10 // m times t
	BcryptCostMax     = 14        // doubling per step; 14 is about a second
	PBKDF2RoundsMax   = 2_000_000 // iterations times blocks of output
	ScryptMemoryMax   = 128 << 20 // bytes: 128 N r
	ScryptWorkMax     = 1 << 22   // N r p
	TextBytesMax      = 1024      // of a stored hash, and of a salt
	SumBytesMax       = 128       // of a decoded hash
	SaltBytesMax      = 256       // of a salt
	SumBytesMin       = 16        // a shorter hash is damaged, or cut off by the width of a column
)

// Errors of a stored hash; they come wrapped with what is wrong. Either one says that
// the store holds something no password can be checked against, so the check is
// Unavailable and not Deny.
var (
	ErrForm = errors.New("the stored hash cannot be read")
	ErrCost = errors.New("the stored hash asks for more work than is allowed")
)

func form(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrForm, fmt.Sprintf(format, args...))
}

func cost(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCost, fmt.Sprintf(format, args...))
}

// Spec says how the hashes of one store are to be read. The zero Spec is Auto.
type Spec struct {
	// Algorithm is one of the constants; empty: Auto.
	Algorithm string `yaml:"algorithm"`
	// SaltPosition is for SHA512 and below: Prefix (empty means it), Suffix or Disable.
	// The salt is used as it is written, not decoded, as EMQX does.
	SaltPosition string `yaml:"salt_position"`
	// Encoding of the hash for SHA512 and below, and for PBKDF2 without a form of its
	// own: Hex (empty means it) or Base64. Plain has none.
	Encoding string `yaml:"encoding"`
	// MAC is for PBKDF2 without a form of its own: SHA256 (empty means it) or SHA512.
	MAC string `yaml:"mac"`
	// Iterations is for the same. No default: 0 means that only hashes that say
	// theirs are accepted.
	Iterations int `yaml:"iterations"`
}

// Weak tells whether the algorithm is one that needs a waiver (P4.1): whoever reads the
// store has the passwords at once, or after minutes on one graphics card.
func (s Spec) Weak() bool { return weak(s.Algorithm) }

func weak(algorithm string) bool {
	return algorithm == Plain || algorithm == MD5 || algorithm == SHA1
}

// simple are the algorithms that are one call of a digest.
func simple(algorithm string) bool {
	return algorithm == SHA512 || algorithm == SHA256 || weak(algorithm)
}

// Problem is a field of a Spec that cannot be, for a message that names the key.
type Problem struct {
	Field string // algorithm | salt_position | encoding | mac | iterations
	Text  string
}

// Error implements error.
func (p *Problem) Error() string { return p.Field + ": " + p.Text }

// Check tells what is wrong with s: a *Problem, or nil.
func (s Spec) Check() error {
	if s.algorithm() != Auto && s.algorithm() != Argon2id && s.algorithm() != Bcrypt && s.algorithm() != Scrypt && s.algorithm() != PBKDF2 && !simple(s.algorithm()) {
		return &Problem{"algorithm", "is none of auto, argon2id, bcrypt, scrypt, pbkdf2, sha512, sha256, sha, md5, plain"}
	}
	pbkdf2 := s.algorithm() == PBKDF2
	switch s.SaltPosition {
	case "":
	case Prefix, Suffix, Disable:
		if !simple(s.algorithm()) {
			return &Problem{"salt_position", "is for sha512, sha256, sha, md5 and plain only; the others have their own place for the salt"}
		}
	default:
		return &Problem{"salt_position", "is none of prefix, suffix, disable"}
	}
	switch s.Encoding {
	case "":
	case Hex, Base64:
		if s.algorithm() == Plain || !simple(s.algorithm()) && !pbkdf2 {
			return &Problem{"encoding", "is for sha512, sha256, sha, md5 and pbkdf2 only"}
		}
	default:
		return &Problem{"encoding", "is none of hex, base64"}
	}
	switch {
	case s.MAC != "" && !pbkdf2:
		return &Problem{"mac", "is for pbkdf2 only"}
	case s.MAC != "" && s.MAC != SHA256 && s.MAC != SHA512:
		return &Problem{"mac", "is none of sha256, sha512"}
	case s.Iterations != 0 && !pbkdf2:
		return &Problem{"iterations", "is for pbkdf2 only; the others say their cost in the hash"}
	case s.Iterations < 0 || s.Iterations > PBKDF2RoundsMax:
		return &Problem{"iterations", fmt.Sprintf("is not in 1 to %d", PBKDF2RoundsMax)}
	}
	return nil
}

func (s Spec) algorithm() string { return or(s.Algorithm, Auto) }

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// Verify tells whether password is the one that hash, with salt where the hash does not
// hold its own, was made of. It costs one evaluation of what the hash says. An error is
// ErrForm or ErrCost, and nothing was computed then. An empty password fits nothing.
func (s Spec) Verify(password []byte, hash, salt string) (bool, error) {
	h, err := s.Parse(hash, salt)
	if err != nil {
		return false, err
	}
	return h.Fits(password), nil
}
