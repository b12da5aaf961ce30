package harden

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/redoubtmq/redoubt/pki"
)

// stapling is row P3.6: who checks whether the broker's certificate was revoked is
// told by the broker, with a word of the CA that is valid now.
func stapling(ctx context.Context, e *Env) []Result {
	out := e.eachSocket(ctx, func(ctx context.Context, s *socket, a spot) (Result, bool) {
		if !s.speaksTLS() || e.notServed(ctx, s, a) {
			return Result{}, false
		}
		j := &certJudge{inquiry: e.at(s.scope(a), a), ctx: ctx, s: s, a: a}
		j.key = s.key
		return j.staples(), true
	})
	if len(out) == 0 {
		return []Result{{Scope: "node", State: NotApplicable, Summary: "no listener speaks TLS", Confidence: Behavioural}}
	}
	return out
}

// staples judges those of one address: for every certificate that it shows, in both
// versions of TLS.
func (j *certJudge) staples() Result {
	j.chains = map[string][]*x509.Certificate{}
	for _, file := range j.e.certFiles(j.s) {
		j.chains[file], _ = readChain(file) // row P3.3 tells of what cannot be read
	}
	j.shown = j.e.shownAt(j.ctx, j.s, j.a)
	if len(j.shown.all) == 0 {
		j.see(Probe, "handshake", "a certificate is shown", "none was", Unknown)
	}
	var done []*x509.Certificate
	for _, p := range j.shown.all {
		if slices.ContainsFunc(done, p.leaf().Equal) {
			continue
		}
		done = append(done, p.leaf())
		if len(p.leaf().OCSPServer) == 0 {
			j.noResponder(p.leaf())
			continue
		}
		j.staple(p)
		if p.version != tls12 && j.a.network != networkUDP {
			if older, err := j.e.present(j.ctx, j.a, handshakeAs{name: p.name, version: tls12}); err == nil && older.leaf().Equal(p.leaf()) {
				j.staple(older)
			}
		}
	}
	const none = "the certificates name no OCSP responder"
	r := j.result(Behavioural, "staples what the CA says of its certificates, valid now")
	if r.State == NotApplicable {
		r.Summary = none
	}
	return r
}

// unrevokedMax is how long a certificate may live whose CA nobody can ask.
const unrevokedMax = 91 * 24 * time.Hour

// noResponder is about a certificate for which there is nothing to staple. It should
// end soon, or say where the list of its CA is.
func (j *certJudge) noResponder(c *x509.Certificate) {
	what, life := "OCSP responder of "+pki.Describe(c), c.NotAfter.Sub(c.NotBefore)
	switch {
	case mustStaple(c):
		j.see(Probe, what, "named, because the certificate demands a staple", "none is named", Fail)
	case len(c.CRLDistributionPoints) == 0 && life > unrevokedMax:
		j.see(Probe, what, "named; or a life of at most 90 days, or the address of a list", fmt.Sprintf("none is named, nor a list, and it lives %d days: if its key is stolen, clients cannot know", int(life.Hours())/24), Warn)
		j.fixes = append(j.fixes, "issue it for 90 days")
	default:
		j.see(Probe, what, "", "none is named", NotApplicable)
	}
}

// oidFeature is the extension by which a certificate demands a staple (RFC 7633).
var oidFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

func mustStaple(c *x509.Certificate) bool {
	const statusRequest = 5
	for _, x := range c.Extensions {
		var features []int
		if x.Id.Equal(oidFeature) {
			if _, err := asn1.Unmarshal(x.Value, &features); err == nil && slices.Contains(features, statusRequest) {
				return true
			}
		}
	}
	return false
}

// staple judges what came with one handshake.
func (j *certJudge) staple(p *presented) {
	what := fmt.Sprintf("%s %s: staple for %s", versionName(p.version), asked(p.name), pki.Describe(p.leaf()))
	const want = "good, valid now, and signed for this certificate"
	see := func(s State, format string, args ...any) {
		j.see(Probe, what, want, shortened(fmt.Sprintf(format, args...)), s)
	}
	if len(p.staple) == 0 {
		if mustStaple(p.leaf()) {
			see(Fail, "none, and the certificate demands one: clients that know this refuse it")
		} else {
			see(Fail, "none")
		}
		return
	}
	issuer := j.issuer(p)
	if issuer == nil {
		see(Unknown, "there is one; the issuer, who has to have signed it, is not shown and not in a file")
		return
	}
	r, err := ocsp.ParseResponseForCert(p.staple, p.leaf(), issuer)
	now := j.e.Clock.Now()
	switch {
	case err != nil:
		see(Fail, "it is for another certificate, or was not signed for the issuer: %v", err)
	case !mayRespond(r.Certificate, issuer, now):
		see(Fail, "it was signed by a certificate of the issuer that may not (extended key usage OCSPSigning), or not now")
	case r.Status == ocsp.Revoked:
		see(Fail, "the certificate was revoked on %s", r.RevokedAt.UTC().Format("2006-01-02"))
		j.fixes = append(j.fixes, "issue another certificate with a new key")
	case r.Status != ocsp.Good:
		see(Fail, "the CA does not know the certificate")
	case r.ThisUpdate.After(now.Add(stapleSkew)):
		see(Fail, "it is from %s, which is in the future: check the clocks", r.ThisUpdate.UTC().Format(time.RFC3339))
	case r.NextUpdate.IsZero():
		see(Warn, "it does not say until when it counts")
	case now.After(r.NextUpdate):
		see(Fail, "it has expired on %s", r.NextUpdate.UTC().Format(time.RFC3339))
	case now.Sub(r.ThisUpdate) > r.NextUpdate.Sub(r.ThisUpdate)*3/4:
		see(Warn, "it counts for %s more; a new one was due at half of its life", age(r.NextUpdate.Sub(now)))
	default:
		see(Pass, "good, for %s more", age(r.NextUpdate.Sub(now)))
	}
}

// stapleSkew is how far the clocks of the CA and of this machine may differ.
const stapleSkew = 5 * time.Minute

// mayRespond tells whether a certificate may speak for the issuer (RFC 6960
// §4.2.2.2); nil: the issuer has signed itself.
func mayRespond(c, issuer *x509.Certificate, now time.Time) bool {
	return c == nil || c.Equal(issuer) ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// issuer is who has issued a certificate that is shown, among what is shown, in the
// files, or known to the data directory.
func (j *certJudge) issuer(p *presented) *x509.Certificate {
	all := slices.Clone(p.chain[1:])
	for _, chain := range j.chains {
		all = append(all, chain...)
	}
	if own, err := readChain(pki.CAFile(j.e.Config.Node.DataDir)); err == nil {
		all = append(all, own...)
	}
	for _, c := range all {
		if bytes.Equal(c.RawSubject, p.leaf().RawIssuer) && p.leaf().CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}
