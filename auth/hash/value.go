package hash

import (
	"crypto/md5" //nolint:gosec // for databases that have it; needs a waiver
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	stdhash "hash"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// Hash is a stored hash that was read. It is immutable, and prints as its algorithm.
type Hash struct {
	alg, mac, position string
	n, r, p            int // argon2id: m (KiB), t, p; scrypt: ln, r, p; pbkdf2: iterations; bcrypt: cost
	salt, sum          []byte
}

// Algorithm is its word.
func (h *Hash) Algorithm() string { return h.alg }

// Weak tells whether it is of an algorithm that needs a waiver.
func (h *Hash) Weak() bool { return weak(h.alg) }

// Cost is what an evaluation costs, in words: two hashes of the same words cost the
// same for the same password.
func (h *Hash) Cost() string {
	switch h.alg {
	case Argon2id:
		return fmt.Sprintf("argon2id m=%d,t=%d,p=%d,l=%d", h.n, h.r, h.p, len(h.sum))
	case Bcrypt:
		return fmt.Sprintf("bcrypt cost=%d", h.n)
	case Scrypt:
		return fmt.Sprintf("scrypt ln=%d,r=%d,p=%d", h.n, h.r, h.p)
	case PBKDF2:
		return fmt.Sprintf("pbkdf2-%s i=%d,blocks=%d", h.mac, h.n, h.blocks())
	}
	return h.alg
}

// MemoryBytes is what an evaluation takes for itself; 0: nothing to speak of.
func (h *Hash) MemoryBytes() int {
	switch h.alg {
	case Argon2id:
		return h.n << 10
	case Scrypt:
		return 128 * h.r << h.n
	}
	return 0
}

// Format implements fmt.Formatter, so that no verb shows more than the algorithm.
func (h *Hash) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "[hash of %s]", h.alg) }

// blocks is how often PBKDF2 iterates for an output of this length.
func (h *Hash) blocks() int {
	size := newDigest(h.mac)().Size()
	return (len(h.sum) + size - 1) / size
}

// checked refuses what costs too much and what cannot be.
func (h *Hash) checked() (*Hash, error) {
	if h.alg != Bcrypt && (len(h.sum) < SumBytesMin || len(h.sum) > SumBytesMax) {
		return nil, form("the hash in it has %d bytes, want %d to %d", len(h.sum), SumBytesMin, SumBytesMax)
	}
	if len(h.salt) > SaltBytesMax {
		return nil, form("the salt in it has more than %d bytes", SaltBytesMax)
	}
	switch h.alg {
	case Argon2id:
		if h.n > ArgonMemoryKiBMax || h.r > ArgonPassesMax || h.p > ArgonLanesMax || h.n*h.r > ArgonWorkKiBMax {
			return nil, cost("argon2id with m=%d,t=%d,p=%d; at most m=%d,t=%d,p=%d and m times t=%d", h.n, h.r, h.p, ArgonMemoryKiBMax, ArgonPassesMax, ArgonLanesMax, ArgonWorkKiBMax)
		}
		if h.n < 8*h.p || len(h.salt) < 8 {
			return nil, form("argon2id wants m of at least 8 times p, and a salt of at least 8 bytes")
		}
	case Bcrypt:
		if h.n > BcryptCostMax {
			return nil, cost("bcrypt with cost %d; at most %d", h.n, BcryptCostMax)
		}
		if h.n < bcrypt.MinCost {
			return nil, form("bcrypt wants a cost of at least %d", bcrypt.MinCost)
		}
	case Scrypt:
		if h.n > 24 || h.r > 64 || h.p > 64 || 128*h.r<<h.n > ScryptMemoryMax || h.r*h.p<<h.n > ScryptWorkMax {
			return nil, cost("scrypt with ln=%d,r=%d,p=%d; at most %d MiB and N times r times p of %d", h.n, h.r, h.p, ScryptMemoryMax>>20, ScryptWorkMax)
		}
	case PBKDF2:
		if h.n > PBKDF2RoundsMax || h.n*h.blocks() > PBKDF2RoundsMax {
			return nil, cost("pbkdf2 with %d iterations for %d bytes; at most %d rounds", h.n, len(h.sum), PBKDF2RoundsMax)
		}
	}
	return h, nil
}

// Fits evaluates the hash once and compares in time that depends on no secret. An empty
// password fits nothing, and costs the same.
func (h *Hash) Fits(password []byte) bool {
	fits := h.evaluate(password)
	return fits && len(password) > 0
}

func (h *Hash) evaluate(password []byte) bool {
	var got []byte
	var err error
	switch h.alg {
	case Argon2id:
		got = argon2.IDKey(password, h.salt, uint32(h.r), uint32(h.n), uint8(h.p), uint32(len(h.sum))) //nolint:gosec // checked
	case Bcrypt:
		// bcrypt looks at the first 72 bytes, whoever made the hash.
		return bcrypt.CompareHashAndPassword(h.sum, password) == nil
	case Scrypt:
		got, err = scrypt.Key(password, h.salt, 1<<h.n, h.r, h.p, len(h.sum))
	case PBKDF2:
		got, err = pbkdf2.Key(newDigest(h.mac), string(password), h.salt, h.n, len(h.sum))
	case Plain:
		// Over digests, so that the time does not tell the length.
		want, have := sha256.Sum256(h.sum), sha256.Sum256(h.salted(password))
		return subtle.ConstantTimeCompare(want[:], have[:]) == 1
	default:
		d := newDigest(h.alg)()
		d.Write(h.salted(password))
		got = d.Sum(nil)
	}
	return err == nil && subtle.ConstantTimeCompare(got, h.sum) == 1
}

// salted is the password with the salt where it belongs.
func (h *Hash) salted(password []byte) []byte {
	if h.position == Suffix {
		return append(append([]byte(nil), password...), h.salt...)
	}
	return append(append([]byte(nil), h.salt...), password...)
}

func newDigest(algorithm string) func() stdhash.Hash {
	switch algorithm {
	case SHA512:
		return sha512.New
	case SHA256:
		return sha256.New
	case SHA1:
		return sha1.New
	case MD5:
		return md5.New
	}
	panic("BUG: no digest is called " + algorithm)
}

// ownHead begins the form in which we write a hash of a simple algorithm, which has no
// form that everybody reads: $rdt-digest$a=sha256,s=prefix$SALT$HASH.
const ownHead = "$rdt-digest$"

// Encode writes h so that Decode reads it: in the form others know where there is one.
func (h *Hash) Encode() secret.Value {
	b64 := base64.RawStdEncoding.EncodeToString
	switch h.alg {
	case Argon2id:
		return secret.FromString(fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.n, h.r, h.p, b64(h.salt), b64(h.sum)))
	case Bcrypt:
		return secret.FromString(string(h.sum))
	case Scrypt:
		return secret.FromString(fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", h.n, h.r, h.p, b64(h.salt), b64(h.sum)))
	case PBKDF2:
		return secret.FromString(fmt.Sprintf("$pbkdf2-%s$i=%d,l=%d$%s$%s", h.mac, h.n, len(h.sum), b64(h.salt), b64(h.sum)))
	}
	return secret.FromString(fmt.Sprintf("%sa=%s,s=%s$%s$%s", ownHead, h.alg, h.position, b64(h.salt), b64(h.sum)))
}

// Decode reads what Encode wrote, weak ones included.
func Decode(encoded string) (*Hash, error) {
	if len(encoded) > EncodedBytesMax {
		return nil, form("it has more than %d bytes", EncodedBytesMax)
	}
	h, err := ownForm(encoded)
	if h == nil && err == nil {
		err = form("it does not begin as a hash that says how it was made")
	}
	return h, err
}

// EncodedBytesMax bounds what Encode makes.
const EncodedBytesMax = 2048

// rdtForm reads our own form.
func rdtForm(f []string) (*Hash, error) {
	if len(f) != 3 {
		return nil, form("it is cut off")
	}
	a, s, _ := strings.Cut(f[0], ",")
	alg, okA := strings.CutPrefix(a, "a=")
	position, okS := strings.CutPrefix(s, "s=")
	if !okA || !okS || !simple(alg) || position != Prefix && position != Suffix && position != Disable {
		return nil, form("it is of an algorithm that is not known")
	}
	h := &Hash{alg: alg, position: position}
	if err := h.saltAndSum(f[1], f[2]); err != nil {
		return nil, err
	}
	if alg == Plain {
		if len(h.sum) == 0 {
			return nil, form("it is empty")
		}
	} else if len(h.sum) != newDigest(alg)().Size() {
		return nil, form("it has %d bytes, which no hash of %s has", len(h.sum), alg)
	}
	return h, nil
}
