//go:build scan

package test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// finding is a line of testssl's report.
type finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	Text     string `json:"finding"`
}

// asIntended are findings that are not ours to mend, by id, and why.
var asIntended = map[string]string{
	"cert_chain_of_trust":              "the certificate of the test is of no public CA",
	"cert_trust":                       "likewise",
	"cert_revocation":                  "the built-in CA has neither list nor responder: its leaf lives 90 days",
	"cert_crlDistributionPoints":       "likewise",
	"cert_ocspURL":                     "likewise",
	"DNS_CAArecord":                    "localhost has none",
	"cert_validityPeriod":              "the certificate of the test lives 30 days",
	"cert_expirationStatus":            "likewise",
	"cert_notAfter":                    "likewise",
	"TLS_session_ticket":               "keys of tickets are made anew each day, and the oldest is a week old; a resumed session agrees on new keys and is judged as a new one",
	"engine_problem":                   "OpenSSL without GOST, which is not offered",
	"secure_client_renego":             "it cannot be tried without a certificate: TestTLSAttackRows does, with one",
	"BREACH":                           "likewise; there is no page to compress",
	"cert_certificatePolicies_EV":      "nobody asked for one",
	"certificate_transparency":         "the certificate of the test is of no public CA",
	"cert_chain_of_trust <hostCert#1>": "likewise",
}

// TestScanByTestssl is what testssl.sh says of every kind of port: nothing from LOW on that is
// not in the table.
func TestScanByTestssl(t *testing.T) {
	testkit.Need(t, "testssl")
	b, ports := scanned(t)
	for name, port := range ports {
		t.Run(name, func(t *testing.T) {
			report := filepath.Join(testkit.TempDir(t), "report.json")
			r := testkit.Exec(t, 20*time.Minute, "", "testssl", "--quiet", "--color", "0", "--warnings", "batch", "--openssl", "/usr/bin/openssl", "--add-ca", b.CA(),
				"--protocols", "--std", "--server-preference", "--server-defaults", "--fs", "--vulnerable", "--jsonfile", report, fmt.Sprintf("localhost:%d", port))
			var found []finding
			if err := json.Unmarshal([]byte(readFile(t, report)), &found); err != nil {
				t.Fatalf("%v\n%s", err, r.Text())
			}
			offered := make(map[string]string)
			for _, f := range found {
				offered[f.ID] = f.Text
				if slices.Contains([]string{"OK", "INFO", "DEBUG"}, f.Severity) {
					continue
				}
				id, _, _ := strings.Cut(f.ID, " ")
				if why := asIntended[id]; why != "" {
					t.Logf("as intended: %s %s: %s (%s)", f.Severity, f.ID, f.Text, why)
					continue
				}
				t.Errorf("%s %s: %s", f.Severity, f.ID, f.Text)
			}
			if offered["TLS1_3"] == "" || !strings.HasPrefix(offered["TLS1_3"], "offered") || len(found) < 40 {
				t.Errorf("nothing was scanned: %d findings, TLS 1.3 %q\n%s", len(found), offered["TLS1_3"], r.Text())
			}
		})
	}
}
