package enroll

import (
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

var issuedBy = map[string]metrics.ID{
	"token": metrics.EnrolledToken, "claim": metrics.EnrolledClaim, "renewal": metrics.EnrolledRenewal,
}

var refusedFor = map[string]metrics.ID{
	pki.DeniedToken: metrics.EnrolRefusedToken, pki.DeniedClaim: metrics.EnrolRefusedClaim,
	pki.DeniedCertificate: metrics.EnrolRefusedCertificate, pki.DeniedRequest: metrics.EnrolRefusedRequest,
}

// lineMost is the length of a line of base64 that every program reads.
const lineMost = 64

// answer sends certificates as EST has them: PKCS #7, in base64.
func (a *attempt) answer(certs ...*x509.Certificate) {
	der, err := pki.Container(certs...)
	if err != nil {
		a.fail("", err)
		return
	}
	h := a.w.Header()
	h.Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	h.Set("Content-Transfer-Encoding", "base64")
	var b strings.Builder
	for text := base64.StdEncoding.EncodeToString(der); text != ""; {
		n := min(lineMost, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	_, _ = a.w.Write([]byte(b.String())) // the caller hung up
}

// fail answers what came of an error: refusals, or the fault of our side.
func (a *attempt) fail(name string, err error) {
	d := pki.AsDenied(err)
	if d == nil {
		a.s.o.Count.Inc(metrics.EnrolRefusedFailed)
		a.s.o.Audit.Event(a.now, slog.LevelError, "an enrolment failed", "enroll", slog.String("name", name), slog.String("error", err.Error()))
		a.say(http.StatusServiceUnavailable)
		return
	}
	status := http.StatusForbidden
	switch d.Kind {
	case pki.DeniedToken:
		status = http.StatusUnauthorized
	case pki.DeniedRequest:
		status = http.StatusBadRequest
	}
	a.refuse(status, name, d)
}

// refuse tells the log why and the device that. The name is one that somebody claims.
func (a *attempt) refuse(status int, name string, d *pki.Denied) {
	a.s.throttle.failed(a.now, a.g.from.Addr())
	a.s.o.Count.Inc(refusedFor[d.Kind])
	a.s.o.Audit.Stranger(a.now, slog.LevelWarn, "an enrolment was refused", a.g.from.Addr(), d.What, func() []slog.Attr {
		return []slog.Attr{slog.String("address", a.g.from.String()), slog.String("name", name), slog.String("why", d.Why)}
	})
	a.say(status)
}

// tooMany refuses without a look.
func (a *attempt) tooMany() {
	a.s.o.Count.Inc(metrics.EnrolRefusedThrottled)
	a.s.o.Audit.Stranger(a.now, slog.LevelWarn, "enrolments from a network, or with a certificate, are not looked at for a minute", a.g.from.Addr(), "throttled", func() []slog.Attr {
		return []slog.Attr{slog.String("address", a.g.from.String())}
	})
	a.w.Header().Set("Retry-After", "60")
	a.say(http.StatusTooManyRequests)
}

// busy asks the device to come again.
func (a *attempt) busy(name, why string) {
	a.s.o.Count.Inc(metrics.EnrolRefusedBusy)
	a.s.o.Audit.Event(a.now, slog.LevelWarn, "an enrolment was put off", "enroll", slog.String("name", name), slog.String("why", why))
	a.w.Header().Set("Retry-After", "5")
	a.say(http.StatusServiceUnavailable)
}

// say is all a client hears of a refusal: the status, in words.
func (a *attempt) say(status int) {
	a.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	a.w.WriteHeader(status)
	_, _ = a.w.Write([]byte(strings.ToLower(http.StatusText(status)) + "\n")) // the caller hung up
}
