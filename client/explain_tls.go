package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// dateLayout shows certificate dates: always UTC, always with the zone.
const dateLayout = "2006-01-02 15:04:05 MST"

// explainTLS turns a failed handshake into words. It is also asked about the
// first read after it: a server of TLS 1.3 judges our certificate only then.
func explainTLS(parent context.Context, o *Options, s *tlsSetup, err error) error {
	if parent.Err() != nil {
		return interrupted(parent)
	}
	at := o.address()
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &verify):
		return explainCertificate(o, s, verify)
	case errors.As(err, &record):
		return &Error{
			Kind: KindTLSOnPlaintextPort, Err: err,
			What: "the server at " + at + " answered the TLS handshake with something that is not TLS",
			Help: []string{"it is a plaintext port: use the TLS port (8883 by default), or, knowing that passwords then travel in the clear, --protocol mqtt"},
		}
	}
	if alert, ok := remoteAlert(err); ok {
		return explainAlert(o, s, alert, err)
	}
	switch {
	case isTimeout(err):
		return &Error{
			Kind: KindTimeout, Err: err,
			What: fmt.Sprintf("connected to %s, but the TLS handshake got no answer within %s", at, o.ConnectTimeout),
			Help: []string{"that port may be a plaintext one, or the server is overloaded"},
		}
	case isEnd(err) && s.asked.Load() && s.own == nil: // its alert was lost
		return certRequired(err)
	case isEnd(err) && s.asked.Load():
		return certRefused(s, "the server closed the connection when it had our client certificate", err)
	case isEnd(err):
		return &Error{
			Kind: KindTLSOnPlaintextPort, Err: err,
			What: "the server at " + at + " closed the connection during the TLS handshake without a word",
			Help: []string{
				"most likely it is a plaintext port: use the TLS port (8883 by default), or --protocol mqtt",
				"if it is the TLS port, the server sheds or refuses connections from here; its log says why",
			},
		}
	}
	return &Error{Kind: KindTLSHandshake, What: "the TLS handshake with " + at + " failed: " + strings.TrimPrefix(err.Error(), "tls: "), Err: err}
}

// remoteAlert is the alert by which the server ended TLS. Package tls keeps the
// type of a received alert to itself, so its words are compared with those of
// the exported twin.
func remoteAlert(err error) (alert tls.AlertError, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	for i := range 256 {
		if tls.AlertError(i).Error() == op.Err.Error() {
			return tls.AlertError(i), true
		}
	}
	return 0, false
}

// The alerts of RFC 8446, section 6, that have something to tell.
const (
	alertHandshakeFailure     = 40
	alertBadCertificate       = 42
	alertUnsupportedCert      = 43
	alertCertificateRevoked   = 44
	alertCertificateExpired   = 45
	alertCertificateUnknown   = 46
	alertUnknownCA            = 48
	alertAccessDenied         = 49
	alertProtocolVersion      = 70
	alertInsufficientSecurity = 71
	alertUnrecognizedName     = 112
	alertCertificateRequired  = 116
)

// explainAlert tells what the server objected to.
func explainAlert(o *Options, s *tlsSetup, alert tls.AlertError, err error) error {
	e := &Error{Err: err}
	words := strings.TrimPrefix(alert.Error(), "tls: ")
	switch alert {
	case alertCertificateRequired:
		return certRequired(err)
	case alertHandshakeFailure, alertBadCertificate, alertUnsupportedCert, alertCertificateRevoked,
		alertCertificateExpired, alertCertificateUnknown, alertUnknownCA, alertAccessDenied:
		// Before TLS 1.3 there is no alert of its own for a missing certificate.
		if s.asked.Load() && s.own == nil {
			return certRequired(err)
		}
		if s.asked.Load() {
			return certRefused(s, "the server refused our client certificate: "+words, err)
		}
	}
	e.Kind = KindTLSHandshake
	e.What = "the server ended the TLS handshake: " + words
	switch alert {
	case alertProtocolVersion, alertHandshakeFailure, alertInsufficientSecurity:
		e.Help = []string{"no protocol version or cipher suite in common: this client speaks TLS 1.2 and 1.3 with ECDHE and authenticated encryption only"}
	case alertUnrecognizedName:
		e.Help = []string{"the server has no certificate for " + quote(o.Host) + ": connect by the name it is known by"}
	}
	return e
}

func certRequired(err error) error {
	return &Error{
		Kind: KindTLSClientCertRequired, Err: err,
		What: "the server requires a client certificate, and none was given",
		Help: []string{"give the certificate the operator issued for this client with --cert FILE and its key with --key FILE"},
	}
}

func certRefused(s *tlsSetup, what string, err error) error {
	return &Error{
		Kind: KindTLSClientCertRefused, Err: err, What: what, Details: certificateFacts("sent", s.own),
		Help: []string{"the server must trust the CA that issued it (its client_ca), and it must be neither expired nor revoked"},
	}
}

// explainCertificate says why the server's certificate was not accepted.
func explainCertificate(o *Options, s *tlsSetup, verify *tls.CertificateVerificationError) error {
	leaf := verify.UnverifiedCertificates[0]
	e := &Error{Err: verify, Details: certificateFacts("presented", leaf)}
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(verify.Err, &name):
		e.Kind = KindTLSHostName
		e.What = "the server's certificate is not for " + quote(o.Host)
		if names := subjectNames(leaf); len(names) > 0 {
			e.Details = append(e.Details, "it is for: "+strings.Join(names, ", "))
			e.Help = []string{"connect by one of these names (-h), or have the certificate re-issued with this one"}
		} else {
			e.Details = append(e.Details, "it lists no names (subject alternative names); the common name does not count")
			e.Help = []string{"have the certificate re-issued with " + quote(o.Host) + " as a subject alternative name"}
		}
	case errors.As(verify.Err, &invalid) && invalid.Reason == x509.Expired:
		explainDates(e, invalid.Cert, leaf, s.conf.Time())
	case errors.As(verify.Err, &unknown):
		explainUnknownCA(e, s, verify.UnverifiedCertificates)
	case errors.As(verify.Err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		e.Kind = KindTLSCertificate
		e.What = "the server's certificate is not for servers"
		e.Help = []string{"have it re-issued with the extended key usage \"server authentication\""}
	default:
		e.Kind = KindTLSCertificate
		e.What = "the server's certificate cannot be used: " + Printable(strings.TrimPrefix(verify.Err.Error(), "x509: "))
	}
	return e
}

// explainDates is for a certificate outside its time. now is our clock, which
// may be the one that is wrong.
func explainDates(e *Error, bad, leaf *x509.Certificate, now time.Time) {
	which := "the server's certificate"
	if bad != nil && !bad.Equal(leaf) {
		which = "the CA certificate " + quote(bad.Subject.String())
	} else {
		bad = leaf
	}
	now = now.UTC()
	if now.Before(bad.NotBefore) {
		e.Kind = KindTLSNotYetValid
		e.What = fmt.Sprintf("%s is not valid before %s", which, bad.NotBefore.UTC().Format(dateLayout))
		e.Details = append(e.Details, "the clock here says "+now.Format(dateLayout))
		e.Help = []string{"correct the clock that is wrong: this one or the one of the machine that issued the certificate"}
		return
	}
	e.Kind = KindTLSExpired
	e.What = fmt.Sprintf("%s expired on %s", which, bad.NotAfter.UTC().Format(dateLayout))
	e.Details = append(e.Details, "the clock here says "+now.Format(dateLayout))
	e.Help = []string{"have it renewed on the server; if the clock here is wrong, correct that"}
}

// explainUnknownCA says what was trusted, what came, and which of the usual
// mistakes explains the difference.
func explainUnknownCA(e *Error, s *tlsSetup, chain []*x509.Certificate) {
	top := chain[len(chain)-1]
	e.Kind = KindTLSUnknownCA
	e.What = "the server's certificate is not signed by a CA in " + s.trusted
	for _, ca := range s.roots {
		switch {
		case string(ca.RawSubject) != string(top.RawIssuer) || ca.Equal(top):
			continue
		case ca.CheckSignature(top.SignatureAlgorithm, top.RawTBSCertificate, top.Signature) != nil:
			e.Details = append(e.Details, "trusted:   "+quote(ca.Subject.String())+", SHA-256 "+fingerprint(ca))
			e.Help = []string{"a CA of that name is trusted, but with another key: the server's CA was made anew (or this is another server); if that is so, copy its ca.pem here again"}
			return
		case s.conf.Time().After(ca.NotAfter) || s.conf.Time().Before(ca.NotBefore):
			e.What = "the CA certificate in " + s.trusted + " that signed the server's is outside its time"
			e.Details = append(e.Details, fmt.Sprintf("trusted:   %s, valid %s to %s", quote(ca.Subject.String()),
				ca.NotBefore.UTC().Format(dateLayout), ca.NotAfter.UTC().Format(dateLayout)))
			return
		case !ca.IsCA:
			e.What = "the certificate in " + s.trusted + " that signed the server's is not a CA certificate"
			return
		}
	}
	for _, ca := range s.roots {
		e.Details = append(e.Details, "trusted:   "+quote(ca.Subject.String())+", SHA-256 "+fingerprint(ca))
		if len(e.Details) > 5 {
			break
		}
	}
	e.Help = []string{"if you trust this server, give the file of its CA with --cafile; a Redoubt server keeps it in <data-dir>/certs/ca.pem, and has another one after its data directory was made anew"}
	if s.roots == nil {
		return
	}
	if !slices.ContainsFunc(s.roots, func(c *x509.Certificate) bool { return c.IsCA }) {
		e.Help[0] = "what is trusted is no CA certificate but one that a CA has issued: give the file of the CA; a Redoubt server keeps it in <data-dir>/certs/ca.pem"
		return
	}
	e.Help = append(e.Help, "for a server with a certificate of a public CA: --tls-use-os-certs")
}

// certificateFacts is a certificate in lines for a person.
func certificateFacts(label string, c *x509.Certificate) []string {
	return []string{
		fmt.Sprintf("%-10s subject %s, issuer %s", label+":", quote(c.Subject.String()), quote(c.Issuer.String())),
		fmt.Sprintf("           valid %s to %s", c.NotBefore.UTC().Format(dateLayout), c.NotAfter.UTC().Format(dateLayout)),
		"           SHA-256 " + fingerprint(c),
	}
}

// namesMax bounds how many names of a certificate are listed.
const namesMax = 20

// subjectNames lists the names a certificate is for.
func subjectNames(c *x509.Certificate) (names []string) {
	for _, n := range c.DNSNames {
		names = append(names, Printable(n))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if more := len(names) - namesMax; more > 0 {
		names = append(names[:namesMax], fmt.Sprintf("and %d more", more))
	}
	return names
}
