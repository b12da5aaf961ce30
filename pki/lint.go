package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Verdict is what a finding of Lint means.
type Verdict string

// The verdicts.
const (
	LintOK      Verdict = "ok"
	LintWarning Verdict = "warning" // it works, and will not for long, or not for everybody
	LintRefused Verdict = "refused" // the broker does not take it
)

// Finding is one line of Lint.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"` // with the remedy
	Err     error   `json:"-"`    // of which Text is, where there is one
}

// Usage is what a certificate is judged as.
type Usage string

// The usages.
const (
	ForServer Usage = "server" // of a listener
	ForClient Usage = "client" // shown to one
	ForEither Usage = ""       // by its extended key usage
)

// Lint is a file that is to be judged as the broker would.
type Lint struct {
	File    string // certificate and chain, PEM
	KeyFile string // "": no key is judged
	For     Usage
	DataDir string         // whose CA of devices is known; "": none
	Roots   *x509.CertPool // that clients are taken to know; nil: none
	Soon    time.Duration  // before it expires: the broker tells of server certificates then
	Now     time.Time
	As      int // the user who has to read the files, when that is not this process's; 0: it is

	found []Finding
}

// Run judges the file: what it is, and every reason for which it would be refused.
func (l *Lint) Run() []Finding {
	text, guarded, err := l.open(l.File, OwnerWrites)
	if err != nil {
		l.refuse(err)
		return l.found
	}
	chain, err := parseChain(text, l.File)
	if err != nil {
		l.refuse(err)
		return l.found
	}
	leaf := chain[0]
	if l.For == ForEither {
		l.For = ForServer
		if slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			l.For = ForClient
		}
	}
	l.say(LintOK, "judged as the certificate of a %s", l.For)
	l.describe(chain)
	if l.For == ForServer {
		l.refuse(guarded) // who may write a client's file is the client's matter
		l.refuse(serverFaults(chain, l.File, l.Now)...)
	} else {
		l.client(chain)
	}
	l.key(leaf)
	if !l.Refused() {
		l.say(LintOK, "the broker takes it")
	}
	return l.found
}

// Refused tells whether the broker would refuse it.
func (l *Lint) Refused() bool {
	return slices.ContainsFunc(l.found, func(f Finding) bool { return f.Verdict == LintRefused })
}

func (l *Lint) say(v Verdict, format string, args ...any) {
	l.found = append(l.found, Finding{Verdict: v, Text: fmt.Sprintf(format, args...)})
}

func (l *Lint) refuse(faults ...error) {
	for _, err := range faults {
		if err != nil {
			l.found = append(l.found, Finding{LintRefused, err.Error(), err})
		}
	}
}

// open reads a file that is judged also if others can reach it, which guarded says.
func (l *Lint) open(path string, need Access) (b []byte, guarded, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err = io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err == nil && len(b) > fileBytesMax {
		err = fmt.Errorf("%s is larger than %d MiB: is it the right file?", path, fileBytesMax>>20)
	}
	if l.As > 0 {
		return b, CheckPermissionsAs(l.As, f, need), err
	}
	return b, CheckPermissions(f, need), err
}

// describe says what is in the file.
func (l *Lint) describe(chain []*x509.Certificate) {
	leaf := chain[0]
	l.say(LintOK, "subject %q, serial number %x", leaf.Subject.String(), leaf.SerialNumber)
	var names []string
	for _, n := range leaf.DNSNames {
		names = append(names, "DNS "+n)
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, "IP "+ip.String())
	}
	for _, u := range leaf.URIs {
		names = append(names, "URI "+u.String())
	}
	for _, e := range leaf.EmailAddresses {
		names = append(names, "email "+e)
	}
	if len(names) > 0 {
		l.say(LintOK, "names: %s", strings.Join(names, ", "))
	}
	l.say(LintOK, "key: %s", keyWords(leaf.PublicKey))
	left := leaf.NotAfter.Sub(l.Now)
	soon := left < l.Soon
	if l.For == ForClient { // devices renew short ones
		soon = l.Now.After(renewAt(leaf.NotBefore, leaf.NotAfter))
	}
	switch {
	case left < 0 || l.Now.Before(leaf.NotBefore): // it is refused for it
	case soon:
		l.say(LintWarning, "it expires in %d days, on %s: renew it", int(left.Hours())/24, day(leaf.NotAfter))
	default:
		l.say(LintOK, "valid until %s, for %d days", day(leaf.NotAfter), int(left.Hours())/24)
	}
	l.describeChain(chain)
}

// describeChain says where the chain ends.
func (l *Lint) describeChain(chain []*x509.Certificate) {
	last := chain[len(chain)-1]
	for i, c := range chain[1:] {
		l.say(LintOK, "certificate %d: %q, valid until %s", i+2, c.Subject.String(), day(c.NotAfter))
	}
	if bytes.Equal(last.RawSubject, last.RawIssuer) {
		l.say(LintOK, "the chain is whole: it ends in the self-signed %q", last.Subject.String())
		return
	}
	if d := l.devices(); d != nil && last.CheckSignatureFrom(d.ca) == nil {
		l.say(LintOK, "the chain is whole: its issuer is the CA of devices, %q", d.ca.Subject.String())
		return
	}
	if own := l.serverCA(); own != nil && last.CheckSignatureFrom(own) == nil {
		l.say(LintOK, "the chain is whole: its issuer is the server CA, %q", own.Subject.String())
		return
	}
	if l.For == ForServer && rootKnown(last, l.Roots, l.Now) {
		l.say(LintOK, "the chain is whole: its issuer, %q, is a root that this system knows", last.Issuer.String())
		return
	}
	if l.For == ForServer {
		l.say(LintWarning, "the chain ends with an issuer that is not in the file: %q. If clients do not know that one as a root, add its certificate at the end", last.Issuer.String())
	} else {
		l.say(LintWarning, "the chain ends with an issuer that is not in the file: %q. A listener takes it only if that CA is in its client_ca", last.Issuer.String())
	}
}

// serverCA is the built-in CA of the data directory, if there is one.
func (l *Lint) serverCA() *x509.Certificate {
	if l.DataDir == "" {
		return nil
	}
	b, err := ReadGuarded(CAFile(l.DataDir))
	if err != nil {
		return nil
	}
	chain, err := parseChain(b, CAFile(l.DataDir))
	if err != nil {
		return nil
	}
	return chain[0]
}

// devices is the CA of devices of the data directory, if there is one.
func (l *Lint) devices() *Devices {
	if l.DataDir == "" {
		return nil
	}
	d, err := OpenDevices(l.DataDir)
	if err != nil {
		return nil
	}
	return d
}

// client judges by what a listener does with certificates of clients. Where the issuer is
// the CA of devices, its revocation list is asked, too; any other one is taken as a root.
func (l *Lint) client(chain []*x509.Certificate) {
	faults := chainFaults(chain, l.File, l.Now)
	l.refuse(faults...)
	last := chain[len(chain)-1]
	c := &Clients{Ask: ClientCertRequired, Depth: math.MaxInt / 2, Identity: IdentityCN, roots: x509.NewCertPool(), between: x509.NewCertPool()}
	c.roots.AddCert(last)
	if d := l.devices(); d != nil && bytes.Equal(last.RawIssuer, d.ca.RawSubject) {
		err := c.LoadClientCAs([]string{DevicesCA(l.DataDir)}, l.Now)
		if err == nil {
			err = c.LoadRevoked([]string{DevicesList(l.DataDir)}, 0)
		}
		if err != nil {
			l.refuse(err)
			return
		}
	}
	// What was said of its time hides what else there is.
	at := l.Now
	if at.Before(chain[0].NotBefore) {
		at = chain[0].NotBefore
	}
	if at.After(chain[0].NotAfter) {
		at = chain[0].NotAfter
	}
	var r *Refused
	if _, err := c.Verify(chain, at); errors.As(err, &r) && !(r.Unknown && !at.Equal(l.Now)) && (r.Revoked || len(faults) == 0 || !at.Equal(l.Now)) {
		l.say(LintRefused, "%s", r.Why)
	}
	name, err := c.Name(chain[0])
	if errors.As(err, &r) {
		l.say(LintWarning, "%s; a listener with another identity may take it", r.Why)
		return
	}
	l.say(LintOK, "by tls.identity cn its client is the user %q", name)
}

// key judges the private key.
func (l *Lint) key(leaf *x509.Certificate) {
	if l.KeyFile == "" {
		return
	}
	b, guarded, err := l.open(l.KeyFile, OwnerOnly)
	if err != nil {
		l.refuse(err)
		return
	}
	if l.For == ForServer {
		l.refuse(guarded)
	} else if guarded != nil {
		l.say(LintWarning, "%s", guarded)
	}
	key, err := parseKey(b, l.KeyFile)
	if err != nil {
		l.refuse(err)
		return
	}
	if err := belongs(key, leaf, l.KeyFile, l.File); err != nil {
		l.refuse(err)
		return
	}
	l.say(LintOK, "the key in %s belongs to it", l.KeyFile)
}

// keyWords is a public key in words.
func keyWords(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA, %d bits", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("of a kind that is not known here (%T)", public)
}
