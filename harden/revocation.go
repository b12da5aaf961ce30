package harden

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// revocation is row P3.5: a listener that wants certificates of clients refuses
// those that were revoked.
func revocation(ctx context.Context, e *Env) []Result {
	eps, out := e.tlsEndpoints(ctx)
	asked := make(map[int]*asking) // by index in out
	var all []*asking
	for i := range eps {
		j, nothing := e.judgeRevocation(ctx, &eps[i])
		if out = append(out, nothing); j != nil {
			asked[len(out)-1], all = j, append(all, j)
		}
	}
	e.withdraws(ctx, all)
	for i, j := range asked {
		out[i] = j.result(Behavioural, "refuses certificates that were revoked")
	}
	return out
}

// judgeRevocation reads the lists of a listener and shows it a certificate that was
// revoked when it was made. nil: the result says why there is nothing to judge.
func (e *Env) judgeRevocation(ctx context.Context, p *endpoint) (*asking, Result) {
	j, nothing := e.ask(ctx, p)
	if j == nil {
		return nil, nothing
	}
	j.equip()
	j.configured()
	lists, whole := j.lists()
	j.covered(lists, whole)
	if g := j.tls.CRL.Grace(); len(j.tls.CRL.Files) > 0 {
		j.see(ReadConfig, "crl.stale", "refuse, or at most 24 hours", j.tls.CRL.Stale, passIf(g <= graceMax, Warn))
	}
	j.canary(lists)
	return j, Result{}
}

// configured looks whether anything says who was revoked. Addresses of lists are in
// certificates of clients, which are not seen here but for those the operator gives.
func (j *asking) configured() {
	words, state := "", Pass
	switch denied := len(j.e.Config.Certificates.Denied); {
	case len(j.tls.CRL.Files) > 0:
		words = fmt.Sprintf("%d files", len(j.tls.CRL.Files))
	case j.fetched(j.e.GoodCert):
		words = "fetched from where the good certificate says"
	case denied > 0:
		words, state = fmt.Sprintf("none; what was revoked is known by certificates.denied alone, which has %d", denied), Warn
	case j.tls.CRL.DistributionPoints && j.prober == nil && j.e.GoodCert == nil:
		words, state = "none; those that certificates name are fetched, and whether they name any is not known here: show one with --client-cert", Unknown
	default:
		words, state = "none: a certificate lets in whoever has its key until it expires", Fail
	}
	j.see(ReadConfig, "crl", "lists are named", words, state)
	if state == Fail || state == Warn {
		j.fixes = append(j.fixes, "name the lists of your CAs in "+j.key+".tls.crl.files")
	}
}

// fetched tells whether the list for a certificate is fetched from the address in it.
func (j *asking) fetched(c *tls.Certificate) bool {
	return j.tls.CRL.DistributionPoints && c != nil && c.Leaf != nil && len(c.Leaf.CRLDistributionPoints) > 0
}

// graceMax is the longest that an old list may count.
const graceMax = 24 * time.Hour

// lists reads those of the listener. whole is false if one could not be read.
func (j *asking) lists() (all []*x509.RevocationList, whole bool) {
	whole = true
	now := j.e.Clock.Now()
	for _, file := range j.tls.CRL.Files {
		l, err := readList(file)
		const what = "revocation list"
		switch {
		case err != nil:
			j.see(ReadFile, what, "can be read", err.Error(), Unknown)
		case now.After(l.NextUpdate):
			state := Fail
			if now.Before(l.NextUpdate.Add(j.tls.CRL.Grace())) {
				state = Warn
			}
			j.see(ReadFile, what, "current", fmt.Sprintf("should have been followed by another %s ago", age(now.Sub(l.NextUpdate))), state)
			j.fixes = append(j.fixes, "get the new list of "+shortened(l.Issuer.String()))
		default:
			j.see(ReadFile, what, "current", fmt.Sprintf("%s old, the next one comes in %s", age(now.Sub(l.ThisUpdate)), age(l.NextUpdate.Sub(now))), Pass)
		}
		j.source(file)
		if err == nil {
			all = append(all, l)
		} else {
			whole = false
		}
	}
	return all, whole
}

func age(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// readList reads a revocation list in PEM or DER.
func readList(file string) (*x509.RevocationList, error) {
	b, err := safefile.Read(file, revoke.BytesMax)
	if errors.Is(err, safefile.ErrNotRegular) || errors.Is(err, safefile.ErrTooLarge) {
		err = fmt.Errorf("%s is no file that a listener takes", file)
	}
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	return x509.ParseRevocationList(b)
}

// covered looks whether there is a list for every CA that may issue, and signed by
// it.
func (j *asking) covered(lists []*x509.RevocationList, whole bool) {
	if len(j.tls.CRL.Files) == 0 {
		return
	}
	for _, ca := range j.cas {
		what, found, forged := "list of "+shortened(ca.Subject.String()), false, false
		for _, l := range lists {
			if !bytes.Equal(l.RawIssuer, ca.RawSubject) {
				continue
			}
			if l.CheckSignatureFrom(ca) == nil {
				found = true
			} else {
				forged = true
			}
		}
		switch {
		case found:
			j.see(ReadFile, what, "there, and signed by it", "is there", Pass)
		case forged:
			j.see(ReadFile, what, "there, and signed by it", "is there and was not signed by it", Fail)
		case j.fetched(j.e.RevokedCert) && bytes.Equal(j.e.RevokedCert.Leaf.RawIssuer, ca.RawSubject):
			j.see(ReadConfig, what, "", "is fetched; the revoked certificate tells whether", NotApplicable)
		case !whole:
			j.see(ReadFile, what, "there, and signed by it", "is not among those that could be read", Unknown)
		default:
			j.see(ReadFile, what, "there, and signed by it", "is not there", Fail)
			j.fixes = append(j.fixes, "name the list of "+shortened(ca.Subject.String())+" in "+j.key+".tls.crl.files")
		}
	}
}

// canary shows a certificate that was revoked, and is good but for that.
func (j *asking) canary(lists []*x509.RevocationList) {
	const what = "a revoked certificate"
	pair, why := j.revoked()
	if pair == nil {
		j.see(Probe, what, "refused before an answer", "not tried: "+why, Unknown)
		return
	}
	if pair.Leaf != nil && len(lists) > 0 && !slices.ContainsFunc(lists, func(l *x509.RevocationList) bool { return listNames(l, pair.Leaf) }) {
		j.see(ReadFile, what, "named by a list of the listener", fmt.Sprintf("no list names %x: they are copies from before it was made, or of another CA", pair.Leaf.SerialNumber), Unknown)
	}
	mark := len(j.obs)
	passed := j.goodPasses()
	j.refused(credential{what: what, cert: pair})
	if !passed {
		j.doubt(mark)
	}
}

// revoked is the canary of the CA of devices, or what the operator has given.
func (j *asking) revoked() (*tls.Certificate, string) {
	if j.prober == nil {
		if j.e.RevokedCert == nil {
			return nil, "the CA of devices is not one of client_ca; show a revoked certificate of the other with --revoked-cert"
		}
		return j.e.RevokedCert, ""
	}
	pair, err := pki.DevicesCanary(j.e.Config.Node.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		j.fixes = append(j.fixes, "redoubt cert crl")
		return nil, "the CA of devices is older than canaries; its next list brings one"
	case err != nil:
		return nil, err.Error()
	}
	return pair, ""
}

// listNames tells whether a list names a certificate.
func listNames(l *x509.RevocationList, c *x509.Certificate) bool {
	return bytes.Equal(l.RawIssuer, c.RawIssuer) && slices.ContainsFunc(l.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(c.SerialNumber) == 0 })
}
