package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/safefile"
)

// Files of the CA of devices, in certs/devices below the data directory. The key and the
// certificate have the names of the server CA's.
const (
	devicesDir        = "devices"
	devicesListName   = "crl.pem"
	devicesLedgerName = "issued.json"
	newDevicesPattern = ".devices.new-*" // while InitDevices fills it; mode 0700
)

// certsWait is how long a command waits for another one that works on the certificates.
// Each takes a fraction of a second.
const certsWait = 10 * time.Second

// commonNameMax is the most characters a common name has (RFC 5280 appendix A,
// ub-common-name).
const commonNameMax = 64

// ErrNoDevices is in the error of OpenDevices for a data directory whose CA of devices was
// never made.
var ErrNoDevices = errors.New("there is no CA of devices yet")

// Devices is the CA of the devices of one data directory: what it issues lets in, and what
// it revokes keeps out. It is not the server CA, whose certificates only say who the broker
// is. Commands and the running broker use it side by side: who changes something holds the
// lock in certs meanwhile. Its key is read while something is signed and not kept.
type Devices struct {
	dataDir string
	dir     string // of its files
	ca      *x509.Certificate
}

// DevicesCA is where the CA of devices of a data directory is, whether or not it has been
// made: a listener's client_ca.
func DevicesCA(dataDir string) string {
	return filepath.Join(dataDir, certsDir, devicesDir, caCertName)
}

// DevicesList is where its revocation list is: a listener's crl.files.
func DevicesList(dataDir string) string {
	return filepath.Join(dataDir, certsDir, devicesDir, devicesListName)
}

// InitDevices makes the CA of devices, with an empty revocation list, in a data directory
// that has a server CA. name is its common name; "": one is made up. The files appear all
// together or not at all; what is there is never replaced.
func InitDevices(dataDir, name string, now time.Time) (*Devices, error) {
	d := &Devices{dataDir: dataDir, dir: filepath.Join(dataDir, certsDir, devicesDir)}
	if _, err := os.Lstat(CAFile(dataDir)); missing(err) {
		return nil, fmt.Errorf("%s is not the data directory of a broker yet, it has no %s: run redoubt init first, or choose another with --data-dir", dataDir, filepath.Join(certsDir, caCertName))
	}
	if name != "" {
		if err := checkCommonName(name); err != nil {
			return nil, fmt.Errorf("the name of the CA: %w", err)
		}
	}
	unlock, err := d.lock(certsWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Rmdir takes an empty directory only, so nothing can be lost here.
	if err := syscall.Rmdir(d.dir); err != nil && !missing(err) {
		return nil, fmt.Errorf("%s exists and is not empty: devices may have certificates of that CA, which is never replaced. Move it away first if that is what you want", d.dir)
	}
	certs := filepath.Dir(d.dir)
	if err := clearUnder(certs, newDevicesPattern); err != nil {
		return nil, fmt.Errorf("make the CA of devices: %w", err)
	}
	tmp, err := os.MkdirTemp(certs, newDevicesPattern)
	if err != nil {
		return nil, fmt.Errorf("make the CA of devices: %w", err)
	}
	if err := fillDevices(tmp, name, now); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, fmt.Errorf("make the CA of devices: %w", err)
	}
	if err := safefile.Rename(tmp, d.dir); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, fmt.Errorf("make the CA of devices: %w", err)
	}
	return OpenDevices(dataDir)
}

// fillDevices writes all files of a new CA into dir.
func fillDevices(dir, name string, now time.Time) error {
	serial := newSerial()
	if name == "" {
		name = fmt.Sprintf("Redoubt device CA %x", serial.Bytes()[:4])
	}
	ca, err := newRoot(now, serial, name)
	if err != nil {
		return err
	}
	if err := safefile.Write(filepath.Join(dir, caKeyName), ca.key, keyMode); err != nil {
		return err
	}
	if err := safefile.Write(filepath.Join(dir, caCertName), ca.cert, certMode); err != nil {
		return err
	}
	d := &Devices{dir: dir}
	if d.ca, _, err = parseCA(ca.cert, ca.key, caCertName, caKeyName); err != nil {
		return err
	}
	_, err = d.writeList(now, &ledger{Version: ledgerVersion})
	return err
}

// OpenDevices uses what InitDevices made; ErrNoDevices is in its error where nothing was. It
// refuses files that others could replace. The key is not looked at: a broker whose CA key
// is kept elsewhere can still list what was issued.
func OpenDevices(dataDir string) (*Devices, error) {
	d := &Devices{dataDir: dataDir, dir: filepath.Join(dataDir, certsDir, devicesDir)}
	info, err := os.Stat(d.dir)
	if missing(err) {
		return nil, fmt.Errorf("%w in %s: make it with redoubt cert ca init", ErrNoDevices, d.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the CA of devices: %w", err)
	}
	if err := ours(info, d.dir); err != nil {
		return nil, err
	}
	b, err := ReadGuarded(d.path(caCertName))
	if missing(err) {
		return nil, fmt.Errorf("%s is missing: put it back from a backup, or from a listener that has a copy", d.path(caCertName))
	}
	if err != nil {
		return nil, fmt.Errorf("the CA of devices: %w", err)
	}
	chain, err := parseChain(b, d.path(caCertName))
	if err != nil {
		return nil, fmt.Errorf("the CA of devices: %w", err)
	}
	if d.ca = chain[0]; !d.ca.IsCA {
		return nil, fmt.Errorf("%s is not a CA certificate: put it back from a backup", d.path(caCertName))
	}
	return d, nil
}

// ours refuses to work on the files of somebody else. Root, too: what it wrote the broker
// could not read.
func ours(info os.FileInfo, dir string) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d and this process runs as %d; run it as the owner: sudo -u '#%d' redoubt cert ...", dir, st.Uid, os.Geteuid(), st.Uid)
	}
	return nil
}

// CA is the certificate by which listeners know the devices.
func (d *Devices) CA() *x509.Certificate { return d.ca }

func (d *Devices) path(name string) string { return filepath.Join(d.dir, name) }

// signer is the key of the CA.
func (d *Devices) signer() (*ecdsa.PrivateKey, error) {
	certPEM, err := ReadGuarded(d.path(caCertName))
	if err != nil {
		return nil, fmt.Errorf("the CA of devices: %w", err)
	}
	keyPEM, err := ReadSecret(d.path(caKeyName))
	if missing(err) {
		return nil, fmt.Errorf("%s is missing, so that nothing can be issued or revoked: put it back from a backup. It is not made anew, because devices have certificates of this one", d.path(caKeyName))
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the CA of devices: %w", err)
	}
	_, key, err := parseCA(certPEM, keyPEM, d.path(caCertName), d.path(caKeyName))
	return key, err
}

// lock keeps every other command and the broker from the files until unlock is called. The
// lock is in certs and not in devices, which InitDevices exchanges.
func (d *Devices) lock(wait time.Duration) (unlock func(), err error) {
	const every = 20 * time.Millisecond
	certs := filepath.Join(d.dataDir, certsDir)
	for ; ; wait -= every {
		unlock, err = datadir.Lock(certs)
		var used *datadir.InUseError
		if !errors.As(err, &used) {
			return unlock, err
		}
		if wait <= 0 {
			return nil, fmt.Errorf("another command works on the certificates in %s (process %d) and does not end: try again when it has", certs, used.PID)
		}
		time.Sleep(every)
	}
}

// checkCommonName says why a text cannot be the common name of a certificate.
func checkCommonName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case strings.TrimSpace(name) == "":
		return errors.New("a certificate needs a name")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%q has characters that cannot be seen; leave them out", name)
	case n > commonNameMax:
		return fmt.Errorf("%q has %d characters; the name in a certificate has at most %d", name, n, commonNameMax)
	}
	return nil
}

// clearUnder removes what an interrupted command left: files nobody ever used.
func clearUnder(dir, pattern string) error {
	old, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
	if err != nil {
		return err
	}
	for _, p := range old {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}
