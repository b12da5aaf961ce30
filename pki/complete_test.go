package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// logged marks a certificate as certificate transparency does.
func logged(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidSCTs, Value: []byte{4, 1, 0}})
}

// TestIncompleteChains: a gap is refused, and so is a public certificate that stands alone;
// nothing is refused of which a client may know the issuer.
func TestIncompleteChains(t *testing.T) {
	root := makeCert(t, p256(t), nil, asCA("root"))
	between := makeCert(t, p256(t), root, asCA("between"))
	below := makeCert(t, p256(t), between, asCA("below"))
	leaf := makeCert(t, p256(t), below, nil)
	public := makeCert(t, p256(t), between, logged)
	own := makeCert(t, p256(t), nil, logged)
	for what, row := range map[string]struct {
		chain []*cert
		want  string // "": taken
		open  string // the issuer that nobody here knows
	}{
		"whole":                         {[]*cert{leaf, below, between, root}, "", ""},
		"without the root":              {[]*cert{leaf, below, between}, "", "CN=root"},
		"without the upper one":         {[]*cert{leaf, below}, "", "CN=between"},
		"alone, of a private CA":        {[]*cert{leaf}, "", "CN=below"},
		"a gap":                         {[]*cert{leaf, between, root}, "its issuer (CN=below) is not in the file", ""},
		"a gap further up":              {[]*cert{leaf, below, root}, "certificate 2 in", ""},
		"the wrong order":               {[]*cert{leaf, between, below}, "put the certificate itself first", ""},
		"of a public CA, alone":         {[]*cert{public}, "the certificate (CN=test) is of a public CA, which issues from an intermediate (CN=between)", ""},
		"of a public CA, and its chain": {[]*cert{public, between}, "", "CN=root"},
		"logged and self-signed":        {[]*cert{own}, "", ""},
	} {
		cf, kf := files(t, certPEM(row.chain...), keyPEM(t, row.chain[0].key))
		got, err := LoadPair(cf, kf, t0)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", what, err, row.want)
		}
		l := Lint{File: cf, KeyFile: kf, Now: t0}
		l.Run()
		if l.Refused() != (row.want != "") {
			t.Errorf("%s: lint says %+v", what, l.found)
		}
		if err != nil {
			continue
		}
		if end := OpenEnd(got, nil, nil, t0); end != row.open {
			t.Errorf("%s: ends at %q, want %q", what, end, row.open)
		}
		roots := x509.NewCertPool()
		roots.AddCert(root.x)
		if end := OpenEnd(got, roots, []*x509.Certificate{root.x, below.x}, t0); end != "" && what != "without the upper one" {
			t.Errorf("%s: ends at %q although that one is known", what, end)
		}
	}
}

// TestLintKnowsRoots that the system has, so that a good public chain has no warning.
func TestLintKnowsRoots(t *testing.T) {
	root := makeCert(t, p256(t), nil, asCA("root"))
	between := makeCert(t, p256(t), root, asCA("between"))
	cf, _ := files(t, certPEM(makeCert(t, p256(t), between, logged), between), nil)
	l := Lint{File: cf, Now: t0, Roots: x509.NewCertPool()}
	l.Roots.AddCert(root.x)
	for _, f := range l.Run() {
		if f.Verdict != LintOK {
			t.Errorf("%+v", f)
		}
	}
	if !strings.Contains(l.found[len(l.found)-2].Text, "is a root that this system knows") {
		t.Errorf("%+v", l.found)
	}
}

// TestPublishedKeysAreRefused: that of the Go library's tests stands for all of the table.
func TestPublishedKeysAreRefused(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	sample := s.TLS.Certificates[0]
	x, err := x509.ParseCertificate(sample.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key := sample.PrivateKey.(crypto.Signer)
	root := makeCert(t, p256(t), nil, asCA("root"))
	ours := makeCert(t, key, root, nil) // another certificate for the same key
	for what, chain := range map[string][]byte{"as it is published": certPEM(&cert{x, key}), "issued anew": certPEM(ours)} {
		cf, _ := files(t, chain, nil)
		_, err := LoadPairWithKey(cf, secret.New(keyPEM(t, key)), "key", t0)
		l := Lint{File: cf, For: ForServer, Now: t0}
		l.Run()
		said := ""
		for _, f := range l.found {
			if f.Verdict == LintRefused {
				said += f.Text + "\n"
			}
		}
		const want = "its private key is published (go-1.26 net/http/internal/testcert/testcert.go)"
		if err == nil || what == "issued anew" && !strings.Contains(err.Error(), want) || !strings.Contains(said, want) {
			t.Errorf("%s: %v\n%s", what, err, said)
		}
	}
	// One who issues with a published key is no better.
	ca := makeCert(t, key, nil, asCA("sample CA"))
	cf, kf := files(t, certPEM(makeCert(t, p256(t), ca, nil), ca), nil)
	if _, err := LoadPair(cf, kf, t0); err == nil || !strings.Contains(err.Error(), "certificate 2 in") {
		t.Errorf("issued by a sample CA: %v", err)
	}
	c := Clients{}
	if err := c.LoadClientCAs([]string{cf}, t0); err == nil {
		t.Error("a sample CA is taken as a client CA")
	}
	if err := os.WriteFile(cf, certPEM(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadClientCAs([]string{cf}, t0); err == nil || !strings.Contains(err.Error(), "is published") {
		t.Errorf("a sample CA as a client CA: %v", err)
	}
}

// TestTableOfPublishedKeys: each line is a sum and where it is from, and none twice.
func TestTableOfPublishedKeys(t *testing.T) {
	n := 0
	for line := range strings.Lines(sampleKeysText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		n++
		sum, origin, _ := strings.Cut(strings.TrimSpace(line), " ")
		if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" || strings.Count(origin, " ") != 1 {
			t.Errorf("%q is not a sum, what published it, and where in it", line)
		}
	}
	if n < 100 || len(sampleKeys()) != n {
		t.Errorf("%d lines, %d different sums", n, len(sampleKeys()))
	}
	for _, of := range []string{"emqx/emqx", "mosquitto-", "wolfssl-", "mbedtls-", "go-1."} {
		if !strings.Contains(sampleKeysText, " "+of) {
			t.Errorf("nothing of %s", of)
		}
	}
}
