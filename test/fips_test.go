package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestFIPSMode starts the program in FIPS 140-3 mode, as `make build-fips` builds it to: it
// says so, serves a client with a password and one with a certificate, and agrees on nothing
// outside of the module.
func TestFIPSMode(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	testkit.Need(t, "mosquitto_pub")
	mode := []string{"GODEBUG=fips140=on"}
	r := testkit.Exec(t, patience, "", "env", mode[0], testkit.Command(t), "version")
	if !strings.Contains(r.Stdout, "FIPS 140-3 mode, Go Cryptographic Module ") {
		t.Errorf("version does not say it:\n%s", r.Text())
	}
	if r := testkit.Exec(t, patience, "", testkit.Command(t), "version"); strings.Contains(r.Stdout, "FIPS") {
		t.Errorf("version says it of an ordinary start:\n%s", r.Text())
	}
	ca := newDeviceCA(t, "devices")
	ca.issue("dev-1")
	port, udp := testkit.FreePort(t), testkit.FreePort(t)
	b := start(t, testkit.Options{Environment: mode,
		Listeners: fmt.Sprintf("  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n    authn: certificates\n    tls: {client_cert: required, client_ca: [%s], crl: {files: [%s]}}\n", port, ca.path("ca.pem"), ca.path("crl.pem")) +
			fmt.Sprintf("  udp: {protocol: quic, bind: [\"127.0.0.1:%d\"]}\n", udp),
		Config: "authn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
	if !strings.Contains(b.Stdout.String(), "FIPS 140-3 mode") {
		t.Errorf("serve does not say it:\n%s", b.Stdout)
	}
	if r := testkit.Exec(t, patience, "", "mosquitto_pub", "-h", "localhost", "-p", fmt.Sprint(b.Port), "--cafile", b.CA(), "-u", user, "-P", password, "-q", "1", "-t", "devices/"+user+"/a", "-m", "x"); r.Code != 0 {
		t.Errorf("a password: %s", r.Text())
	}
	if r := testkit.Exec(t, patience, "", "mosquitto_pub", "-h", "localhost", "-p", fmt.Sprint(port), "--cafile", b.CA(), "--cert", ca.path("dev-1.pem"), "--key", ca.path("dev-1.key"), "-q", "1", "-t", "devices/dev-1/a", "-m", "x"); r.Code != 0 {
		t.Errorf("a certificate: %s", r.Text())
	}
	for flags, want := range map[string]bool{
		"-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256": true, "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305": false,
		"-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384": true, "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256": false,
		"-groups P-256": true, "-groups P-384": true, "-groups X25519": false,
	} {
		r := testkit.Exec(t, patience, "", append([]string{"openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", b.Port), "-CAfile", b.CA()}, strings.Fields(flags)...)...)
		if agreed := r.Code == 0 && !strings.Contains(r.Stdout, "Cipher is (NONE)"); agreed != want {
			t.Errorf("%s: agreed %v, want %v\n%s", flags, agreed, want, r.Text())
		}
	}
	// QUIC: quic-go ends the process if TLS agrees on ChaCha20-Poly1305 in this mode, which it
	// never does, also with a client that would rather have it.
	secret := testkit.TempDir(t) + "/pw"
	testkit.WriteFile(t, secret, password)
	for _, env := range []string{"GODEBUG=fips140=on", "GODEBUG=fips140=off", "GODEBUG=cpu.aes=off,cpu.pclmulqdq=off,cpu.gcm=off"} {
		r := testkit.Exec(t, patience, "", "env", env, testkit.Command(t), "pub", "--protocol", "quic", "-h", "localhost", "-p", fmt.Sprint(udp), "--cafile", b.CA(),
			"-u", user, "--password-file", secret, "-q", "1", "-t", "devices/"+user+"/a", "-m", "x")
		if r.Code != 0 {
			t.Errorf("QUIC from a client with %s: %s", env, r.Text())
		}
	}
	r = testkit.Exec(t, patience, "", "curl", "-s", fmt.Sprintf("http://127.0.0.1:%d/metrics", b.Metrics))
	if !strings.Contains(r.Stdout, `redoubt_tls_suites_total{suite="TLS_CHACHA20_POLY1305_SHA256"} 0`) {
		t.Errorf("a suite outside of the module was agreed on, or nothing is told:\n%s", r.Text())
	}
}
