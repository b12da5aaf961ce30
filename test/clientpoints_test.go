package test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// webCA is what a CA has on the web: its revocation lists, and outages.
type webCA struct {
	*httptest.Server
	mu    sync.Mutex        // guards everything below
	files map[string][]byte // by path; what is not there is status 500
	asked map[string]int
}

func newWebCA(t *testing.T) *webCA {
	w := &webCA{files: map[string][]byte{}, asked: map[string]int{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		w.mu.Lock()
		b, there := w.files[q.URL.Path]
		w.asked[q.URL.Path]++
		w.mu.Unlock()
		if !there {
			http.Error(out, "", http.StatusInternalServerError)
			return
		}
		_, _ = out.Write(b)
	}))
	t.Cleanup(w.Close)
	return w
}

// put serves a file; nil: an outage.
func (w *webCA) put(path string, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files[path] = b; b == nil {
		delete(w.files, path)
	}
}

func (w *webCA) requests(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

// list is a revocation list in DER.
func (ca *deviceCA) list(life time.Duration, certs ...*x509.Certificate) []byte {
	ca.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(life)}
	for _, c := range certs {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, ca.cert, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return der
}

// below is a CA that this one has issued, which names these addresses.
func (ca *deviceCA) below(name string, points []string, responders ...string) *deviceCA {
	ca.t.Helper()
	sub := &deviceCA{t: ca.t, dir: ca.dir, n: ca.n + 1000}
	sub.cert, sub.key = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		CRLDistributionPoints: points, OCSPServer: responders}, ca.cert)
	return sub
}

// issueNaming makes NAME.pem, with the CAs that are sent along, and NAME.key of a device whose
// certificate names these addresses.
func (ca *deviceCA) issueNaming(name string, points, responders []string, along ...*deviceCA) *x509.Certificate {
	ca.t.Helper()
	x, key := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CRLDistributionPoints: points, OCSPServer: responders}, ca.cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
	for _, a := range along {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	testkit.WriteFile(ca.t, ca.path(name+".pem"), string(text))
	ca.write(name+".key", "PRIVATE KEY", der)
	return x
}

// comes waits until a device is let in that was refused for this reason; empty: the log has
// said so a moment ago, and does not repeat itself.
func (d *deviceDoors) comes(name, listener, why string) {
	d.t.Helper()
	from := d.b.Stderr.Len()
	if c, err := d.enter(name, listener, tls.VersionTLS13); err == nil {
		_ = c.Close()
		d.t.Errorf("%s is let in at %s before anybody can know", name, listener)
	} else if why != "" {
		if _, ok := d.b.Stderr.WaitFor(patience, from, why); !ok {
			d.t.Errorf("the log does not say %q\n%s", why, d.b.Log())
		}
	}
	for end := time.Now().Add(patience); ; {
		c, err := d.enter(name, listener, tls.VersionTLS13)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			d.t.Fatalf("%s at %s: %v\n%s", name, listener, err, d.b.Log())
		}
		d.b.Stderr.WaitFor(200*time.Millisecond, d.b.Stderr.Len(), "was fetched") // or it is there already
	}
}

// from127 lets the broker ask the servers of tests.
const from127 = "      fetch_from: [127.0.0.0/8]\n"

// TestListsFromDistributionPoints (P3.5, A137, A139): the list that a certificate names is
// fetched beside its first handshake, and whom a later one names is out within ten seconds,
// on each kind of listener. An outage changes nothing for who is let in, also after a start.
func TestListsFromDistributionPoints(t *testing.T) {
	t.Parallel()
	ca, web := newDeviceCA(t, "devices"), newWebCA(t)
	points := []string{web.URL + "/a.crl"}
	gone := ca.issueNaming("gone", points, nil)
	ca.issueNaming("kept", points, nil)
	web.put("/a.crl", ca.list(time.Hour))
	b := newMTLSWith(t, ca, from127+"      crl: {refresh: 1s}\n")
	d := newDeviceDoors(t, ca, b)
	d.comes("kept", "devices", "is being fetched from")
	d.comes("kept", "browsers", "")
	d.withdrawal("was revoked by its issuer", func() { web.put("/a.crl", ca.list(time.Hour, gone)) })

	from := b.Stderr.Len()
	web.put("/a.crl", newDeviceCA(t, "devices").list(time.Hour))
	if _, ok := b.Stderr.WaitFor(patience, from, "crl_forged"); !ok {
		t.Errorf("no alarm about a forged list\n%s", b.Stderr)
	}
	from = b.Stderr.Len()
	web.put("/a.crl", nil)
	if _, ok := b.Stderr.WaitFor(patience, from, "alarm", "crl_unavailable", "status 500"); !ok {
		t.Errorf("no alarm about an outage\n%s", b.Stderr)
	}
	if r := b.Redoubt("", "status"); !strings.Contains(r.Stdout, "crl_unavailable") {
		t.Errorf("%s", r.Text())
	}
	b.Stop()
	d.again()
	for _, listener := range []string{"devices", "browsers"} {
		_ = d.must("kept", listener, tls.VersionTLS13).Close()
		if _, err := d.enter("gone", listener, tls.VersionTLS13); err == nil {
			t.Errorf("%s: a start has forgotten who was revoked", listener)
		}
	}
	if _, ok := d.b.Stderr.WaitFor(patience, 0, "alarm", "crl_unavailable"); !ok {
		t.Errorf("no alarm about an outage after the start\n%s", d.b.Stderr)
	}
	from = d.b.Stderr.Len()
	web.put("/a.crl", ca.list(time.Hour, gone))
	if _, ok := d.b.Stderr.WaitFor(patience, from, "alarm cleared", "crl_unavailable"); !ok {
		t.Errorf("it is well again, and the alarm lasts\n%s", d.b.Log())
	}
}

// again starts the broker that was stopped, with the same files.
func (d *deviceDoors) again() {
	d.t.Helper()
	argv := append([]string{testkit.Binary(d.t), "--config", d.b.Config, "--data-dir", d.b.DataDir, "serve"}, testkit.AllowRoot()...)
	next := *d.b
	next.Process = testkit.Go(d.t, "", argv...)
	d.b = &next
	d.t.Cleanup(func() { next.Stop() })
	if _, ok := d.b.Stdout.WaitFor(30*time.Second, 0, "ready"); !ok {
		d.t.Fatalf("the broker does not start again\n%s", d.b.Log())
	}
	clear(d.keep)
}

// TestRevokedCAFromDistributionPoints (P3.5): the list of the root takes a CA between back,
// and with it all that it has issued.
func TestRevokedCAFromDistributionPoints(t *testing.T) {
	t.Parallel()
	ca, web := newDeviceCA(t, "devices"), newWebCA(t)
	root, parts := []string{web.URL + "/root.crl"}, map[string]*deviceCA{}
	for _, name := range []string{"gone", "kept"} {
		parts[name] = ca.below("CA "+name, root)
		parts[name].issueNaming(name, []string{web.URL + "/" + name + ".crl"}, nil, parts[name])
		web.put("/"+name+".crl", parts[name].list(time.Hour))
	}
	web.put("/root.crl", ca.list(time.Hour))
	b := newMTLSWith(t, ca, from127+"      crl: {refresh: 1s}\n")
	d := newDeviceDoors(t, ca, b)
	for _, name := range []string{"gone", "kept"} {
		d.comes(name, "devices", "is being fetched from")
		d.comes(name, "browsers", "")
	}
	d.withdrawal(fmt.Sprintf("certificate %x (CN=CA gone) was revoked by its issuer", parts["gone"].cert.SerialNumber), func() { web.put("/root.crl", ca.list(time.Hour, parts["gone"].cert)) })
}

// TestPointsThatAreNotAsked (A139): a certificate of an accepted CA that names this host, or
// a host's metadata, makes the broker ask nobody, and its client is refused; one of another
// CA is not even looked at.
func TestPointsThatAreNotAsked(t *testing.T) {
	t.Parallel()
	ca, other, web := newDeviceCA(t, "devices"), newDeviceCA(t, "others"), newWebCA(t)
	web.put("/a.crl", ca.list(time.Hour))
	port := web.URL[strings.LastIndexByte(web.URL, ':'):]
	ca.issueNaming("loopback", []string{web.URL + "/a.crl"}, nil)
	ca.issueNaming("name", []string{"http://localhost" + port + "/a.crl"}, nil)
	ca.issueNaming("metadata", []string{"http://169.254.169.254/a.crl"}, nil)
	ca.issueNaming("ldap", []string{"ldap://localhost/a.crl"}, nil)
	ca.issue("none")
	other.issueNaming("stranger", []string{"http://127.0.0.1:1/stranger.crl"}, nil)
	b := newMTLSWith(t, ca, "      crl: {refresh: 1s}\n")
	d := newDeviceDoors(t, ca, b)
	for name, why := range map[string]string{"loopback": "tls.fetch_from", "name": "tls.fetch_from", "metadata": "169.254.169.254 is an address of this host", "ldap": "names no address of http"} {
		from := b.Stderr.Len()
		heard := false
		for end := time.Now().Add(patience); !heard && time.Now().Before(end); {
			if _, err := d.enter(name, "devices", tls.VersionTLS13); err == nil {
				t.Fatalf("%s is let in", name)
			}
			_, heard = b.Stderr.WaitFor(time.Second, from, why)
		}
		if !heard {
			t.Fatalf("%s: the log does not say %q\n%s", name, why, b.Stderr)
		}
	}
	_ = d.must("none", "devices", tls.VersionTLS13).Close()
	d.ca = other
	if _, err := d.enter("stranger", "devices", tls.VersionTLS13); err == nil {
		t.Error("a stranger is let in")
	}
	if strings.Contains(b.Stderr.String(), "stranger.crl") || web.requests("/a.crl") != 0 {
		t.Errorf("asked\n%s", b.Stderr)
	}
}
