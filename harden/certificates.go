package harden

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// certificates is row P3.3: the certificates of every listener, as its files have
// them and as it shows them.
func certificates(ctx context.Context, e *Env) []Result {
	keys := map[string][]*presented{} // by public key
	out := e.eachSocket(ctx, func(ctx context.Context, s *socket, a spot) (Result, bool) {
		if !s.speaksTLS() || e.notServed(ctx, s, a) { // or the socket does not serve this family
			return Result{}, false
		}
		j := &certJudge{inquiry: e.at(s.scope(a), a), ctx: ctx, s: s, a: a}
		if j.key = s.key; s.host != "" {
			j.advertised()
			return j.result(Behavioural, "valid for the name clients use, and whole"), true
		}
		j.files()
		j.served()
		j.depth()
		for _, p := range j.shown.all {
			id := keyID(p.leaf())
			keys[id] = append(keys[id], p)
		}
		return j.result(Behavioural, "valid, whole, and what the files have"), true
	})
	if len(out) == 0 {
		return []Result{{Scope: "node", State: NotApplicable, Summary: "no listener speaks TLS", Confidence: Behavioural}}
	}
	return append(out, e.judgeKeys(keys)...)
}

// keyID names a public key.
func keyID(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// judgeKeys finds a key that several certificates have, which outlives them, and
// one that is also a CA's.
func (e *Env) judgeKeys(keys map[string][]*presented) (out []Result) {
	q := e.inquire("keys of the server certificates")
	cas := map[string]string{}
	for _, file := range e.caFiles() {
		if chain, err := readChain(file); err == nil {
			for _, c := range chain {
				if c.IsCA {
					cas[keyID(c)] = file
				}
			}
		}
	}
	for id, all := range keys {
		for _, p := range all[1:] {
			if !p.leaf().Equal(all[0].leaf()) {
				q.see(Probe, "key of "+pki.Describe(all[0].leaf()), "a new key in each certificate", "is also that of "+pki.Describe(p.leaf()), Warn)
				break
			}
		}
		if file := cas[id]; file != "" {
			q.see(ReadFile, "key of "+pki.Describe(all[0].leaf()), "not that of a CA", "is the key of a CA: whoever takes it from the listener issues certificates", Fail)
			q.source(file)
		}
	}
	if len(q.obs) == 0 {
		return nil
	}
	return []Result{q.result(Behavioural, "")}
}

// caFiles are the files of all CAs that the configuration and the data directory
// name.
func (e *Env) caFiles() []string {
	files := []string{pki.CAFile(e.Config.Node.DataDir), pki.DevicesCA(e.Config.Node.DataDir)}
	for _, l := range e.Config.Listeners {
		files = append(files, l.TLS.ClientCA...)
	}
	return files
}

// certJudge judges one address.
type certJudge struct {
	*inquiry
	ctx    context.Context
	s      *socket
	a      spot
	chains map[string][]*x509.Certificate // by file; what could not be read is nil
	shown  *shown
}

// files judges those of the listener by the rules of package pki, which are also
// those by which the broker takes them.
func (j *certJudge) files() {
	l := j.e.Config.Listeners[j.s.name]
	keys := map[string]string{}
	for _, pair := range l.TLS.Certificates {
		if path, ok := strings.CutPrefix(pair.Key.Ref, "file:"); ok {
			keys[pair.Cert] = path
		}
	}
	user := 0
	if b, err := j.e.broker(j.ctx); err == nil {
		user = b.UID
	}
	j.chains = map[string][]*x509.Certificate{}
	for _, file := range j.e.certFiles(j.s) {
		chain, err := readChain(file)
		j.chains[file] = chain
		if err != nil {
			j.see(ReadFile, "certificate of the listener", "can be read", err.Error(), Unknown)
			j.source(file)
			continue
		}
		if j.builtIn() {
			keys[file] = strings.TrimSuffix(file, ".pem") + ".key"
		}
		lint := pki.Lint{File: file, KeyFile: keys[file], For: pki.ForServer, DataDir: j.e.Config.Node.DataDir, Now: j.e.Clock.Now(), As: user}
		bad := 0
		var open []error
		for _, f := range lint.Run() {
			if f.Verdict == pki.LintRefused {
				bad++
				if closable(f.Err) {
					open = append(open, f.Err)
				}
				j.see(ReadFile, "certificate of the listener", "the broker would take it", f.Text, Fail)
				j.source(file)
			}
		}
		if len(open) == bad { // with anything else the words of the row are the better ones
			for _, err := range open {
				path := file
				if strings.HasPrefix(err.Error(), keys[file]) {
					path = keys[file]
				}
				j.mend(err.Error()[strings.LastIndex(err.Error(), ": ch")+2:], j.modeWanted(path, err)...)
			}
		}
		if bad == 0 {
			j.see(ReadFile, "certificate of the listener", "the broker would take it", pki.Describe(chain[0]), Pass)
			j.source(file)
		}
	}
	if len(j.chains) == 0 {
		j.see(ReadConfig, "certificate of the listener", "known to the configuration", "the configuration has no such listener: is this the one the broker runs with?", Unknown)
	}
}

// builtIn tells whether the listener shows the leaf of the built-in CA, which the
// broker renews by itself.
func (j *certJudge) builtIn() bool {
	l, known := j.e.Config.Listeners[j.s.name]
	return known && len(l.TLS.Certificates) == 0
}

// rereadWithin is how long the broker may take to see that a file has changed,
// twice over.
const rereadWithin = 5 * time.Second

// served compares what is shown with the files. A broker that has not seen a new
// file yet is given the time it needs.
func (j *certJudge) served() {
	j.shown = j.e.shownAt(j.ctx, j.s, j.a)
	for _, t := range j.shown.troubles {
		j.see(Probe, "handshake", "ends", t, Unknown)
	}
	if len(j.shown.all) == 0 {
		j.see(Probe, "handshake", "a certificate is shown", "none was", Unknown)
		return
	}
	if slices.ContainsFunc(j.shown.all, func(p *presented) bool { return j.fileOf(p) == "" }) && j.e.rest(j.ctx, rereadWithin) {
		delete(j.e.seen.served, servedKey{j.a, j.s.host})
		j.shown = j.e.shownAt(j.ctx, j.s, j.a)
		for file := range j.chains {
			j.chains[file], _ = readChain(file)
		}
	}
	if j.shown.untried > 0 {
		j.see(Probe, "names of its certificates", fmt.Sprintf("each is asked for, up to %d", namesMax), fmt.Sprintf("%d more were not", j.shown.untried), Unknown)
	}
	used := map[string]bool{}
	var done []*x509.Certificate
	for _, p := range j.shown.all {
		file := j.fileOf(p)
		used[file] = true
		j.compare(p, file)
		if !slices.ContainsFunc(done, p.leaf().Equal) {
			done = append(done, p.leaf())
			j.whole(p)
			j.life(p.leaf())
		}
	}
	for file, chain := range j.chains {
		if chain != nil && !used[file] {
			j.otherKey(file, chain)
		}
	}
}

// fileOf is the file that has what was shown, the whole chain or all but its root;
// empty: none.
func (j *certJudge) fileOf(p *presented) string {
	for file, chain := range j.chains {
		if sameChain(p.chain, chain) {
			return file
		}
	}
	return ""
}

// sameChain compares what is shown with a file. A root at the end may be left out.
func sameChain(shown, file []*x509.Certificate) bool {
	if len(file) > 1 && len(shown) == len(file)-1 && selfSignedCA(file[len(file)-1]) {
		file = file[:len(file)-1]
	}
	return slices.EqualFunc(shown, file, (*x509.Certificate).Equal)
}

func selfSignedCA(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.IsCA
}

// compare says whether what is shown is in a file. The handshake was signed with
// the key of what was shown, so that it is the server's own.
func (j *certJudge) compare(p *presented, file string) {
	what, want := "certificate that is shown "+asked(p.name), "that of a file of the listener"
	if file != "" {
		j.see(Probe, what, want, pki.Describe(p.leaf()), Pass)
		j.source(file)
		return
	}
	readable := false
	for name, chain := range j.chains {
		readable = readable || chain != nil
		if chain != nil && chain[0].Equal(p.leaf()) {
			j.see(Probe, what, want, fmt.Sprintf("the chain behind it is another one than in %s: %d certificates, and %d there", name, len(p.chain), len(chain)), Fail)
			return
		}
	}
	if !readable {
		j.see(Probe, what, want, pki.Describe(p.leaf())+"; no file could be read", Unknown)
		return
	}
	j.see(Probe, what, want, pki.Describe(p.leaf())+", which no file has: a new file was not read, or something else answers", Fail)
	j.mend("redoubt reload", Want{Kind: WantReload})
}

// whole builds the way from the leaf to a root by nothing but what was shown.
func (j *certJudge) whole(p *presented) {
	const what, want = "chain that is shown", "leads to a root by itself"
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if own, err := readChain(pki.CAFile(j.e.Config.Node.DataDir)); err == nil {
		roots.AddCert(own[0])
	}
	for _, chain := range j.chains {
		if n := len(chain); n > 0 && bytes.Equal(chain[n-1].RawSubject, chain[n-1].RawIssuer) {
			roots.AddCert(chain[n-1])
		}
	}
	between := x509.NewCertPool()
	for _, c := range p.chain[1:] {
		between.AddCert(c)
	}
	chains, err := p.leaf().Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: j.e.Clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	last := p.chain[len(p.chain)-1]
	_, stranger := err.(x509.UnknownAuthorityError)
	switch {
	case err == nil:
		root := chains[0][len(chains[0])-1]
		j.see(Probe, what, want, fmt.Sprintf("%d certificates, then the root %q", len(p.chain), shortened(root.Subject.String())), Pass)
	case stranger:
		j.see(Probe, what, want, fmt.Sprintf("it ends with an issuer that is not known here as a root: %q", shortened(last.Issuer.String())), Warn)
		j.fixes = append(j.fixes, "add what is missing to the file of the certificate, up to and including the root if it is your own")
	default:
		j.see(Probe, what, want, shortened(err.Error()), Fail)
	}
}

// life judges how long a certificate has still to live. One that lives for less
// than three months is renewed in the last third.
func (j *certJudge) life(c *x509.Certificate) {
	now := j.e.Clock.Now()
	left := c.NotAfter.Sub(now)
	days := func(d time.Duration) int { return int(d.Hours()) / 24 }
	soon := min(30*24*time.Hour, c.NotAfter.Sub(c.NotBefore)/3)
	if j.builtIn() {
		soon -= 48 * time.Hour // the broker renews it when that third begins, and looks hourly
	}
	const what, want = "life of the certificate", "30 days or more, or a third of it"
	switch {
	case left <= 0:
		j.see(Probe, what, want, "expired on "+c.NotAfter.UTC().Format("2006-01-02"), Fail)
		j.renewal(c)
	case left < soon:
		j.see(Probe, what, want, fmt.Sprintf("%d days are left (it is told of at 30, 14 and 7)", days(left)), Warn)
		j.renewal(c)
	default:
		j.see(Probe, what, want, fmt.Sprintf("%d days are left", days(left)), Pass)
	}
}

// otherKey has a certificate shown that was not: it may be for clients that know
// another kind of key. Only in TLS 1.2 a client can say which it knows without
// more than a library offers.
func (j *certJudge) otherKey(file string, chain []*x509.Certificate) {
	names := append(hostNames(chain[0]), "")
	kinds := [][]uint16{{0xc02b, 0xc02c, 0xcca9}, {0xc02f, 0xc030, 0xcca8}}
	if j.a.network == networkUDP {
		kinds = nil // nobody has TLS 1.2 there
	}
	for _, suites := range kinds {
		for _, name := range names[:min(len(names), 4)] {
			p, err := j.e.present(j.ctx, j.a, handshakeAs{name: name, version: tls12, suites: suites})
			if err == nil && sameChain(p.chain, chain) {
				j.see(Probe, "certificate that is shown to clients of TLS 1.2 "+asked(name), "that of a file of the listener", pki.Describe(p.leaf()), Pass)
				j.source(file)
				j.whole(p)
				j.life(p.leaf())
				return
			}
		}
	}
	state, words := Warn, "nobody is shown it"
	if j.e.Config.Listeners[j.s.name].TLS.Profile == config.ProfileModern || j.a.network == networkUDP {
		state, words = NotApplicable, "not shown to a client that knows every kind of key; one that does not was not tried, because there is no TLS 1.2"
	}
	j.see(Probe, pki.Describe(chain[0]), "shown to somebody", words, state)
	j.source(file)
}

// depth compares chain_depth with the CAs that clients of this listener have.
func (j *certJudge) depth() {
	t := &j.e.Config.Listeners
	l := (*t)[j.s.name]
	if len(l.TLS.ClientCA) == 0 {
		return
	}
	var cas []*x509.Certificate
	for _, file := range l.TLS.ClientCA {
		chain, err := readChain(file)
		if err != nil {
			j.see(ReadFile, "client CA", "can be read", err.Error(), Unknown)
			continue
		}
		cas = append(cas, chain...)
	}
	most := 0
	for _, c := range cas {
		most = max(most, above(c, cas, 0))
	}
	j.see(ReadConfig, "chain_depth", fmt.Sprintf("at least %d, by the CAs of client_ca", most), fmt.Sprint(l.TLS.ChainDepth), passIf(l.TLS.ChainDepth >= most, Fail))
}

// above is how many certificates stand between a client of c and its root.
func above(c *x509.Certificate, all []*x509.Certificate, steps int) int {
	if bytes.Equal(c.RawSubject, c.RawIssuer) || steps > len(all) {
		return steps
	}
	for _, ca := range all {
		if !ca.Equal(c) && bytes.Equal(ca.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(ca) == nil {
			return above(ca, all, steps+1)
		}
	}
	return steps // trusted as a root is
}

// rest waits; false: there is no time for it.
func (e *Env) rest(ctx context.Context, d time.Duration) bool {
	if until, ok := ctx.Deadline(); ok && until.Sub(e.Clock.Now()) < 2*d {
		return false
	}
	timer := time.NewTimer(min(d, e.step()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
