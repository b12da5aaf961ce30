package pki

import (
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"strings"
	"sync"
)

//go:embed samplekeys.txt
var sampleKeysText string

// sampleKeys are published private keys, by the SHA-256 of their SubjectPublicKeyInfo, and
// where they were published. The keys themselves are not here.
var sampleKeys = sync.OnceValue(func() map[string]string {
	known := make(map[string]string)
	for line := range strings.Lines(sampleKeysText) {
		sum, origin, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && !strings.HasPrefix(line, "#") {
			known[sum] = origin
		}
	}
	return known
})

// published is where everybody can get the private key of a certificate; empty: no place is
// known.
func published(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return sampleKeys()[hex.EncodeToString(sum[:])]
}
