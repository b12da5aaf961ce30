package pki

import (
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLint(t *testing.T) {
	root := makeCert(t, p256(t), nil, asCA("root"))
	between := makeCert(t, p256(t), root, asCA("between"))
	server := func(change func(*x509.Certificate)) *cert { return makeCert(t, p256(t), between, change) }
	good := server(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 7)} })
	device := makeCert(t, p256(t), root, asDevice("dev", 10, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "urn", Opaque: "dev"}} }))
	other := keyPEM(t, p256(t))
	for _, row := range []struct {
		what  string
		text  []byte
		key   []byte
		as    Usage
		found []string // in this order, among others
	}{
		{"good, whole and with its key", certPEM(good, between, root), keyPEM(t, good.key), ForEither, []string{
			"ok judged as the certificate of a server", "ok names: DNS broker.example, IP 192.0.2.7", "ok key: ECDSA P-256", "ok valid until 2026-05-30", "certificate 3: \"CN=root\"",
			"ok the chain is whole: it ends in the self-signed \"CN=root\"", "ok the key in", "ok the broker takes it",
		}},
		{"without the root", certPEM(good, between), nil, ForServer, []string{"warning the chain ends with an issuer that is not in the file: \"CN=root\"", "ok the broker takes it"}},
		{"in the wrong order", certPEM(good, root, between), nil, ForServer, []string{"refused certificate 1", "was not issued by the next one (CN=root)"}},
		{"another key", certPEM(good, between), other, ForServer, []string{"refused the key in", "does not belong to"}},
		{"no key", certPEM(good, between), []byte("x"), ForServer, []string{"refused", "no unencrypted"}},
		{"soon", certPEM(server(func(c *x509.Certificate) { c.NotAfter = t0.Add(29 * dayLong) }), between), nil, ForServer, []string{"warning it expires in 29 days, on 2026-03-30", "takes it"}},
		{"everything at once", certPEM(makeCert(t, rsaKey(t, rsa1024), nil, func(c *x509.Certificate) {
			c.NotAfter, c.DNSNames, c.ExtKeyUsage = t0.Add(-time.Hour), nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})), nil, ForServer, []string{"refused", "no DNS name", "refused", "lacks serverAuth", "refused", "expired on 2026-03-01", "refused", "1024 bits"}},
		{"a CA", certPEM(root), nil, ForEither, []string{"refused the first certificate", "is a CA certificate"}},
		{"a request", pemRequest(request(t, p256(t))), nil, ForEither, []string{"refused", "holds no certificate"}},

		{"a device's", certPEM(device), keyPEM(t, device.key), ForEither, []string{
			"judged as the certificate of a client", "names: URI urn:dev", "warning the chain ends with", "client_ca", "ok by tls.identity cn its client is the user \"dev\"", "ok the key in", "takes it",
		}},
		{"a server's as a device's", certPEM(good, between, root), nil, ForClient, []string{"refused", "lacks clientAuth"}},
		{"an expired device of two names", certPEM(makeCert(t, p256(t), root, asDevice("dev", 10, func(c *x509.Certificate) {
			c.NotAfter, c.ExtKeyUsage = t0.Add(-time.Minute), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			c.Subject.CommonName = ""
		})), root), nil, ForClient, []string{"refused", "expired on", "refused", "lacks clientAuth", "warning", "names its client 0 times"}},
		{"a device's that is old", certPEM(makeCert(t, p256(t), root, asDevice("dev", 10, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = t0.Add(-9*time.Hour), t0.Add(time.Hour)
		}))), nil, ForEither, []string{"warning it expires in 0 days"}},
		{"a device's with a small key", certPEM(makeCert(t, rsaKey(t, rsa1024), root, asDevice("dev", 10))), nil, ForEither, []string{"refused", "1024 bits"}},
	} {
		certFile, keyFile := files(t, row.text, row.key)
		if row.key == nil {
			keyFile = ""
		}
		l := Lint{File: certFile, KeyFile: keyFile, For: row.as, Soon: 30 * dayLong, Now: t0}
		var b strings.Builder
		for _, f := range l.Run() {
			b.WriteString(string(f.Verdict) + " " + f.Text + "\n")
		}
		text, rest := b.String(), b.String()
		for _, want := range row.found {
			_, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Errorf("%s: %q is not there, or not in this order:\n%s", row.what, want, text)
				break
			}
			rest = after
		}
		wants := strings.Contains(strings.Join(row.found, "\n"), "refused")
		if l.Refused() != wants || strings.Contains(text, "takes it\n") == wants {
			t.Errorf("%s: refused %v\n%s", row.what, l.Refused(), text)
		}
		// It is what the broker would say.
		if _, err := LoadPair(certFile, keyFile, t0); keyFile != "" && row.as != ForClient && !strings.Contains(text, "of a client") && (err != nil) != wants {
			t.Errorf("%s: the broker says %v\n%s", row.what, err, text)
		}
	}
}

// TestLintKnowsTheCAOfDevices, and what it has revoked.
func TestLintKnowsTheCAOfDevices(t *testing.T) {
	d, dir := newDevices(t)
	out, _ := issue(t, d, t0, "dev", 90*dayLong)
	file := put2(t, out.Certificate)
	lint := func(now time.Time) (string, bool) {
		l := Lint{File: file, DataDir: dir, Now: now}
		var b strings.Builder
		for _, f := range l.Run() {
			b.WriteString(string(f.Verdict) + " " + f.Text + "\n")
		}
		return b.String(), l.Refused()
	}
	if text, refused := lint(t0); refused || !strings.Contains(text, "its issuer is the CA of devices") || strings.Contains(text, "warning") {
		t.Error(text)
	}
	if text, refused := lint(t0.Add(8 * dayLong)); !refused || !strings.Contains(text, "should have been followed") {
		t.Error(text)
	}
	if text, refused := lint(t0.Add(91 * dayLong)); !refused || !strings.Contains(text, "expired on") || strings.Contains(text, "nobody can tell") {
		t.Error(text)
	}
	if _, _, err := d.Revoke(t0, "dev", false, "keyCompromise"); err != nil {
		t.Fatal(err)
	}
	if text, refused := lint(t0); !refused || !strings.Contains(text, "was revoked by its issuer") {
		t.Error(text)
	}
	if err := os.Remove(d.path(devicesListName)); err != nil {
		t.Fatal(err)
	}
	if text, refused := lint(t0); !refused || !strings.Contains(text, "revocation list") {
		t.Error(text)
	}
	own := Lint{File: CAFile(dir)[:len(CAFile(dir))-len(caCertName)] + leafCertName, DataDir: dir, Now: t0}
	if found := own.Run(); own.Refused() || found[5].Text[:len("the chain is whole: its issuer is the server CA")] != "the chain is whole: its issuer is the server CA" {
		t.Errorf("%+v", found)
	}
}
