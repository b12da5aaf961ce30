package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

const (
	// DeviceLifeMax bounds the life of a device's certificate. Whoever has a key for years
	// has it in backups and in the hands of former suppliers.
	DeviceLifeMax = 366 * 24 * time.Hour
	// RequestBytesMax bounds a signing request, in bytes; one with the largest key has 3 KiB.
	RequestBytesMax = 64 << 10
	// rsaBitsMax is the largest RSA key that crypto/tls verifies.
	rsaBitsMax = 8192
)

// Order is a certificate that is asked for.
type Order struct {
	Name   string           // of the device: its user, if a listener's identity is cn. The caller has judged whether a user may be called so
	Life   time.Duration    // at least an hour, at most DeviceLifeMax; shorter where the CA ends before
	Public crypto.PublicKey // of a signing request; nil: a key is made

	server *Names // it is a server's, valid for these; nil: it is a client's
	how    string // see DeviceCert
}

// IssuedDevice is what is given out.
type IssuedDevice struct {
	DeviceCert
	Certificate []byte       // PEM
	Key         secret.Value // PEM; zero: the device has made it
	Short       bool         // it ends with the CA, before the life that was asked for
}

// Parsed is the certificate.
func (d *IssuedDevice) Parsed() (*x509.Certificate, error) {
	chain, err := parseChain(d.Certificate, "what was issued")
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}

// Issue makes a certificate for a device: client authentication only. It is recorded before
// it is answered, so that there is none that cannot be revoked.
func (d *Devices) Issue(now time.Time, o Order) (*IssuedDevice, error) { return d.issue(now, o, nil) }

// issue is Issue where agree, unless it is nil, has a word in it: it is asked when everything
// else is in order, with what was issued so far, while nobody else can change that. It may
// change the life that is asked for.
func (d *Devices) issue(now time.Time, o Order, agree func(*ledger, *Order) error) (*IssuedDevice, error) {
	if err := checkCommonName(o.Name); err != nil && o.server == nil {
		return nil, err
	}
	if err := checkClientCA(d.ca, "the CA of devices ("+d.path(caCertName)+")", now); err != nil {
		return nil, err
	}
	unlock, err := d.lock(certsWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := d.readLedger()
	if err != nil {
		return nil, err
	}
	signer, err := d.signer()
	if err != nil {
		return nil, err
	}
	if agree != nil {
		if err := agree(l, &o); err != nil {
			return nil, err
		}
	}
	if o.Life < time.Hour || o.Life > DeviceLifeMax {
		return nil, fmt.Errorf("a certificate for %s; it can be for an hour to %d days: devices get a new one in time, so that a stolen key is of no use for long", o.Life, int(DeviceLifeMax.Hours())/24)
	}
	out, err := d.certify(now, o, signer)
	if err != nil {
		return nil, err
	}
	l.Certificates = append(l.Certificates, out.DeviceCert)
	if err := d.writeLedger(l); err != nil {
		return nil, fmt.Errorf("nothing was issued, because it could not be recorded: %w", err)
	}
	return out, nil
}

// certify makes the certificate and, if it is wanted, the key.
func (d *Devices) certify(now time.Time, o Order, signer *ecdsa.PrivateKey) (*IssuedDevice, error) {
	out, public := &IssuedDevice{}, o.Public
	if public == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make the device's key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("encode the device's key: %w", err)
		}
		public, out.Key = key.Public(), secret.New(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	notAfter := now.Add(o.Life)
	if out.Short = d.ca.NotAfter.Before(notAfter); out.Short {
		notAfter = d.ca.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: o.Name},
		NotBefore:    now.Add(-backdate).UTC(),
		NotAfter:     notAfter.UTC(),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		// Says "not a CA" in so many words; without it some verifiers guess.
		BasicConstraintsValid: true,
		DNSNames:              hostNames(o.Name),
	}
	if o.server != nil {
		t.Subject.CommonName = serverName // which has no meaning, and cannot be as long as a host name
		t.ExtKeyUsage, t.DNSNames, t.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, o.server.Hosts, o.server.ips()
	}
	der, err := x509.CreateCertificate(rand.Reader, t, d.ca, public, signer)
	if err != nil {
		return nil, fmt.Errorf("make the device's certificate: %w", err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the device's certificate: %w", err)
	}
	out.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	out.DeviceCert = DeviceCert{Serial: hexOf(x.SerialNumber), Name: o.Name, Fingerprint: Fingerprint(x), NotBefore: x.NotBefore, NotAfter: x.NotAfter, How: o.how}
	if o.server != nil {
		out.Names = strings.Join(o.server.texts(), " ")
	}
	return out, nil
}

// hostNames is a device's name as a DNS name, where it is one: letter by letter the same,
// so that the identities cn and san_dns are one user.
func hostNames(name string) []string {
	if _, err := netip.ParseAddr(name); err == nil || !validHost(strings.ToLower(name)) {
		return nil
	}
	return []string{name}
}

// ParseRequest reads a signing request (PKCS #10) in PEM or DER, and answers the public key
// in it. Whoever sent it has proved to have the private one. Everything else in it is
// passed over: what a device may be called is not for the device to say. file is for errors.
func ParseRequest(b []byte, file string) (crypto.PublicKey, error) {
	r, err := readRequest(b, file)
	if err != nil {
		return nil, err
	}
	return r.PublicKey, nil
}

func readRequest(b []byte, file string) (*x509.CertificateRequest, error) {
	if len(b) > RequestBytesMax {
		return nil, fmt.Errorf("%s is larger than %d KiB: is it a signing request?", file, RequestBytesMax>>10)
	}
	if block, _ := pem.Decode(b); block != nil {
		if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			return nil, fmt.Errorf("%s is no signing request: it begins with %q, and should with \"CERTIFICATE REQUEST\"", file, block.Type)
		}
		b = block.Bytes
	}
	r, err := x509.ParseCertificateRequest(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no signing request in PEM or DER: %w; make one with: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -subj /CN=device -out device.csr", file, err)
	}
	what := "the signing request in " + file
	if err := checkKey(r.PublicKey, what); err != nil {
		return nil, err
	}
	if key, ok := r.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > rsaBitsMax {
		return nil, fmt.Errorf("%s has an RSA key of %d bits; the most is %d: make a new key, best ECDSA P-256", what, key.N.BitLen(), rsaBitsMax)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%s was not signed with the key in it, so that nobody has proved to have that key: make it anew with the device's own key", what)
	}
	return r, nil
}

// LoadRequest is ParseRequest for a file. One that others can write is refused: they could
// put their key in the place of the device's.
func LoadRequest(file string) (crypto.PublicKey, error) {
	b, err := newChecker().readMost(file, OwnerWrites, RequestBytesMax)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	return ParseRequest(b, file)
}
