package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Pebble is an ACME server of its own, with a DNS that has every name on loopback.
type Pebble struct {
	Directory string         // its address
	CA        string         // file with the root of the connection to it
	Roots     *x509.CertPool // the same
	Challenge string         // address:port where it looks for answers to http-01
	Issuer    string         // file with the root of what it issues
	*Process
}

// StartPebble starts one, until the end of the test.
func StartPebble(t testing.TB) *Pebble {
	t.Helper()
	Need(t, "pebble")
	Need(t, "pebble-challtestsrv")
	dir, port := TempDir(t), make([]int, 5)
	for i := range port {
		port[i] = FreePort(t)
	}
	p := &Pebble{
		Directory: fmt.Sprintf("https://127.0.0.1:%d/dir", port[0]), CA: filepath.Join(dir, "cert.pem"), Roots: x509.NewCertPool(),
		Challenge: fmt.Sprintf("127.0.0.1:%d", port[1]), Issuer: filepath.Join(dir, "issuer.pem"),
	}
	p.identity(t, filepath.Join(dir, "key.pem"))
	dns := fmt.Sprintf("127.0.0.1:%d", port[2])
	WriteFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"pebble": {"listenAddress": "127.0.0.1:%d", "managementListenAddress": "127.0.0.1:%d", "certificate": %q, "privateKey": %q, "httpPort": %d, "tlsPort": 1}}`,
		port[0], port[3], p.CA, filepath.Join(dir, "key.pem"), port[1]))
	names := Go(t, "", "pebble-challtestsrv", "-dns01", dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", fmt.Sprintf("127.0.0.1:%d", port[4]), "-defaultIPv6", "")
	server := Go(t, "", "env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "pebble", "-config", filepath.Join(dir, "config.json"), "-dnsserver", dns)
	p.Process = server
	if _, ok := server.Stdout.WaitFor(startWithin, 0, "ACME directory available"); !ok {
		t.Fatalf("pebble: %s%s\n%s%s", server.Stdout, server.Stderr, names.Stdout, names.Stderr)
	}
	// It says so just before it listens.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.Roots}, DisableKeepAlives: true}}
	var resp *http.Response
	var err error
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(startWithin); ; <-again.C {
		if resp, err = client.Get(fmt.Sprintf("https://127.0.0.1:%d/roots/0", port[3])); err == nil {
			break
		}
		if time.Now().After(end) || server.Ended() {
			t.Fatalf("pebble: %v\n%s%s", err, server.Stdout, server.Stderr)
		}
	}
	defer resp.Body.Close()
	root, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, p.Issuer, string(root))
	return p
}

// identity makes the certificate of the server itself.
func (p *Pebble) identity(t testing.TB, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, p.CA, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	WriteFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	p.Roots.AddCert(x)
}
