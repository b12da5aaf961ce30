package enroll

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"
)

// Bounds on renewals that are refused to certificates that are good otherwise: each has the
// record of everything that was issued read, while nobody else gets a certificate.
const (
	againMost    = 3    // of one certificate in a window
	againWritten = 4096 // certificates that are remembered
)

// again counts refused renewals by certificate: who was refused once is refused the next time,
// and no network is to blame. It is safe for concurrent use; the zero again is ready.
type again struct {
	mu sync.Mutex // guards all below
	at map[[sha256.Size]byte]failures
}

// refuses tells whether a renewal with this certificate is not looked at.
func (a *again) refuses(now time.Time, x *x509.Certificate) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.at[sha256.Sum256(x.RawTBSCertificate)]
	return f.n >= againMost && now.Sub(f.since) < window
}

// failed counts a refused one. When too many are remembered, those of before are forgotten.
func (a *again) failed(now time.Time, x *x509.Certificate) {
	id := sha256.Sum256(x.RawTBSCertificate)
	a.mu.Lock()
	defer a.mu.Unlock()
	f, known := a.at[id]
	if now.Sub(f.since) >= window {
		f = failures{since: now}
	}
	f.n++
	if a.at == nil || !known && len(a.at) >= againWritten {
		a.at = make(map[[sha256.Size]byte]failures)
	}
	a.at[id] = f
}
