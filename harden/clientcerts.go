package harden

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// clientCerts is row P3.4: a listener that wants certificates of clients refuses
// all that are not good, before anything of MQTT is answered.
func clientCerts(ctx context.Context, e *Env) []Result { return e.eachTLS(ctx, e.judgeClientCerts) }

// eachTLS judges every listener that speaks TLS, at each of its addresses.
func (e *Env) eachTLS(ctx context.Context, judge func(context.Context, *endpoint) Result) []Result {
	eps, out := e.tlsEndpoints(ctx)
	for i := range eps {
		out = append(out, judge(ctx, &eps[i]))
	}
	return out
}

// tlsEndpoints are the addresses of listeners that speak TLS, or the results that say
// why there are none.
func (e *Env) tlsEndpoints(ctx context.Context) (some []endpoint, none []Result) {
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return nil, unknown(e, err.Error())
	}
	if eps = slices.DeleteFunc(eps, func(p endpoint) bool { return !p.tls }); len(eps) == 0 {
		return nil, []Result{{Scope: "node", State: NotApplicable, Summary: "no listener speaks TLS", Confidence: Behavioural}}
	}
	return eps, nil
}

// asking is an endpoint whose listener asks for certificates, and what can be
// shown there.
type asking struct {
	*inquiry
	ctx    context.Context
	p      *endpoint
	tls    config.TLS
	chain  []string // authenticators
	prober *pki.Prober
	noKey  string // why there is no prober
	good   *tls.Certificate
	cas    []*x509.Certificate // of client_ca
}

// ask looks at what a listener wants. nil: the result says why there is nothing to
// judge.
func (e *Env) ask(ctx context.Context, p *endpoint) (*asking, Result) {
	j := &asking{inquiry: e.at(p.scope(), p.addr), ctx: ctx, p: p}
	j.key = p.key
	l, known := e.Config.Listeners[p.name]
	j.tls, j.chain = l.TLS, e.Config.Authn.Chains[l.Authn]
	asks, err := e.asksFor(ctx, p)
	declared := l.TLS.ClientCert == string(pki.ClientCertOptional) || l.TLS.ClientCert == string(pki.ClientCertRequired)
	switch {
	case err != nil:
		j.see(Probe, "handshake", "ends", shortened(err.Error()), Unknown)
	case !known:
		j.see(ReadConfig, "client_cert", "known to the configuration", "the configuration has no such listener: is this the one the broker runs with?", Unknown)
	case !asks && declared:
		j.see(Probe, "certificate of the client", "asked for, as client_cert is "+l.TLS.ClientCert, "the server asks for none", Fail)
	case asks && l.Plaintext():
		j.see(Probe, "certificate of the client", "", "asked for by what stands in front of the broker, which alone judges it: the broker never sees it", Unknown)
	case asks && !declared:
		j.see(Probe, "certificate of the client", "not asked for: client_cert is none", "the server asks for one: is this the configuration it runs with?", Unknown)
	case !asks:
		j.see(Probe, "certificate of the client", "", "none is asked for; clients are known by "+chainWords(j.chain), NotApplicable)
		return nil, j.result(Behavioural, "asks for no certificate; clients are known by "+chainWords(j.chain))
	default:
		return j, Result{}
	}
	return nil, j.result(Behavioural, "")
}

func chainWords(chain []string) string {
	if len(chain) == 0 {
		return "a chain that is not in the configuration"
	}
	return strings.Join(chain, ", then ")
}

// asksFor tells whether a server asks clients for a certificate.
func (e *Env) asksFor(ctx context.Context, p *endpoint) (asks bool, err error) {
	c, err := e.secure(ctx, p.addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asks = true
			return &tls.Certificate{}, nil
		}})
	if err == nil {
		_ = c.Close()
	}
	if asks {
		return true, nil // whatever it says of one that shows none
	}
	return false, err
}

// judgeClientCerts shows every kind of certificate that is not good, and a good one.
func (e *Env) judgeClientCerts(ctx context.Context, p *endpoint) Result {
	j, nothing := e.ask(ctx, p)
	if j == nil {
		return nothing
	}
	j.equip()
	required := j.tls.ClientCert == string(pki.ClientCertRequired)
	if !required && slices.Equal(j.chain, []string{"x509"}) {
		j.see(ReadConfig, "client_cert", "required: the chain knows clients by their certificates alone", "optional", Warn)
		j.mend("set "+p.key+".tls.client_cert to required", Want{Kind: WantSetting, Name: p.key + ".tls.client_cert", Value: "required", Cuts: "clients without a certificate of client_ca"})
	}
	mark := len(j.obs)
	passed := j.goodPasses()
	for _, c := range j.bad() {
		switch {
		case c.why != "":
			j.see(Probe, c.what, "refused before an answer", "not tried: "+c.why, Unknown)
		case c.cert == nil && !required:
			j.see(Probe, c.what, "", "client_cert is optional", NotApplicable)
		default:
			j.refused(c)
		}
	}
	if !passed {
		j.doubt(mark)
	}
	if passed {
		j.identity()
	}
	return j.result(Behavioural, "lets in good certificates and no others")
}

// equip finds out with what a listener can be tried: the CA of devices, if it is
// one of those the listener accepts, or what the operator has given.
func (j *asking) equip() {
	j.accepted()
	p, err := pki.DevicesProber(j.e.Config.Node.DataDir)
	switch {
	case err == nil && slices.ContainsFunc(j.cas, p.CA().Equal):
		j.prober = p
		now := j.e.Clock.Now()
		// A second back, for clocks that count whole ones.
		if j.good, err = p.Issue(now, pki.ProbeCert{Name: "probe-" + randomText(), NotBefore: now.Add(-time.Second), NotAfter: now.Add(pki.ProbeLifeMax - time.Second), Usage: x509.ExtKeyUsageClientAuth}); err != nil {
			j.noKey = err.Error()
		}
	case j.e.GoodCert != nil:
		j.good = j.e.GoodCert
		j.noKey = "it takes the key of the CA to make one"
	case err == nil:
		j.noKey = "the key of no CA in client_ca is here; show a good certificate with --client-cert"
	default:
		j.noKey = "the key of no CA in client_ca is here (" + shortened(err.Error()) + "); show a good certificate with --client-cert"
	}
}

// proberFor is the CA of devices with its key, if it is one of these CAs; nil: it is
// not, or the key is not here.
func (e *Env) proberFor(clientCA []string) *pki.Prober {
	p, err := pki.DevicesProber(e.Config.Node.DataDir)
	if err != nil {
		return nil
	}
	for _, file := range clientCA {
		if chain, err := readChain(file); err == nil && slices.ContainsFunc(chain, p.CA().Equal) {
			return p
		}
	}
	return nil
}

// withCert is the endpoint with a certificate that says the client is user, where one
// is needed and can be made; nil: somebody nobody knows. A user has one for the run.
func (e *Env) withCert(p *endpoint, user *string) *endpoint {
	if p.addr.proxied && p.byCert && user != nil { // whom a proxy vouches for
		with := *p
		with.addr.vouches = *user
		return &with
	}
	if p.prober == nil || p.cert != nil {
		return p
	}
	name := "probe-" + randomText()
	if user != nil && *user != "" {
		name = *user
	}
	e.seen.mu.Lock()
	defer e.seen.mu.Unlock()
	own := e.seen.certs[name]
	if own == nil {
		now := e.Clock.Now()
		var err error
		if own, err = p.prober.Issue(now, pki.ProbeCert{Name: name, NotBefore: now.Add(-time.Second), NotAfter: now.Add(pki.ProbeLifeMax - time.Second), Usage: x509.ExtKeyUsageClientAuth}); err != nil {
			return p
		}
		if e.seen.certs == nil {
			e.seen.certs = map[string]*tls.Certificate{}
		}
		if user != nil {
			e.seen.certs[name] = own
		}
	}
	with := *p
	with.cert = own
	return &with
}

// goodCert is a good certificate for a listener; nil: it asks for none, or none can
// be made.
func (e *Env) goodCert(listener string) *tls.Certificate {
	j := &asking{inquiry: e.inquire("")}
	j.tls = e.Config.Listeners[listener].TLS
	if len(j.tls.ClientCA) == 0 {
		return nil
	}
	j.equip()
	return j.good
}

// accepted reads the CAs of client_ca.
func (j *asking) accepted() {
	for _, file := range j.tls.ClientCA {
		chain, err := readChain(file)
		if err != nil {
			j.see(ReadFile, "client CA", "can be read", err.Error(), Unknown)
			j.source(file)
		}
		j.cas = append(j.cas, chain...)
	}
}

// credential is what a probe shows; why says why it could not be made.
type credential struct {
	what string
	cert *tls.Certificate // nil: none is shown
	why  string
}

// bad is everything that has to be refused. Each differs from a good one in one
// thing.
func (j *asking) bad() []credential {
	now := j.e.Clock.Now()
	usable := pki.ProbeCert{Name: "probe-" + randomText(), NotBefore: now.Add(-time.Second), NotAfter: now.Add(pki.ProbeLifeMax - time.Second), Usage: x509.ExtKeyUsageClientAuth}
	list := []credential{{what: "no certificate"}}
	made := func(what string, c *tls.Certificate, err error) {
		one := credential{what: what, cert: c}
		if err != nil {
			one.why = shortened(err.Error())
		}
		list = append(list, one)
	}
	other, key, err := strangeCA(&x509.Certificate{}, now)
	if err == nil {
		var c *tls.Certificate
		c, err = pki.IssueFor(usable, other, key)
		made("a certificate of another CA", c, err)
	} else {
		made("a certificate of another CA", nil, err)
	}
	for i, ca := range j.cas {
		if i == namedMax {
			break
		}
		what := fmt.Sprintf("a certificate of a self-signed copy of the name %q", shortened(ca.Subject.String()))
		copied, key, err := strangeCA(ca, now)
		if err != nil {
			made(what, nil, err)
			continue
		}
		c, err := pki.IssueFor(usable, copied, key)
		if err == nil {
			c.Certificate = append(c.Certificate, copied.Raw)
		}
		made(what, c, err)
	}
	for _, kind := range []struct {
		what   string
		change func(c *pki.ProbeCert)
	}{
		{"an expired certificate", func(c *pki.ProbeCert) {
			c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(-time.Hour+pki.ProbeLifeMax)
		}},
		{"a certificate that is not valid yet", func(c *pki.ProbeCert) {
			c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(time.Hour+pki.ProbeLifeMax)
		}},
		{"a certificate for servers", func(c *pki.ProbeCert) { c.Usage = x509.ExtKeyUsageServerAuth }},
	} {
		if j.prober == nil {
			list = append(list, credential{what: kind.what, why: j.noKey})
			continue
		}
		c := usable
		kind.change(&c)
		cert, err := j.prober.Issue(now, c)
		made(kind.what, cert, err)
	}
	return list
}

// namedMax bounds how many CAs of a listener are copied.
const namedMax = 8

// strangeCA makes a CA with the names of another one and a key of its own.
func strangeCA(like *x509.Certificate, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: like.Subject, RawSubject: like.RawSubject, SubjectKeyId: like.SubjectKeyId,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Minute), KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	if len(like.RawSubject) == 0 {
		t.Subject.CommonName = "probe " + randomText()
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	return ca, key, err
}
