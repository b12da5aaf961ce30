package pki

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/safefile"
)

const (
	ledgerVersion = 1
	// ledgerBytesMax bounds issued.json: about 200,000 certificates. Nothing is taken out
	// of it, not even what has expired: with a clock that was wrong for a day, revoked
	// certificates would be gone from the list for good.
	ledgerBytesMax = 64 << 20
)

// DeviceCert is a certificate that the CA of devices has issued, as issued.json has it.
type DeviceCert struct {
	Serial      string    `json:"serial"`          // hexadecimal digits in lower case, as Describe has them
	Name        string    `json:"name"`            // "": the revocation list names it and nobody knows of whom it is
	Names       string    `json:"names,omitempty"` // of a server: what it is valid for, with spaces between
	How         string    `json:"how,omitempty"`   // by what the device got it over the network, and of which number; "": by a command
	Fingerprint string    `json:"fingerprint"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"` // zero: it was not
	Reason      Reason    `json:"reason,omitempty"`
}

// Revoked tells whether it was taken back.
func (c *DeviceCert) Revoked() bool { return !c.RevokedAt.IsZero() }

// Valid tells whether it lets somebody in.
func (c *DeviceCert) Valid(now time.Time) bool {
	return !c.Revoked() && !now.After(c.NotAfter)
}

// ledger is issued.json: everything that was issued, oldest first, and the number of the
// last revocation list, which never goes back (RFC 5280 §5.2.3). It is written before
// anything it tells of is given out: what a crash leaves is a certificate that nobody has,
// or a list that has to be written again, which its number shows.
type ledger struct {
	Version      int          `json:"version"`
	ListNumber   int64        `json:"crl_number"`
	Canary       *DeviceCert  `json:"canary,omitempty"` // revoked since it was made; nil: the next list makes it
	Certificates []DeviceCert `json:"certificates"`
}

// readLedger is what was issued.
func (d *Devices) readLedger() (*ledger, error) {
	file := d.path(devicesLedgerName)
	b, err := newChecker().readMost(file, OwnerOnly, ledgerBytesMax)
	if missing(err) {
		return nil, fmt.Errorf("%s is missing, which says what was issued: put it back from a backup. Without one, begin anew: (umask 077; echo '{\"version\": %d}' > %s); what %s names stays revoked, but no other certificate of before can be revoked then",
			file, ledgerVersion, datadir.Quote(file), devicesListName)
	}
	if err != nil {
		return nil, fmt.Errorf("what was issued: %w", err)
	}
	l := &ledger{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(l); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; put it back from a backup", file, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s has something behind its end; put it back from a backup", file)
	}
	if l.Version != ledgerVersion || l.ListNumber < 0 {
		return nil, fmt.Errorf("%s is of version %d and list number %d; this program knows version %d", file, l.Version, l.ListNumber, ledgerVersion)
	}
	for i := range l.Certificates {
		if _, err := l.Certificates[i].number(); err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w; put it back from a backup", file, i+1, err)
		}
	}
	if l.Canary != nil {
		if _, err := l.Canary.number(); err != nil {
			return nil, fmt.Errorf("%s: the canary: %w; put it back from a backup", file, err)
		}
	}
	return l, nil
}

// writeLedger replaces issued.json. One certificate is one line, for people.
func (d *Devices) writeLedger(l *ledger) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"version\": %d, \"crl_number\": %d, ", l.Version, l.ListNumber)
	if l.Canary != nil {
		line, err := json.Marshal(l.Canary)
		if err != nil {
			return fmt.Errorf("record what was issued: %w", err)
		}
		fmt.Fprintf(&b, "\"canary\":\n%s, ", line)
	}
	b.WriteString("\"certificates\": [")
	for i := range l.Certificates {
		line, err := json.Marshal(&l.Certificates[i])
		if err != nil {
			return fmt.Errorf("record what was issued: %w", err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	if b.Len() > ledgerBytesMax {
		return fmt.Errorf("%s would have more than %d MiB with this one: begin a new CA (move %s away, run redoubt cert ca init) and name both in client_ca and crl.files until the old certificates have expired",
			d.path(devicesLedgerName), ledgerBytesMax>>20, d.dir)
	}
	return safefile.Write(d.path(devicesLedgerName), b.Bytes(), keyMode)
}

// number is the serial number.
func (c *DeviceCert) number() (*big.Int, error) {
	n, ok := new(big.Int).SetString(c.Serial, 16)
	if !ok || n.Sign() <= 0 || n.BitLen() > 160 || hexOf(n) != c.Serial {
		return nil, fmt.Errorf("%q is not a serial number", c.Serial)
	}
	return n, nil
}

// hexOf is a serial number as people are shown it.
func hexOf(n *big.Int) string { return hex.EncodeToString(n.Bytes()) }

// bySerial is the certificate with a number, or nil.
func (l *ledger) bySerial(serial string) *DeviceCert {
	for i := range l.Certificates {
		if l.Certificates[i].Serial == serial {
			return &l.Certificates[i]
		}
	}
	return nil
}

// byName are the certificates of a name, oldest first.
func (l *ledger) byName(name string) (found []*DeviceCert) {
	for i := range l.Certificates {
		if l.Certificates[i].Name == name && name != "" {
			found = append(found, &l.Certificates[i])
		}
	}
	return found
}

// plainSerial is a serial number as hexOf writes it, from one of the ways other programs
// do: 4F:9A:..., 0x4f9a....
func plainSerial(s string) string {
	return strings.TrimPrefix(strings.ToLower(strings.ReplaceAll(s, ":", "")), "0x")
}

// List is everything that was issued, oldest first. It needs no lock: the file is replaced
// as a whole.
func (d *Devices) List() ([]DeviceCert, error) {
	l, err := d.readLedger()
	if err != nil {
		return nil, err
	}
	return l.Certificates, nil
}
