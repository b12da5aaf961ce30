package enroll

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// TestFromATokenToTheRenewal (P3.4, P3.5): one certificate for one token, the next one for
// the one before, and none once that is revoked.
func TestFromATokenToTheRenewal(t *testing.T) {
	r := newRig(t, doorLimits())
	token, key := r.token("dev-1"), newKey(t)
	status, b := r.enroll("dev-1", token, csr(t, key, "dev-1", nil))
	if status != http.StatusOK {
		t.Fatalf("%d %s\n%s", status, b, r.log)
	}
	first := got(t, b)
	if !key.PublicKey.Equal(first.PublicKey) || first.Subject.String() != "CN=dev-1" || first.CheckSignatureFrom(r.devices.CA()) != nil {
		t.Errorf("%s", first.Subject)
	}
	if life := first.NotAfter.Sub(time.Now()); life > 720*time.Hour || life < 719*time.Hour {
		t.Errorf("valid for %s", life)
	}
	if status, _ := r.enroll("dev-1", token, csr(t, key, "dev-1", nil)); status != http.StatusUnauthorized {
		t.Errorf("again: %d", status)
	}
	r.says("was used on")
	r.says("a device was given a certificate")
	if strings.Contains(r.log.String(), token) {
		t.Error("the token is in the log")
	}

	renew := func(shows []tls.Certificate, csr []byte) (int, []byte) {
		t.Helper()
		status, _, b := r.ask(shows, "POST", pathRenew, bytes.NewReader(csr), nil)
		return status, b
	}
	nextKey := newKey(t)
	status, b = renew(pair(first, key), csr(t, nextKey, "", nil))
	if status != http.StatusOK {
		t.Fatalf("renewal: %d %s\n%s", status, b, r.log)
	}
	second := got(t, b)
	if !nextKey.PublicKey.Equal(second.PublicKey) || second.Subject.CommonName != "dev-1" || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("%s", second.Subject)
	}
	if status, _ = renew(pair(second, nextKey), csr(t, nextKey, "dev-2", nil)); status != http.StatusBadRequest {
		t.Errorf("for another name: %d", status)
	}
	denied, err := revoke.ParseDenied([]string{revoke.FingerprintID(second)})
	if err != nil {
		t.Fatal(err)
	}
	r.server.Deny(denied)
	if status, _ = renew(pair(second, nextKey), csr(t, nextKey, "dev-1", nil)); status != http.StatusForbidden {
		t.Errorf("denied: %d", status)
	}
	r.server.Deny(nil)
	if _, _, err := r.devices.Revoke(time.Now(), "dev-1", true, "keyCompromise"); err != nil {
		t.Fatal(err)
	}
	if status, b = renew(pair(second, nextKey), csr(t, nextKey, "dev-1", nil)); status != http.StatusForbidden || string(b) != "forbidden\n" {
		t.Errorf("revoked: %d %q", status, b)
	}
	r.says("was revoked on")
	for what, shows := range map[string][]tls.Certificate{"none": nil, "a claim certificate": issued(t, r.claims, "dev-1")} {
		if status, _ = renew(shows, csr(t, nextKey, "dev-1", nil)); status != http.StatusForbidden {
			t.Errorf("%s: %d", what, status)
		}
	}
	r.want(metrics.EnrolledToken, 1)
	r.want(metrics.EnrolledRenewal, 1)
	r.want(metrics.EnrolRefusedToken, 1)
	r.want(metrics.EnrolRefusedRequest, 1)
	r.want(metrics.EnrolRefusedCertificate, 4)
}

// TestWhatClaimCertificatesGet: the first certificate of names that were agreed.
func TestWhatClaimCertificatesGet(t *testing.T) {
	r := newRig(t, doorLimits())
	claim := issued(t, r.claims, "batch")
	enroll := func(shows []tls.Certificate, name string) int {
		t.Helper()
		status, _, _ := r.ask(shows, "POST", pathEnroll, bytes.NewReader(csr(t, newKey(t), name, nil)), nil)
		return status
	}
	if status := enroll(claim, "line7-0001"); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, r.log)
	}
	for name, shows := range map[string][]tls.Certificate{
		"line7-0001": claim, "line7-00011": claim, "xline7-0002": claim, "admin": claim, "": claim, "line7-0002\n": claim,
		"line7-0003": issued(t, r.devices, "dev-1"),
	} {
		if status := enroll(shows, name); status == http.StatusOK {
			t.Errorf("%q was enrolled", name)
		}
	}
	if status := enroll(nil, "line7-0004"); status != http.StatusUnauthorized {
		t.Errorf("without a claim certificate: %d", status)
	}
	r.server.Apply(Policy{Life: time.Hour})
	r.server.throttle = throttle{}
	if status := enroll(claim, "line7-0005"); status != http.StatusForbidden {
		t.Errorf("after claims were taken out: %d", status)
	}
	r.want(metrics.EnrolledClaim, 1)
}

// TestRequestsThatSayMore: what a device is called is not for the device to say, and nothing
// it asks for beside its key is given.
func TestRequestsThatSayMore(t *testing.T) {
	r := newRig(t, doorLimits())
	ca, err := asn1.Marshal(struct{ CA bool }{true})
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	status, b := r.enroll("dev-1", r.token("dev-1"), csr(t, key, "dev-1", func(q *x509.CertificateRequest) {
		q.Subject.Organization = []string{"everything"}
		q.DNSNames, q.EmailAddresses = []string{"broker.example", "admin"}, []string{"root@example.com"}
		q.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: ca}}
	}))
	if status != http.StatusOK {
		t.Fatalf("%d\n%s", status, r.log)
	}
	x := got(t, b)
	if x.IsCA || x.Subject.String() != "CN=dev-1" || len(x.DNSNames) != 1 || x.DNSNames[0] != "dev-1" || len(x.EmailAddresses) > 0 || x.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Errorf("%s, CA %t, %v %v", x.Subject, x.IsCA, x.DNSNames, x.EmailAddresses)
	}

	// Refused, and the token stays good.
	token := r.token("dev-2")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := csr(t, key, "dev-2", nil)
	der, _ := base64.StdEncoding.DecodeString(string(good))
	forged := bytes.Clone(der)
	forged[len(forged)-1] ^= 1
	for what, body := range map[string][]byte{
		"another name": csr(t, key, "dev-1", nil), "nothing": nil, "text": []byte("hello"), "a small key": csr(t, small, "", nil), "not its key": forged,
	} {
		if status, b := r.enroll("dev-2", token, body); status != http.StatusBadRequest || string(b) != "bad request\n" {
			t.Errorf("%s: %d %q", what, status, b)
		}
	}
	if status, _ := r.enroll("dev-2", token, good); status != http.StatusOK {
		t.Errorf("the token is gone: %d\n%s", status, r.log)
	}
	for what, body := range map[string][]byte{
		"PEM":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		"DER":   der,
		"lines": []byte(strings.ReplaceAll(string(good), "A", "A\r\n")),
	} {
		if status, _ := r.enroll("dev-2", r.token("dev-2"), body); status != http.StatusOK {
			t.Errorf("%s: %d\n%s", what, status, r.log)
		}
	}
}

// TestBodiesAreBounded: also one that does not say how long it is.
func TestBodiesAreBounded(t *testing.T) {
	r := newRig(t, doorLimits())
	token := r.token("dev-1")
	long := strings.Repeat("A", bodyBytesMax+1)
	for what, body := range map[string]io.Reader{"announced": strings.NewReader(long), "in pieces": io.MultiReader(strings.NewReader(long))} {
		status, _, _ := r.ask(nil, "POST", pathEnroll, body, func(q *http.Request) { q.SetBasicAuth("dev-1", token) })
		if status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", what, status)
		}
	}
	if status, _ := r.enroll("dev-1", token, csr(t, newKey(t), "", nil)); status != http.StatusOK {
		t.Errorf("the token is gone: %d", status)
	}
}

// TestNothingElseIsServed: and what is not there is not talked about.
func TestNothingElseIsServed(t *testing.T) {
	r := newRig(t, doorLimits())
	for _, row := range [][2]string{
		{"GET", "/"}, {"GET", "/metrics"}, {"GET", "/api/v5/status"}, {"GET", pathEnroll}, {"POST", pathCAs}, {"PUT", pathEnroll}, {"GET", pathCAs + "/"},
		{"POST", "/.well-known/est//simpleenroll"}, {"POST", "/.well-known/est/%73impleenroll"}, {"GET", "/.well-known/est/csrattrs"}, {"POST", "/.well-known/est/serverkeygen"}, {"HEAD", pathCAs},
	} {
		status, h, b := r.ask(nil, row[0], row[1], nil, nil)
		if status != http.StatusNotFound || len(b) > 0 || h.Get("Server") != "" || h.Get("Location") != "" {
			t.Errorf("%s %s: %d %q %v", row[0], row[1], status, b, h)
		}
	}
	status, h, b := r.ask(nil, "GET", pathCAs, nil, nil)
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pki.ParseContainer(der)
	if status != http.StatusOK || err != nil || len(certs) != 2 || !certs[0].Equal(r.devices.CA()) || h.Get("Content-Type") != "application/pkcs7-mime; smime-type=certs-only" {
		t.Errorf("cacerts: %d %v %d %v", status, err, len(certs), h)
	}
}

// TestTheTLSOfThePort: HTTP/1.1 only, never MQTT, nothing resumed.
func TestTheTLSOfThePort(t *testing.T) {
	r := newRig(t, doorLimits())
	for _, row := range []struct {
		offers []string
		chosen string
		ok     bool
	}{{nil, "", true}, {[]string{"http/1.1"}, "http/1.1", true}, {[]string{"h2", "http/1.1"}, "http/1.1", true}, {[]string{"mqtt"}, "", false}, {[]string{"h2"}, "", false}} {
		conf := r.tls()
		conf.NextProtos = row.offers
		c, err := tls.Dial("tcp", r.addr, conf)
		if (err == nil) != row.ok {
			t.Errorf("%q: %v", row.offers, err)
		}
		if err == nil {
			if got := c.ConnectionState().NegotiatedProtocol; got != row.chosen {
				t.Errorf("%q: %q", row.offers, got)
			}
			_ = c.Close()
		}
	}
	conf := r.tls()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		c, err := tls.Dial("tcp", r.addr, conf)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		_, _ = io.ReadAll(c)
		if c.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		_ = c.Close()
	}
	old := r.tls()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	if _, err := tls.Dial("tcp", r.addr, old); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// TestSlowOnesAreClosed (A077): who says nothing, who stops in the handshake, who sends a
// header byte by byte, and who never ends a body; by one deadline from the beginning.
func TestSlowOnesAreClosed(t *testing.T) {
	limits := doorLimits()
	limits.ConnectDeadline = 2 * time.Second
	r := newRig(t, limits)
	token := r.token("dev-1")
	auth := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("dev-1:"+token)) + "\r\n"
	var wait sync.WaitGroup
	for what, text := range map[string]string{
		"silent": "", "in a header": "GET / HTTP/1.1\r\nHost: x\r\nX: ", "in a body": "POST " + pathEnroll + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n" + auth + "\r\n",
		"before the handshake": "-",
	} {
		wait.Go(func() {
			raw, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer raw.Close()
			c := raw
			if text != "-" {
				secure := tls.Client(raw, r.tls())
				if err := secure.Handshake(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				c = secure
			}
			_, _ = io.WriteString(c, text)
			_ = raw.SetReadDeadline(time.Now().Add(15 * time.Second))
			ended := make(chan struct{})
			go func() { // a byte now and then
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-ended:
						return
					case <-tick.C:
						if text != "" && text != "-" {
							_, _ = io.WriteString(c, "a")
						}
					}
				}
			}()
			begun := time.Now()
			_, err = io.Copy(io.Discard, raw)
			close(ended)
			if took := time.Now().Sub(begun); took > 6*time.Second {
				t.Errorf("%s: closed after %s (%v)", what, took, err)
			}
		})
	}
	wait.Wait()
}

// TestTheDoorIsAsked: its limits are those of the listeners, and its places come back.
func TestTheDoorIsAsked(t *testing.T) {
	limits := doorLimits()
	limits.PerPrefix = map[string]int{"/32": 2}
	r := newRig(t, limits)
	var open []net.Conn
	for range 2 {
		c, err := tls.Dial("tcp", r.addr, r.tls())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if c, err := tls.Dial("tcp", r.addr, r.tls()); err == nil {
		t.Error("a third one of an address is let in")
		_ = c.Close()
	}
	r.want(metrics.ConnectionsRefusedPrefixLimit, 1)
	for _, c := range open {
		_ = c.Close()
	}
	for end := time.Now().Add(5 * time.Second); ; { // until the broker has noticed
		c, err := tls.Dial("tcp", r.addr, r.tls())
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the places do not come back: %v", err)
		}
	}
}

// TestAFullPortServesTheNext: it is the one that waits longest who makes room, and the door
// has all places back.
func TestAFullPortServesTheNext(t *testing.T) {
	r := newRig(t, doorLimits())
	var open []net.Conn
	for range GuestsMax {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if status, _, _ := r.ask(nil, "GET", pathCAs, nil, nil); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	_ = open[0].SetReadDeadline(time.Now().Add(2 * time.Second)) // a silent one is closed after 5
	if _, err := open[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the first is still there: %v", err)
	}
	for _, c := range open {
		_ = c.Close()
	}
}

// TestFailuresAreThrottled: of one network, and nothing of it is looked at then; who has a
// certificate is served all the same.
func TestFailuresAreThrottled(t *testing.T) {
	r := newRig(t, doorLimits())
	token := r.token("dev-1")
	for i := range failedPrefix {
		if status, b := r.enroll("dev-1", "wrong", csr(t, newKey(t), "", nil)); status != http.StatusUnauthorized || string(b) != "unauthorized\n" {
			t.Fatalf("attempt %d: %d %q", i, status, b)
		}
	}
	if status, _ := r.enroll("dev-1", token, csr(t, newKey(t), "", nil)); status != http.StatusTooManyRequests {
		t.Errorf("after %d failures: %d", failedPrefix, status)
	}
	shows := issued(t, r.devices, "dev-2")
	if status, _, _ := r.ask(shows, "POST", pathRenew, bytes.NewReader(csr(t, newKey(t), "", nil)), nil); status != http.StatusOK {
		t.Errorf("a renewal beside it: %d\n%s", status, r.log)
	}
	if status, _, _ := r.ask(nil, "POST", pathRenew, bytes.NewReader(nil), nil); status != http.StatusTooManyRequests {
		t.Errorf("a renewal without a certificate: %d", status)
	}
	r.want(metrics.EnrolRefusedThrottled, 2)
	if n := strings.Count(r.log.String(), "an enrolment was refused"); n != 1 {
		t.Errorf("%d lines for what one network does", n)
	}
}

// TestWhoIsDeniedMeanwhile: a request that was under way when its certificate was denied gets
// nothing.
func TestWhoIsDeniedMeanwhile(t *testing.T) {
	r := newRig(t, doorLimits())
	for what, ask := range map[string]struct {
		path  string
		shows []tls.Certificate
	}{"a renewal": {pathRenew, issued(t, r.devices, "dev-1")}, "a claim": {pathEnroll, issued(t, r.claims, "batch")}} {
		c, err := tls.Dial("tcp", r.addr, r.tls(ask.shows...))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		name, in := "dev-1", bufio.NewReader(c)
		if ask.path == pathEnroll {
			name = "line7-0001"
		}
		body := csr(t, newKey(t), name, nil)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", ask.path, len(body))
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%s: %q, %v", what, line, err)
		}
		_, _ = in.ReadString('\n')
		denied, err := revoke.ParseDenied([]string{revoke.FingerprintID(ask.shows[0].Leaf)})
		if err != nil {
			t.Fatal(err)
		}
		r.server.Deny(denied)
		_, _ = c.Write(body)
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "403") {
			t.Errorf("%s: %q, %v", what, line, err)
		}
		r.server.Deny(nil)
	}
}

// TestRefusedRenewalsAreThrottled: a certificate that renews nothing makes no work, and no
// other one of its network waits for that.
func TestRefusedRenewalsAreThrottled(t *testing.T) {
	r := newRig(t, doorLimits())
	shows := issued(t, r.devices, "dev-1")
	if _, _, err := r.devices.Revoke(time.Now(), "dev-1", true, "keyCompromise"); err != nil {
		t.Fatal(err)
	}
	renew := func(shows []tls.Certificate) int {
		t.Helper()
		status, _, _ := r.ask(shows, "POST", pathRenew, bytes.NewReader(csr(t, newKey(t), "", nil)), nil)
		return status
	}
	for range againMost {
		if status := renew(shows); status != http.StatusForbidden {
			t.Errorf("%d", status)
		}
	}
	if status := renew(shows); status != http.StatusTooManyRequests {
		t.Errorf("after %d that were refused: %d", againMost, status)
	}
	if status := renew(issued(t, r.devices, "dev-2")); status != http.StatusOK {
		t.Errorf("another one: %d", status)
	}
}

// TestRefusedRenewalsAreForgotten: after a minute, and when there are too many to remember.
func TestRefusedRenewalsAreForgotten(t *testing.T) {
	var a again
	now := time.Now()
	one := &x509.Certificate{RawTBSCertificate: []byte("one")}
	for range againMost {
		a.failed(now, one)
	}
	if !a.refuses(now.Add(window-1), one) || a.refuses(now.Add(window), one) || a.refuses(now, &x509.Certificate{}) {
		t.Error("not for a minute, or not that one alone")
	}
	for i := range 3 * againWritten {
		if a.failed(now, &x509.Certificate{RawTBSCertificate: fmt.Append(nil, i)}); len(a.at) > againWritten {
			t.Fatalf("%d are remembered", len(a.at))
		}
	}
}

// TestTwoRequestsWithOneToken: exactly one is answered with a certificate.
func TestTwoRequestsWithOneToken(t *testing.T) {
	r := newRig(t, doorLimits())
	token := r.token("dev-1")
	var wait sync.WaitGroup
	statuses := make(chan int, 6)
	for range cap(statuses) {
		body := csr(t, newKey(t), "", nil)
		wait.Go(func() {
			status, _ := r.enroll("dev-1", token, body)
			statuses <- status
		})
	}
	wait.Wait()
	close(statuses)
	won := 0
	for status := range statuses {
		switch status {
		case http.StatusOK:
			won++
		case http.StatusUnauthorized:
		case http.StatusServiceUnavailable: // others were before it for too long, on a machine that is busy
		default:
			t.Errorf("status %d", status)
		}
	}
	r.want(metrics.EnrolRefusedFailed, 0)
	if all, err := r.devices.List(); won != 1 || err != nil || len(all) != 1 {
		t.Errorf("%d won, %d certificates, %v", won, len(all), err)
	}
}

// TestTheEnd: nobody is served any more, and nobody is left.
func TestTheEnd(t *testing.T) {
	r := newRig(t, doorLimits())
	c, err := tls.Dial("tcp", r.addr, r.tls())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(c); err == nil {
		if _, err = io.WriteString(c, "x"); err == nil {
			t.Log("closed without an alert")
		}
	}
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("somebody still listens")
	}
}
