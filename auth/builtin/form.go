package builtin

import (
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// A generated secret is "rdt_", 27 digits of base 62 that carry 160 random bits,
// and 6 digits of CRC-32 over all that. The form is public: it lets the broker
// choose the cheap hash, and scanners of source code find a leaked secret, by
// looking at the secret alone. The checksum is against typing errors and not a
// signature.
const (
	secretPrefix = "rdt_"
	secretDigits = 27 // 62^27 > 2^160
	sumDigits    = 6  // 62^6 > 2^32
	secretBytes  = 20
	secretLen    = len(secretPrefix) + secretDigits + sumDigits

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// generate makes a secret from 160 bits of random.
func generate(random io.Reader) (secret.Value, error) {
	var raw [secretBytes]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return secret.Value{}, fmt.Errorf("read random bytes for a secret: %w", err)
	}
	b := make([]byte, 0, secretLen)
	b = append(b, secretPrefix...)
	b = appendBase62(b, new(big.Int).SetBytes(raw[:]), secretDigits)
	b = appendSum(b, crc32.ChecksumIEEE(b))
	return secret.New(b), nil
}

// generatedForm tells whether a presented password has the form of a generated
// secret. It looks at nothing but the password.
func generatedForm(p []byte) bool {
	if len(p) != secretLen || string(p[:len(secretPrefix)]) != secretPrefix {
		return false
	}
	for _, c := range p[len(secretPrefix):] {
		if strings.IndexByte(base62, c) < 0 {
			return false
		}
	}
	body := p[:secretLen-sumDigits]
	var sum [sumDigits]byte
	return string(appendSum(sum[:0], crc32.ChecksumIEEE(body))) == string(p[len(body):])
}

// appendSum appends n in exactly sumDigits digits, without an allocation: every login asks.
func appendSum(dst []byte, n uint32) []byte {
	var digits [sumDigits]byte
	for i := range digits {
		digits[len(digits)-1-i] = base62[n%uint32(len(base62))]
		n /= uint32(len(base62))
	}
	return append(dst, digits[:]...)
}

// appendBase62 appends n in exactly digits digits.
func appendBase62(dst []byte, n *big.Int, digits int) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, digits)...)
	base := big.NewInt(int64(len(base62)))
	for i := digits - 1; i >= 0; i-- {
		var rest *big.Int
		n, rest = new(big.Int).QuoRem(n, base, new(big.Int))
		dst[at+i] = base62[rest.Int64()]
	}
	return dst
}
