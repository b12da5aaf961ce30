// Package enroll is the device's side of enrolment: it asks a server for a certificate over
// EST, and keeps key and certificate in files that a crash leaves in order. It has no
// schedule and no daemon: whoever runs it does so now and then, and it knows what is due.
//
// Rules: RFC 7030 §4.1 and §4.2 with RFC 8951, in the role of the client.
package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki"
)

const (
	// answerBytesMax bounds an answer; a certificate has two KiB.
	answerBytesMax = 256 << 10
	// askWithin bounds one request, from the name of the server to the last byte.
	askWithin = 30 * time.Second
)

// Server is where certificates are asked for.
type Server struct {
	URL   *url.URL       // of ParseURL
	Roots *x509.CertPool // nil: those of the system
}

// ParseURL reads https://HOST:PORT. Anything more, or less, is refused: a token is not sent
// in the clear, nor to a place that only looks like the server's.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of a server; write https://HOST:PORT and nothing more", text)
	}
	return u, nil
}

// Refused is what a server answers who gives no certificate. It does not say why: its
// operator's log does.
type Refused struct {
	Status int
	After  string // seconds until it is worth another try, as the server says; "": it does not
}

// Error implements error.
func (r *Refused) Error() string {
	what := map[int]string{
		http.StatusBadRequest:            "the server does not take the request: is the name that of the device?",
		http.StatusUnauthorized:          "the server does not take the token: it was used or has expired, or is for another name. Ask for a new one",
		http.StatusForbidden:             "the server does not take the certificate: it was revoked or has expired, or may not enrol this name",
		http.StatusNotFound:              "there is no enrolment at this address",
		http.StatusRequestEntityTooLarge: "the server finds the request too long",
		http.StatusTooManyRequests:       "too many attempts from this network have failed",
		http.StatusServiceUnavailable:    "the server cannot do it now",
	}[r.Status]
	if what == "" {
		what = "the server does not give a certificate"
	}
	if r.After != "" {
		what += "; try again in " + r.After + " seconds"
	}
	return fmt.Sprintf("%s (status %d; the log of the broker says why)", what, r.Status)
}

// Final tells whether another try cannot end better.
func (r *Refused) Final() bool {
	return r.Status != http.StatusTooManyRequests && r.Status < 500
}

// NewKey makes a key as devices have it.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// WithToken asks for the first certificate, by a token.
func (s *Server) WithToken(ctx context.Context, now time.Time, name string, token secret.Value, key crypto.Signer) (*x509.Certificate, error) {
	return s.ask(ctx, now, "simpleenroll", name, key, nil, func(r *http.Request) { r.SetBasicAuth(name, string(token.Reveal())) })
}

// WithClaim asks for the first certificate, by a claim certificate.
func (s *Server) WithClaim(ctx context.Context, now time.Time, name string, claim *tls.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	return s.ask(ctx, now, "simpleenroll", name, key, claim, nil)
}

// Renew asks for the next certificate, by the one before.
func (s *Server) Renew(ctx context.Context, now time.Time, before *tls.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	return s.ask(ctx, now, "simplereenroll", before.Leaf.Subject.CommonName, key, before, nil)
}

func (s *Server) ask(ctx context.Context, now time.Time, path, name string, key crypto.Signer, shows *tls.Certificate, edit func(*http.Request)) (*x509.Certificate, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, fmt.Errorf("make the signing request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	u := *s.URL
	u.Path = "/.well-known/est/" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader([]byte(base64.StdEncoding.EncodeToString(der))))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	req.Header.Set("Content-Transfer-Encoding", "base64")
	if edit != nil {
		edit(req)
	}
	// No proxy from the environment, no redirect: the token goes to the server and nowhere
	// else. No connection is kept.
	conf := &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	if shows != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shows, nil }
	}
	tr := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, reach(s.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1))
	if err != nil {
		return nil, reach(s.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &Refused{resp.StatusCode, digits(resp.Header.Get("Retry-After"))}
	}
	return judge(body, now, name, key)
}

// reach says what came between us and the server.
func reach(u *url.URL, err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	hint := ""
	switch {
	case errors.As(err, &unknown):
		hint = "; its certificate is of a CA that is not known here: give the broker's ca.pem with --cafile"
	case errors.As(err, &host):
		hint = "; its certificate is for other names: write one of those in --server"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "server gave HTTP response"):
		hint = "; that is not how the port for enrolment (enroll.bind) answers: look at the port in --server, and that the broker is open there"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "; nothing is open there: look at --server, and at enroll.bind of the broker"
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return fmt.Errorf("ask %s: %w%s", u.Host, err, hint)
}

// digits is a number that a server sent, if it is one.
func digits(s string) string {
	if len(s) > 6 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// judge reads an answer, and takes the certificate in it if it is the one that was asked for.
func judge(body []byte, now time.Time, name string, key crypto.Signer) (*x509.Certificate, error) {
	if len(body) > answerBytesMax {
		return nil, fmt.Errorf("the server answers with more than %d KiB; is it one for enrolment?", answerBytesMax>>10)
	}
	text := strings.Join(strings.Fields(string(body)), "")
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the answer of the server is not base64; is it one for enrolment?")
	}
	certs, err := pki.ParseContainer(der)
	if err != nil {
		return nil, fmt.Errorf("the answer of the server: %w", err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	for _, x := range certs {
		switch {
		case !ok || !public.Equal(x.PublicKey):
			continue // of a CA
		case x.Subject.CommonName != name:
			return nil, fmt.Errorf("the server gave a certificate for another name, %q", x.Subject.CommonName)
		case now.After(x.NotAfter):
			return nil, fmt.Errorf("the server gave a certificate that has expired on %s: compare the clocks", x.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
		}
		return x, nil
	}
	return nil, errors.New("the server gave no certificate for the key that was made")
}
