package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// The canary of the CA of devices is a certificate that was revoked when it was made, and
// is as good as any device's but for that: same issuer, same use, valid as long as the CA.
// Whether a listener asks the revocation list is seen by showing it. It is made with the
// CA, or with the next list of one that was made before there were canaries. It stands in
// issued.json beside what was given out, because nobody was, and in every list. Its key is
// worth nothing where lists are asked, and has the mode of the CA's, which lies beside it.
const (
	canaryCertName = "canary.pem"
	canaryKeyName  = "canary.key"
	canaryName     = "revoked-canary"
)

// DevicesCanary reads the canary of a data directory. An error that wraps fs.ErrNotExist
// says that there is none yet: the next revocation list brings it.
func DevicesCanary(dataDir string) (*tls.Certificate, error) {
	d := &Devices{dir: filepath.Join(dataDir, certsDir, devicesDir)}
	pair, err := tls.LoadX509KeyPair(d.path(canaryCertName), d.path(canaryKeyName))
	if err != nil {
		return nil, fmt.Errorf("the revoked canary: %w", err)
	}
	return &pair, nil
}

// ensureCanary sees to it that there is a canary and that l has it as revoked. The files
// come first: after a crash they are found and recorded. The caller holds the lock and
// writes l.
func (d *Devices) ensureCanary(now time.Time, l *ledger, signer *ecdsa.PrivateKey) error {
	x := d.canary()
	if x == nil {
		out, err := d.certify(now, Order{Name: canaryName, Life: d.ca.NotAfter.Sub(now)}, signer)
		if err != nil {
			return fmt.Errorf("the revoked canary: %w", err)
		}
		err = errors.Join(
			safefile.Write(d.path(canaryKeyName), out.Key.Reveal(), keyMode),
			safefile.Write(d.path(canaryCertName), out.Certificate, certMode))
		if err != nil {
			return fmt.Errorf("the revoked canary: %w", err)
		}
		if x = d.canary(); x == nil {
			return errors.New("the revoked canary cannot be read again")
		}
	}
	if serial := hexOf(x.SerialNumber); l.Canary == nil || l.Canary.Serial != serial {
		l.Canary = &DeviceCert{Serial: serial, Name: canaryName, Fingerprint: Fingerprint(x), NotBefore: x.NotBefore, NotAfter: x.NotAfter,
			RevokedAt: now.UTC().Truncate(time.Second), Reason: "cessationOfOperation"}
	}
	return nil
}

// canary is the certificate there is; nil: there is none of this CA with its key.
func (d *Devices) canary() *x509.Certificate {
	pair, err := tls.LoadX509KeyPair(d.path(canaryCertName), d.path(canaryKeyName))
	if err != nil || pair.Leaf.CheckSignatureFrom(d.ca) != nil {
		return nil
	}
	return pair.Leaf
}
