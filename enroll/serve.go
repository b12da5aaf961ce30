package enroll

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// The paths, of RFC 7030 §3.2.2.
const (
	pathCAs    = "/.well-known/est/cacerts"
	pathEnroll = "/.well-known/est/simpleenroll"
	pathRenew  = "/.well-known/est/simplereenroll"
)

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if fault := recover(); fault != nil {
			if fault != http.ErrAbortHandler { // our own, below
				s.o.Count.Inc(metrics.FaultsRecovered)
				s.o.Log.Error("BUG: an enrolment ended in a fault", "fault", fault)
			}
			panic(http.ErrAbortHandler)
		}
	}()
	if !s.mu.TryRLock() {
		panic(http.ErrAbortHandler) // the end has come
	}
	defer s.mu.RUnlock()
	g, _ := r.Context().Value(guestKey{}).(*guest)
	if g == nil || r.TLS == nil {
		panic("BUG: enroll: a request without a connection of ours")
	}
	w.Header().Set("Cache-Control", "no-store")
	g.busy(true)
	defer g.busy(false)
	a := &attempt{s: s, g: g, w: w, r: r, now: s.o.Clock.Now(), policy: s.policy.Load()}
	switch target := r.Method + " " + r.URL.EscapedPath(); target {
	case "GET " + pathCAs:
		a.answer(append([]*x509.Certificate{s.o.Devices.CA()}, s.o.Extra...)...)
	case "POST " + pathEnroll:
		a.enroll()
	case "POST " + pathRenew:
		a.renew()
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// attempt is one request for a certificate.
type attempt struct {
	s      *Server
	g      *guest
	w      http.ResponseWriter
	r      *http.Request
	now    time.Time
	policy *Policy
}

// enroll is for who has no certificate yet.
func (a *attempt) enroll() {
	if a.s.throttle.refuses(a.now, a.g.from.Addr()) {
		a.tooMany()
		return
	}
	if name, token, ok := a.r.BasicAuth(); ok {
		a.byToken(name, secret.FromString(token))
		return
	}
	if len(a.r.TLS.PeerCertificates) > 0 {
		a.byClaim()
		return
	}
	// No failed attempt: clients of EST may ask first whether they are asked (RFC 7030 §3.2.3).
	a.s.o.Count.Inc(metrics.EnrolRefusedToken)
	a.w.Header().Set("WWW-Authenticate", `Basic realm="enrolment"`)
	a.say(http.StatusUnauthorized)
}

func (a *attempt) byToken(name string, token secret.Value) {
	// Nothing of what a stranger sends is read before the token is known to be good.
	if err := a.s.o.Devices.KnowsToken(a.now, name, token); err != nil {
		a.fail(name, err)
		return
	}
	r, ok := a.request(name)
	if !ok {
		return
	}
	a.issue("token", name, func(o pki.Order) (*pki.IssuedDevice, error) { return a.s.o.Devices.EnrollToken(a.now, o, token) }, r)
}

func (a *attempt) byClaim() {
	if _, err := a.claim(); err != nil {
		a.fail("", err)
		return
	}
	r, ok := a.request("")
	if !ok {
		return
	}
	if _, err := a.claimFor(r.Name); err != nil {
		a.fail(r.Name, err)
		return
	}
	a.issue("claim", r.Name, func(o pki.Order) (*pki.IssuedDevice, error) {
		claim, err := a.claimFor(r.Name)
		if err != nil {
			return nil, err
		}
		return a.s.o.Devices.EnrollClaim(a.now, o, a.r.TLS.PeerCertificates[0], claim.PerDay)
	}, r)
}

// claimFor is the claim by which a device of this name is enrolled.
func (a *attempt) claimFor(name string) (*Claim, error) {
	claim, err := a.claim()
	if err == nil && !claim.Names.MatchString(name) {
		err = pki.Deny(pki.DeniedClaim, "%s may not enrol a device of this name (enroll.claims[].names)", pki.Describe(a.r.TLS.PeerCertificates[0]))
	}
	return claim, err
}

// claim is the claim that the certificate shown is of.
func (a *attempt) claim() (*Claim, error) {
	var last error = pki.Deny(pki.DeniedClaim, "it showed a certificate, and there are no claims (enroll.claims)")
	for i := range a.policy.Claims {
		c := &a.policy.Claims[i]
		if _, err := c.Clients.Deny(a.policy.Denied).Verify(a.r.TLS.PeerCertificates, a.now); err != nil {
			last = pki.Deny(pki.DeniedClaim, "%s", err.Error())
			continue
		}
		return c, nil
	}
	return nil, last
}

// renew is for who has a certificate. It is not throttled with those who have none: a device
// behind the same address must not keep it out.
func (a *attempt) renew() {
	name, err := a.device()
	if err != nil {
		if a.s.throttle.refuses(a.now, a.g.from.Addr()) {
			a.tooMany()
			return
		}
		a.fail(name, err)
		return
	}
	shown := a.r.TLS.PeerCertificates[0]
	if a.s.again.refuses(a.now, shown) {
		a.tooMany()
		return
	}
	r, ok := a.request(name)
	if !ok {
		return
	}
	a.issue("renewal", name, func(o pki.Order) (*pki.IssuedDevice, error) {
		if _, err := a.device(); err != nil {
			return nil, err
		}
		if a.s.again.refuses(a.now, shown) { // since, by those that came with it
			return nil, pki.Deny(pki.DeniedCertificate, "it was refused a moment ago")
		}
		out, err := a.s.o.Devices.RenewShown(a.now, o, shown)
		if pki.AsDenied(err) != nil {
			a.s.again.failed(a.now, shown)
		}
		return out, err
	}, r)
}

// device is the name in the certificate of a device that was shown.
func (a *attempt) device() (name string, err error) {
	shown := a.r.TLS.PeerCertificates
	if len(shown) == 0 {
		return "", pki.Deny(pki.DeniedCertificate, "it showed no certificate")
	}
	if _, err = a.s.o.Known.Deny(a.policy.Denied).Verify(shown, a.now); err == nil {
		name, err = a.s.o.Known.Name(shown[0])
	}
	if err != nil {
		return name, pki.Deny(pki.DeniedCertificate, "%s", err.Error())
	}
	return name, nil
}

// request reads the signing request. One that names somebody must name him who gets the
// certificate, if that is known; everything else in it is passed over.
func (a *attempt) request(name string) (r pki.Request, ok bool) {
	if a.r.ContentLength > bodyBytesMax {
		a.refuse(http.StatusRequestEntityTooLarge, name, pki.Deny(pki.DeniedRequest, "what it sent is too long for a signing request"))
		return r, false
	}
	b, err := io.ReadAll(http.MaxBytesReader(a.w, a.r.Body, bodyBytesMax))
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			a.refuse(http.StatusRequestEntityTooLarge, name, pki.Deny(pki.DeniedRequest, "what it sent is too long for a signing request"))
			return r, false
		}
		a.refuse(http.StatusBadRequest, name, pki.Deny(pki.DeniedRequest, "what it sent did not come in full: %s", err.Error()))
		return r, false
	}
	if r, err = pki.ReadRequest(unwrapped(b)); err != nil {
		a.fail(name, err)
		return r, false
	}
	if name != "" && r.Name != "" && r.Name != name {
		a.fail(name, pki.Deny(pki.DeniedRequest, "the signing request is for another name than that of the device"))
		return r, false
	}
	return r, true
}

// unwrapped is a body without its base64, which EST wants and people forget (RFC 8951 §3.1:
// the header that would say so does not count).
func unwrapped(b []byte) []byte {
	text := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, string(b))
	if der, err := base64.StdEncoding.DecodeString(text); err == nil && len(der) > 0 {
		return der
	}
	return b
}

// issue has the certificate made, one at a time, and gives it out.
func (a *attempt) issue(by, name string, issue func(pki.Order) (*pki.IssuedDevice, error), r pki.Request) {
	if err := builtin.CheckName(name); err != nil { // listeners would refuse it
		a.fail(name, pki.Deny(pki.DeniedRequest, "the name: %s", err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(a.r.Context(), signWait)
	defer cancel()
	select {
	case a.s.turn <- struct{}{}:
		defer func() { <-a.s.turn }()
	case <-ctx.Done():
		a.busy(name, "others were before it for too long")
		return
	}
	if a.s.o.Clock.Now().Add(answerMin).After(a.g.end) {
		a.busy(name, "its time was nearly up")
		return
	}
	a.policy = a.s.policy.Load() // a request can take long, and who was denied meanwhile gets nothing
	out, err := issue(pki.Order{Name: name, Life: a.policy.Life, Public: r.Public})
	if err != nil {
		a.fail(name, err)
		return
	}
	x, err := out.Parsed()
	if err != nil {
		a.fail(name, err)
		return
	}
	a.s.o.Count.Inc(issuedBy[by])
	a.s.o.Audit.Event(a.now, slog.LevelInfo, "a device was given a certificate", name+" "+out.Serial, slog.String("name", name), slog.String("by", by),
		slog.String("serial", out.Serial), slog.Time("not_after", out.NotAfter), slog.String("address", a.g.from.String()))
	a.answer(x)
}
