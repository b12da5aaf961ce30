package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

const (
	// listLife is how long a revocation list counts: whoever keeps a broker from getting
	// new ones gains as much. The broker writes one at half of it, so that an outage of
	// three days is no outage of the devices.
	listLife = 7 * 24 * time.Hour
	// refreshWait is how long the broker waits for a command that works on the files.
	refreshWait = time.Second
	// listSkew is how far in the future a list may begin.
	listSkew = 5 * time.Minute
)

// ListInfo is a revocation list that was written.
type ListInfo struct {
	Path       string    `json:"path"`
	Number     int64     `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"` // certificates it names, beside the canary
}

// WriteList writes a fresh revocation list in the place of the one there is.
func (d *Devices) WriteList(now time.Time) (ListInfo, error) {
	unlock, err := d.lock(certsWait)
	if err != nil {
		return ListInfo{}, err
	}
	defer unlock()
	l, err := d.readLedger()
	if err != nil {
		return ListInfo{}, err
	}
	return d.writeList(now, l)
}

// RefreshDevices writes a fresh list when half of the life of the one there is has passed,
// or when it is not what was last recorded: missing, damaged, or from before a crash. A
// data directory without a CA of devices has none, which is no error. The broker calls it at
// its start and hourly; it does I/O and waits at most a second for a command.
func RefreshDevices(dataDir string, now time.Time) (info ListInfo, changed bool, err error) {
	d, err := OpenDevices(dataDir)
	if errors.Is(err, ErrNoDevices) {
		return info, false, nil
	}
	if err != nil {
		return info, false, err
	}
	unlock, err := d.lock(refreshWait)
	if err != nil {
		return info, false, err
	}
	defer unlock()
	l, err := d.readLedger()
	if err != nil || !d.due(now, l) {
		return info, false, err
	}
	info, err = d.writeList(now, l)
	return info, err == nil, err
}

// due tells whether the list there is has to be followed by another.
func (d *Devices) due(now time.Time, l *ledger) bool {
	is := d.current()
	return is == nil || d.behind(is, l) || is.ThisUpdate.After(now.Add(listSkew)) ||
		!now.Before(is.ThisUpdate.Add(is.NextUpdate.Sub(is.ThisUpdate)/2))
}

// behind tells whether the list is another one than was last recorded.
func (d *Devices) behind(is *x509.RevocationList, l *ledger) bool {
	return is == nil || is.Number == nil || !is.Number.IsInt64() || is.Number.Int64() != l.ListNumber
}

// current is the list there is; nil: there is none that the CA has signed.
func (d *Devices) current() *x509.RevocationList {
	b, err := readList(d.path(devicesListName))
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil
	}
	is, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || is.CheckSignatureFrom(d.ca) != nil {
		return nil
	}
	return is
}

// adopt takes into the ledger what the list there is says and the ledger does not: it came
// from a backup, or was begun anew. Nothing un-revokes a certificate, and no list has a
// lower number than one that was given out.
func (l *ledger) adopt(is *x509.RevocationList) {
	if is == nil {
		return
	}
	if is.Number != nil && is.Number.IsInt64() {
		l.ListNumber = max(l.ListNumber, is.Number.Int64())
	}
	known := make(map[string]int, len(l.Certificates))
	for i := range l.Certificates {
		known[l.Certificates[i].Serial] = i
	}
	for _, e := range is.RevokedCertificateEntries {
		i, ok := known[hexOf(e.SerialNumber)]
		if !ok && l.Canary != nil && l.Canary.Serial == hexOf(e.SerialNumber) {
			continue
		}
		if !ok {
			i = len(l.Certificates)
			l.Certificates = append(l.Certificates, DeviceCert{Serial: hexOf(e.SerialNumber)})
		}
		if c := &l.Certificates[i]; !c.Revoked() {
			c.RevokedAt, c.Reason = e.RevocationTime.UTC(), reasonOf(e.ReasonCode)
		}
	}
}

// listed tells whether a list of this time names the certificate. What has expired is
// refused without one; it stays for a list's life, so that every broker has heard of it and
// has closed what it had open.
func (c *DeviceCert) listed(now time.Time) bool {
	if !c.Revoked() {
		return false
	}
	last := c.NotAfter
	if c.RevokedAt.After(last) {
		last = c.RevokedAt
	}
	return c.NotAfter.IsZero() || !now.After(last.Add(listLife))
}

// writeList records that there is another list, with all that l says, and writes it. The
// caller holds the lock. After a crash in between, the number tells that the list is missing.
func (d *Devices) writeList(now time.Time, l *ledger) (info ListInfo, err error) {
	key, err := d.signer()
	if err != nil {
		return info, err
	}
	if err := d.ensureCanary(now, l, key); err != nil {
		return info, err
	}
	l.adopt(d.current())
	l.ListNumber++
	next := &x509.RevocationList{Number: big.NewInt(l.ListNumber), ThisUpdate: now.UTC(), NextUpdate: now.Add(listLife).UTC()}
	add := func(c *DeviceCert) error {
		n, err := c.number()
		if err != nil {
			return err
		}
		next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: n, RevocationTime: c.RevokedAt.UTC(), ReasonCode: c.Reason.code(),
		})
		return nil
	}
	for i := range l.Certificates {
		c := &l.Certificates[i]
		if !c.listed(now) {
			continue
		}
		if err := add(c); err != nil {
			return info, err
		}
	}
	revoked := len(next.RevokedCertificateEntries)
	if err := add(l.Canary); err != nil {
		return info, err
	}
	der, err := x509.CreateRevocationList(rand.Reader, next, d.ca, key)
	if err != nil {
		return info, fmt.Errorf("make the revocation list: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	if len(text) > revoke.BytesMax {
		return info, fmt.Errorf("the revocation list would have %d certificates and more than %d MiB, which listeners refuse: begin a new CA", len(next.RevokedCertificateEntries), revoke.BytesMax>>20)
	}
	if err := d.writeLedger(l); err != nil {
		return info, err
	}
	if err := safefile.Write(d.path(devicesListName), text, certMode); err != nil {
		return info, fmt.Errorf("what is revoked is recorded, but the list could not be written, which redoubt cert crl does, or the running broker within the hour: %w", err)
	}
	return ListInfo{
		Path: d.path(devicesListName), Number: l.ListNumber, ThisUpdate: next.ThisUpdate, NextUpdate: next.NextUpdate,
		Revoked: revoked,
	}, nil
}
