package test

import (
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// suites12 and suites13 are what the profile intermediate has, as OpenSSL names it.
var (
	suites13 = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
	suites12 = []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
		"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
	}
)

// scanned is a broker with every kind of port that speaks TLS, by name. rsa has keys of two
// kinds. Scanners do one handshake hundreds of times; the race detector has them elsewhere.
func scanned(t *testing.T) (b *testkit.Broker, ports map[string]int) {
	t.Helper()
	ca := newDeviceCA(t, "devices")
	ports = map[string]int{"modern": testkit.FreePort(t), "rsa": testkit.FreePort(t), "asks": testkit.FreePort(t), "webasks": testkit.FreePort(t), "enroll": testkit.FreePort(t)}
	dir := testkit.TempDir(t)
	for _, kind := range []string{"rsa:2048", "ec"} {
		name := filepath.Join(dir, kind[:2])
		argv := []string{"openssl", "req", "-x509", "-nodes", "-newkey", kind, "-keyout", name + ".key", "-out", name + ".pem", "-days", "30", "-subj", "/CN=two keys",
			"-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:false", "-addext", "keyUsage=digitalSignature"}
		if kind == "ec" {
			argv = append(argv, "-pkeyopt", "ec_paramgen_curve:P-256")
		}
		if r := testkit.Exec(t, patience, "", argv...); r.Code != 0 {
			t.Fatal(r.Text())
		}
		if err := os.Chmod(name+".key", 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(name string) string {
		return fmt.Sprintf("{cert: %s, key: \"file:%s\"}", filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
	}
	entry := func(name, protocol, tls string) string {
		return fmt.Sprintf("  %s:\n    protocol: %s\n    bind: [\"127.0.0.1:%d\"]\n    tls: {%s}\n", name, protocol, ports[name], tls)
	}
	asks := fmt.Sprintf("client_cert: required, client_ca: [%s]", ca.path("ca.pem"))
	data := filepath.Join(testkit.TempDir(t), "data")
	for _, words := range [][]string{{"init"}, {"cert", "ca", "init"}} { // whom the port for enrolment issues from
		if r := testkit.Exec(t, patience, "", slices.Concat([]string{testkit.Command(t)}, words, []string{"--data-dir", data})...); r.Code != 0 {
			t.Fatal(r.Text())
		}
	}
	b = testkit.Start(t, testkit.Options{Repeats: true, WebSocket: true, DataDir: data, Config: fmt.Sprintf("enroll: {bind: [\"127.0.0.1:%d\"]}\n", ports["enroll"]),
		Listeners: entry("modern", "mqtts", "profile: modern") + entry("rsa", "mqtts", "certificates: ["+pair("ec")+", "+pair("rs")+"]") + entry("asks", "mqtts", asks) + entry("webasks", "wss", asks),
	})
	ports["mqtts"], ports["wss"] = b.Port, b.WebSocket
	return b, ports
}

// sslscan is what the program of that name prints.
type sslscan struct {
	Error     string `xml:"error"`
	Protocols []struct {
		Type    string `xml:"type,attr"`
		Version string `xml:"version,attr"`
		Enabled int    `xml:"enabled,attr"`
	} `xml:"ssltest>protocol"`
	Renegotiation struct {
		Supported int `xml:"supported,attr"`
	} `xml:"ssltest>renegotiation"`
	Compression struct {
		Supported int `xml:"supported,attr"`
	} `xml:"ssltest>compression"`
	Heartbleed []struct {
		Vulnerable int `xml:"vulnerable,attr"`
	} `xml:"ssltest>heartbleed"`
	Ciphers []struct {
		Version string `xml:"sslversion,attr"`
		Name    string `xml:"cipher,attr"`
	} `xml:"ssltest>cipher"`
	Groups []struct {
		Name string `xml:"name,attr"`
	} `xml:"ssltest>group"`
	Certificates []struct {
		Signature string `xml:"signature-algorithm"`
		Expired   string `xml:"expired"`
	} `xml:"ssltest>certificates>certificate"`
}

// TestNothingBelowTheProfileBySslscan (P3.1, P3.2, A141) is what somebody else's scanner says
// of every port that the process listens on, as the kernel lists them: those that are not
// TLS must not be anything like it.
func TestNothingBelowTheProfileBySslscan(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "sslscan")
	b, ports := scanned(t)
	named := make(map[int]string)
	for name, port := range ports {
		named[port] = name
	}
	for _, port := range listensOn(t, b.Pid()) {
		name := named[port]
		delete(named, port)
		r := testkit.Exec(t, 2*patience, "", "sslscan", "--no-colour", "--xml=-", "--sni-name=localhost", fmt.Sprintf("127.0.0.1:%d", port))
		var found sslscan
		if err := xml.Unmarshal([]byte(r.Stdout), &found); err != nil {
			t.Fatalf("port %d %s: %v\n%s", port, name, err, r.Text())
		}
		var enabled []string
		for _, p := range found.Protocols {
			if p.Enabled != 0 {
				enabled = append(enabled, p.Type+p.Version)
			}
		}
		if name == "" {
			if port != b.Metrics {
				t.Errorf("nobody knows what port %d is", port)
			}
			if len(enabled)+len(found.Ciphers) > 0 {
				t.Errorf("port %d, which is no listener's, speaks TLS: %v", port, enabled)
			}
			continue
		}
		want, allowed := "tls1.2 tls1.3", append(slices.Clone(suites12), suites13...)
		if name == "modern" {
			want, allowed = "tls1.3", suites13
		}
		if got := strings.Join(enabled, " "); got != want {
			t.Errorf("%s speaks %s, and should %s", name, got, want)
		}
		// The first half of suites12 is for ECDSA keys. sslscan shows no certificate, which in TLS 1.2 a listener that requires one does not get past.
		seen := make(map[string]bool)
		for _, c := range found.Ciphers {
			seen[c.Name] = true
			if !slices.Contains(allowed, c.Name) {
				t.Errorf("%s accepts %s %s", name, c.Version, c.Name)
			}
		}
		if !seen["TLS_AES_128_GCM_SHA256"] || name == "rsa" && !seen["ECDHE-RSA-AES128-GCM-SHA256"] || name == "rsa" && !seen["ECDHE-ECDSA-AES128-GCM-SHA256"] {
			t.Errorf("%s: what it should accept was not found, so that nothing was proved: %v", name, seen)
		}
		for _, g := range found.Groups {
			if !slices.Contains([]string{"secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)", "x25519"}, g.Name) {
				t.Errorf("%s agrees on keys by %s", name, g.Name)
			}
		}
		if found.Renegotiation.Supported != 0 || found.Compression.Supported != 0 || slices.ContainsFunc(found.Heartbleed, func(h struct {
			Vulnerable int `xml:"vulnerable,attr"`
		}) bool {
			return h.Vulnerable != 0
		}) {
			t.Errorf("%s: renegotiation, compression or heartbleed: %+v", name, found)
		}
		for _, c := range found.Certificates {
			if c.Expired == "true" || strings.Contains(strings.ToLower(c.Signature), "sha1") {
				t.Errorf("%s shows a certificate of %s, expired: %s", name, c.Signature, c.Expired)
			}
		}
	}
	for port, name := range named {
		t.Errorf("the kernel does not list port %d of %s", port, name)
	}
}

// listensOn are the TCP ports a process listens on, as the kernel says.
func listensOn(t *testing.T, pid int) (ports []int) {
	t.Helper()
	own := make(map[string]bool)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil {
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/net/%s", pid, table))) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !own[f[9]] { // LISTEN
				continue
			}
			var port int
			if _, err := fmt.Sscanf(f[1][strings.LastIndexByte(f[1], ':')+1:], "%X", &port); err != nil {
				t.Fatal(err)
			}
			ports = append(ports, port)
		}
	}
	if len(ports) == 0 {
		t.Fatal("the broker listens on nothing")
	}
	return ports
}

// hello is a handshake by openssl s_client, and whether it must succeed.
type hello struct {
	what  string
	flags []string
	in    []string // at these ports it must, at all others not; nil: at none
}

// TestNothingBelowTheProfileByOpenSSL (P3.1, P3.2, A141, A142) offers one thing at a time at
// every port, what is good beside what is not.
func TestNothingBelowTheProfileByOpenSSL(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	b, ports := scanned(t)
	all := []string{"mqtts", "wss", "modern", "rsa", "asks", "webasks", "enroll"}
	ecdsa12, rsa12 := []string{"mqtts", "wss", "rsa", "asks", "webasks", "enroll"}, []string{"rsa"}
	everything := []string{"-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"}
	rows := []hello{
		{"TLS 1.0", append([]string{"-tls1"}, everything...), nil},
		{"TLS 1.1", append([]string{"-tls1_1"}, everything...), nil},
		{"TLS 1.2", append([]string{"-tls1_2"}, everything...), ecdsa12},
		{"TLS 1.3", []string{"-tls1_3"}, all},
		{"group P-521", []string{"-groups", "P-521"}, nil},
		{"group X448", []string{"-groups", "X448"}, nil},
		{"group ffdhe2048", []string{"-groups", "ffdhe2048"}, nil},
		{"group X25519", []string{"-groups", "X25519"}, all},
		{"group P-256", []string{"-groups", "P-256"}, all},
		{"group P-384", []string{"-groups", "P-384"}, all},
		{"signatures with SHA-1", []string{"-tls1_2", "-cipher", "DEFAULT:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1:RSA+SHA1"}, nil},
		{"signatures with RSA only", []string{"-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"}, rsa12},
		{"signatures with ECDSA only", []string{"-tls1_3", "-sigalgs", "ECDSA+SHA256"}, all},
		{"another service's ALPN", []string{"-alpn", "h2,ftp"}, nil},
		{"MQTT's ALPN", []string{"-alpn", "mqtt"}, []string{"mqtts", "modern", "rsa", "asks"}},
		{"HTTP's ALPN", []string{"-alpn", "http/1.1"}, []string{"wss", "webasks", "enroll"}},
		{"a name nobody has", []string{"-servername", "nobody.example"}, all},
		{"no name", []string{"-noservername"}, all},
	}
	for _, s := range suites13 {
		rows = append(rows, hello{s, []string{"-tls1_3", "-ciphersuites", s}, all})
	}
	r := testkit.Exec(t, patience, "", "openssl", "ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0")
	var others []string // who would accept one of them, would accept all at once
	for _, s := range strings.Split(strings.TrimSpace(r.Stdout), ":") {
		if strings.HasPrefix(s, "TLS_") {
			continue
		}
		switch at := slices.Index(suites12, s); {
		case at >= 3:
			rows = append(rows, hello{s, []string{"-tls1_2", "-cipher", s}, rsa12})
		case at >= 0:
			rows = append(rows, hello{s, []string{"-tls1_2", "-cipher", s}, ecdsa12})
		default:
			others = append(others, s)
		}
	}
	for _, kind := range []string{"AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ADH-AES128-GCM-SHA256", "ECDHE-ECDSA-NULL-SHA", "PSK-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-CCM8"} {
		if !slices.Contains(others, kind) {
			t.Errorf("this openssl cannot offer %s", kind)
		}
	}
	rows = append(rows, hello{"every other suite", []string{"-tls1_2", "-cipher", strings.Join(others, ":") + ":@SECLEVEL=0"}, nil})
	for name, port := range ports {
		for _, row := range rows {
			argv := append([]string{"openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port), "-CAfile", b.CA()}, row.flags...)
			r := testkit.Exec(t, patience, "", argv...)
			// Who requires a certificate breaks off in TLS 1.2 when the suite is agreed: that is what counts here.
			agreed := strings.Contains(r.Stdout, "Cipher is ") && !strings.Contains(r.Stdout, "Cipher is (NONE)")
			if want := slices.Contains(row.in, name); agreed != want {
				t.Errorf("%s, %s: agreed %v, want %v\n%s", name, row.what, agreed, want, r.Text())
			}
			if strings.Contains(r.Stdout, "Compression: ") && !strings.Contains(r.Stdout, "Compression: NONE") {
				t.Errorf("%s, %s: compression", name, row.what)
			}
		}
	}
	if c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", b.Port)); err != nil {
		t.Errorf("afterwards: %v", err)
	} else {
		_ = c.Close()
	}
}
