package pki

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Servers issues certificates of the broker's own CA for other listeners and hosts, and keeps
// a record of them in issued.json in certs, of the same form as that of devices. There is no
// revocation list of this CA: who has such a key is the server until the certificate expires.
type Servers struct{ d Devices }

// OpenServers uses the server CA of a data directory.
func OpenServers(dataDir string) (*Servers, error) {
	dir := filepath.Join(dataDir, certsDir)
	info, err := os.Stat(dir)
	if missing(err) {
		return nil, fmt.Errorf("there is no server CA in %s yet: run redoubt init first, or choose another data directory with --data-dir", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the server CA: %w", err)
	}
	if err := ours(info, dir); err != nil {
		return nil, err
	}
	b := &BuiltIn{dir: dir}
	ca, _, err := b.loadCA()
	if err != nil {
		return nil, err
	}
	return &Servers{Devices{dataDir: dataDir, dir: dir, ca: ca}}, nil
}

// begin makes the record where there is none.
func (s *Servers) begin() error {
	unlock, err := s.d.lock(certsWait)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Lstat(s.d.path(devicesLedgerName)); !missing(err) {
		return err
	}
	return s.d.writeLedger(&ledger{Version: ledgerVersion})
}

// Issue makes a certificate for names; the first of them is what it is called. public is of
// a signing request; nil: a key is made.
func (s *Servers) Issue(now time.Time, names []string, life time.Duration, public crypto.PublicKey) (*IssuedDevice, error) {
	n, err := ParseNames(names)
	if err != nil {
		return nil, err
	}
	first, _ := ParseNames(names[:1]) // one of them
	if err := s.begin(); err != nil {
		return nil, err
	}
	return s.d.Issue(now, Order{Name: first.texts()[0], Life: life, Public: public, server: &n})
}

// Renew issues the next certificate of one that is valid, for the same names; as
// Devices.Renew.
func (s *Servers) Renew(now time.Time, name string, life time.Duration, public crypto.PublicKey) (out *IssuedDevice, before DeviceCert, err error) {
	var n Names
	all, err := s.List()
	if err != nil {
		return nil, before, err
	}
	last := (&ledger{Certificates: all}).lastValid(now, name)
	if last == nil {
		return nil, before, fmt.Errorf("%q %w; see redoubt cert list --servers, and issue one if it is to have one again", name, ErrNothingToRenew)
	}
	if n, err = ParseNames(strings.Fields(last.Names)); err != nil {
		return nil, before, err
	}
	return s.d.Renew(now, Order{Name: name, Life: life, Public: public, server: &n})
}

// List is every server certificate that was issued, oldest first; without the leaf of the
// broker, which renews itself.
func (s *Servers) List() ([]DeviceCert, error) {
	if _, err := os.Lstat(s.d.path(devicesLedgerName)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return s.d.List()
}
