package hash

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
)

// Parse reads a stored hash. It costs nothing; what is too costly is refused here.
func (s Spec) Parse(stored, salt string) (*Hash, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if len(stored) > TextBytesMax || len(salt) > SaltBytesMax {
		return nil, form("it has more than %d bytes, or its salt more than %d", TextBytesMax, SaltBytesMax)
	}
	if stored == "" {
		return nil, form("it is empty")
	}
	if simple(s.algorithm()) {
		return s.digest(stored, salt)
	}
	h, err := ownForm(stored)
	if h == nil && err == nil && s.algorithm() == PBKDF2 && s.Iterations > 0 {
		return s.bare(stored, salt)
	}
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, form("it does not begin as a hash that says how it was made")
	case s.algorithm() != Auto && s.algorithm() != h.alg:
		return nil, form("it is of %s and the configuration wants %s", h.alg, s.algorithm())
	case weak(h.alg):
		return nil, form("it is of %s, which must be asked for by name", h.alg)
	}
	return h, nil
}

// digest reads a hash of one of the simple algorithms.
func (s Spec) digest(stored, salt string) (*Hash, error) {
	h := &Hash{alg: s.Algorithm, position: or(s.SaltPosition, Prefix)}
	if h.position != Disable {
		h.salt = []byte(salt)
	}
	if h.alg == Plain {
		h.sum = []byte(stored)
		return h, nil
	}
	var err error
	if h.sum, err = s.decode(stored); err != nil {
		return nil, err
	}
	if want := newDigest(h.alg)().Size(); len(h.sum) != want {
		return nil, form("it has %d bytes and a hash of %s has %d", len(h.sum), h.alg, want)
	}
	return h, nil
}

// bare reads a PBKDF2 hash whose parameters are in the configuration.
func (s Spec) bare(stored, salt string) (*Hash, error) {
	sum, err := s.decode(stored)
	if err != nil {
		return nil, err
	}
	return (&Hash{alg: PBKDF2, mac: or(s.MAC, SHA256), n: s.Iterations, salt: []byte(salt), sum: sum}).checked()
}

func (s Spec) decode(stored string) (b []byte, err error) {
	if s.Encoding == Base64 {
		return unbase64(stored)
	}
	if b, err = hex.DecodeString(stored); err != nil { // upper case too, as databases write it
		return nil, form("it is not hexadecimal (encoding: base64 reads base64)")
	}
	return b, nil
}

// unbase64 reads base64 with and without padding, and passlib's with . for +.
func unbase64(s string) ([]byte, error) {
	s = strings.ReplaceAll(strings.TrimRight(s, "="), ".", "+")
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, form("it is not base64")
	}
	return b, nil
}

// ownForm reads a hash that says how it was made; nil without an error if it does not.
func ownForm(stored string) (*Hash, error) {
	switch {
	case strings.HasPrefix(stored, "$argon2id$"):
		return argon2Form(strings.Split(stored, "$")[2:])
	case strings.HasPrefix(stored, "$argon2"):
		return nil, form("it is of argon2i or argon2d; only argon2id is accepted")
	case strings.HasPrefix(stored, "$2"):
		return bcryptForm(stored)
	case strings.HasPrefix(stored, "$scrypt$"):
		return scryptForm(strings.Split(stored, "$")[2:])
	case strings.HasPrefix(stored, "$pbkdf2-sha256$"), strings.HasPrefix(stored, "$pbkdf2-sha512$"):
		f := strings.Split(stored, "$")[1:]
		return pbkdf2Form(strings.TrimPrefix(f[0], "pbkdf2-"), f[1:], false)
	case strings.HasPrefix(stored, "$7$"): // Mosquitto since 2.0
		return pbkdf2Form(SHA512, strings.Split(stored, "$")[2:], false)
	case strings.HasPrefix(stored, "pbkdf2_sha256$"): // Django; its salt is text
		return pbkdf2Form(SHA256, strings.Split(stored, "$")[1:], true)
	case strings.HasPrefix(stored, "$6$"):
		return mosquitto6(strings.Split(stored, "$")[2:])
	case strings.HasPrefix(stored, ownHead):
		return rdtForm(strings.Split(stored, "$")[2:])
	}
	return nil, nil
}

// argon2Form reads v=19, m=,t=,p=, salt, hash.
func argon2Form(f []string) (*Hash, error) {
	if len(f) != 4 || f[0] != "v=19" {
		return nil, form("argon2id wants $argon2id$v=19$m=M,t=T,p=P$SALT$HASH")
	}
	h := &Hash{alg: Argon2id}
	if err := parameters(f[1], []string{"m", "t", "p"}, &h.n, &h.r, &h.p); err != nil {
		return nil, err
	}
	if err := h.saltAndSum(f[2], f[3]); err != nil {
		return nil, err
	}
	return h.checked()
}

// bcryptForm reads $2b$CC$ and 53 characters of salt and hash.
func bcryptForm(s string) (*Hash, error) {
	if len(s) != 60 || !strings.Contains("aby", s[2:3]) || s[3] != '$' || s[6] != '$' {
		return nil, form("bcrypt wants $2a$, $2b$ or $2y$, two digits, $ and 53 characters")
	}
	for _, c := range []byte(s[7:]) {
		if c != '.' && c != '/' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return nil, form("a character of a bcrypt hash is none of its alphabet")
		}
	}
	n, err := number(s[4:6], true)
	if err != nil {
		return nil, err
	}
	return (&Hash{alg: Bcrypt, n: n, sum: []byte(s)}).checked()
}

// scryptForm reads ln=,r=,p=, salt, hash.
func scryptForm(f []string) (*Hash, error) {
	if len(f) != 3 {
		return nil, form("scrypt wants $scrypt$ln=LN,r=R,p=P$SALT$HASH")
	}
	h := &Hash{alg: Scrypt}
	if err := parameters(f[0], []string{"ln", "r", "p"}, &h.n, &h.r, &h.p); err != nil {
		return nil, err
	}
	if err := h.saltAndSum(f[1], f[2]); err != nil {
		return nil, err
	}
	return h.checked()
}

// pbkdf2Form reads the iterations (29000, i=29000 or i=29000,l=32), salt, hash.
func pbkdf2Form(mac string, f []string, textSalt bool) (*Hash, error) {
	if len(f) != 3 {
		return nil, form("pbkdf2 wants iterations, salt and hash, with $ between them")
	}
	h := &Hash{alg: PBKDF2, mac: mac}
	var err error
	length := 0
	switch {
	case strings.HasPrefix(f[0], "i=") && strings.Contains(f[0], ","):
		err = parameters(f[0], []string{"i", "l"}, &h.n, &length)
	case strings.HasPrefix(f[0], "i="):
		err = parameters(f[0], []string{"i"}, &h.n)
	default:
		h.n, err = number(f[0], false)
	}
	if err != nil {
		return nil, err
	}
	if textSalt {
		h.salt = []byte(f[1])
		h.sum, err = unbase64(f[2])
	} else {
		err = h.saltAndSum(f[1], f[2])
	}
	if err != nil {
		return nil, err
	}
	if length != 0 && length != len(h.sum) {
		return nil, form("it says its length is not what it is")
	}
	return h.checked()
}

// mosquitto6 reads $6$SALT$HASH: one SHA-512 of password and salt.
func mosquitto6(f []string) (*Hash, error) {
	if len(f) != 2 {
		return nil, form("$6$ wants a salt and a hash, as Mosquitto writes them; the $6$ of crypt(3) is another hash and is not known here")
	}
	h := &Hash{alg: SHA512, position: Suffix}
	if err := h.saltAndSum(f[0], f[1]); err != nil {
		return nil, err
	}
	if len(h.sum) != 64 {
		return nil, form("it has %d bytes, and Mosquitto's $6$ has 64; the $6$ of crypt(3) is another hash and is not known here", len(h.sum))
	}
	return h, nil
}

// saltAndSum decodes both from base64.
func (h *Hash) saltAndSum(salt, sum string) (err error) {
	if h.salt, err = unbase64(salt); err != nil {
		return err
	}
	h.sum, err = unbase64(sum)
	return err
}

// parameters reads name=number pairs with commas between them, in this order.
func parameters(s string, names []string, into ...*int) error {
	pairs := strings.Split(s, ",")
	if len(pairs) != len(names) {
		return form("it wants the parameters %s", strings.Join(names, ", "))
	}
	for i, p := range pairs {
		v, ok := strings.CutPrefix(p, names[i]+"=")
		if !ok {
			return form("it wants the parameters %s", strings.Join(names, ", "))
		}
		var err error
		if *into[i], err = number(v, false); err != nil {
			return err
		}
	}
	return nil
}

// number reads a plain positive decimal number.
func number(s string, leadingZero bool) (int, error) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, form("a number in it is none")
		}
	}
	if s == "" || !leadingZero && s[0] == '0' {
		return 0, form("a number in it is none")
	}
	if len(s) > 10 {
		return 0, cost("a number in it has more than 10 digits")
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, form("a number in it is none")
	}
	return n, nil
}
