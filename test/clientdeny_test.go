package test

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// deviceDoors are the entrances of a broker for devices with certificates, and versions of TLS.
type deviceDoors struct {
	t    *testing.T
	ca   *deviceCA
	b    *testkit.Broker
	ids  int
	keep map[string]tls.ClientSessionCache
}

func newDeviceDoors(t *testing.T, ca *deviceCA, b *testkit.Broker) *deviceDoors {
	return &deviceDoors{t: t, ca: ca, b: b, keep: map[string]tls.ClientSessionCache{}}
}

// each calls do for each kind of listener and each version of TLS.
func (d *deviceDoors) each(do func(listener string, version uint16)) {
	for _, listener := range []string{"devices", "browsers"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			do(listener, version)
		}
	}
}

// enter connects with a certificate, and with the session tickets of those before. The
// connection is good for MQTT when err is nil.
func (d *deviceDoors) enter(name, listener string, version uint16) (*tls.Conn, error) {
	d.t.Helper()
	pair, err := tls.LoadX509KeyPair(d.ca.path(name+".pem"), d.ca.path(name+".key"))
	if err != nil {
		d.t.Fatal(err)
	}
	key := fmt.Sprint(name, listener, version)
	if d.keep[key] == nil {
		d.keep[key] = tls.NewLRUClientSessionCache(8)
	}
	conf := &tls.Config{RootCAs: trust(d.t, d.b).RootCAs, ServerName: "localhost", Certificates: []tls.Certificate{pair},
		MinVersion: version, MaxVersion: version, ClientSessionCache: d.keep[key]}
	d.ids++
	connect := (&mqtt.Connect{Version: mqtt.V5, ClientID: fmt.Sprint("c", d.ids), CleanStart: true, ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0)
	if listener == "browsers" {
		conf.NextProtos = []string{"http/1.1"}
		connect = append([]byte(upgradeRequest+"\r\n"), frameOf(0x82, connect)...)
	}
	c, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", entrance(d.t, d.b, listener)), conf)
	if err != nil {
		return nil, err
	}
	d.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(connect); err != nil {
		return nil, err
	}
	var seen []byte
	for buf := make([]byte, 512); !connacked(seen); {
		n, err := c.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			return nil, fmt.Errorf("%w after %q", err, seen)
		}
	}
	return c, nil
}

// connacked tells whether there is a CONNACK at the end of an upgrade, or at the beginning.
func connacked(seen []byte) bool {
	if len(seen) > 3 && seen[0] == 0x20 {
		return seen[3] == 0
	}
	_, frame, upgraded := strings.Cut(string(seen), "\r\n\r\n")
	return upgraded && len(frame) > 5 && frame[2] == 0x20 && frame[5] == 0
}

// must is enter of who is let in.
func (d *deviceDoors) must(name, listener string, version uint16) *tls.Conn {
	d.t.Helper()
	c, err := d.enter(name, listener, version)
	if err != nil {
		d.t.Fatalf("%s at %s in %s: %v\n%s", name, listener, tls.VersionName(version), err, d.b.Log())
	}
	return c
}

// out fails unless the connection is closed within ten seconds.
func (d *deviceDoors) out(what string, c *tls.Conn) {
	d.t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var err error
	for buf := make([]byte, 256); err == nil; {
		_, err = c.Read(buf)
	}
	if os.IsTimeout(err) {
		d.t.Errorf("%s: a live connection is still there after 10 s\n%s", what, d.b.Log())
	}
}

// stays fails unless the connection answers a ping.
func (d *deviceDoors) stays(listener string, c *tls.Conn) {
	d.t.Helper()
	ping := []byte{0xc0, 0}
	if listener == "browsers" {
		ping = frameOf(0x82, ping)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err := c.Write(ping)
	if err == nil {
		_, err = c.Read(make([]byte, 16))
	}
	if err != nil {
		d.t.Errorf("%s: somebody else is out: %v\n%s", listener, err, d.b.Log())
	}
}

// withdrawal is a way to take a certificate back: whoever shows "gone" is out, and "kept"
// stays, on each listener and in each version of TLS.
func (d *deviceDoors) withdrawal(why string, withdraw func()) {
	d.t.Helper()
	var gone, kept []*tls.Conn
	d.each(func(listener string, version uint16) {
		_ = d.must("gone", listener, version).Close()
		c := d.must("gone", listener, version)
		if !c.ConnectionState().DidResume {
			d.t.Errorf("%s, %s: not resumed", listener, tls.VersionName(version))
		}
		gone, kept = append(gone, c), append(kept, d.must("kept", listener, version))
	})
	from := d.b.Stderr.Len()
	withdraw()
	i := 0
	d.each(func(listener string, version uint16) {
		d.out(listener+" "+tls.VersionName(version), gone[i])
		d.stays(listener, kept[i])
		if _, err := d.enter("gone", listener, version); err == nil { // with its ticket
			d.t.Errorf("%s, %s: a session ticket outlives it\n%s", listener, tls.VersionName(version), d.b.Log())
		}
		delete(d.keep, fmt.Sprint("gone", listener, version))
		if _, err := d.enter("gone", listener, version); err == nil {
			d.t.Errorf("%s, %s: let in\n%s", listener, tls.VersionName(version), d.b.Log())
		}
		_ = d.must("kept", listener, version).Close()
		i++
	})
	if _, ok := d.b.Stderr.WaitFor(patience, from, "was withdrawn", why); !ok {
		d.t.Errorf("the log does not say why\n%s", d.b.Stderr)
	}
}

// TestDeniedByNumberAndFingerprint (P3.5): without any list, what an operator denies is out
// at once on every listener, comes back when it is allowed, and two who deny at the same time
// do not undo each other.
func TestDeniedByNumberAndFingerprint(t *testing.T) {
	t.Parallel()
	ca := newDeviceCA(t, "devices")
	gone := ca.issue("gone")
	ca.issue("kept")
	b := newMTLSWith(t, ca, "")
	d := newDeviceDoors(t, ca, b)
	run := func(words ...string) testkit.Run {
		t.Helper()
		r := b.Redoubt("", words...)
		if r.Code != 0 {
			t.Fatalf("%v: %s", words, r.Text())
		}
		return r
	}
	d.withdrawal("is denied here by its fingerprint", func() { run("cert", "deny", ca.path("gone.pem")) })
	if r := run("cert", "deny", ca.path("gone.pem")); !strings.Contains(r.Stdout, "was denied already") {
		t.Errorf("%s", r.Text())
	}
	run("cert", "allow", ca.path("gone.pem"))
	serial := fmt.Sprintf("%02X", gone.SerialNumber)
	d.withdrawal("is denied here by its serial number", func() { run("cert", "deny", "serial:00:"+serial) })

	if r := b.Redoubt("", "cert", "deny", serial); r.Code == 0 || !strings.Contains(r.Text(), "serial:"+serial) {
		t.Errorf("%s", r.Text())
	}
	if r := b.Redoubt("", "cert", "allow", "serial:dead"); r.Code == 0 {
		t.Errorf("%s", r.Text())
	}
	b.Stop()
	d.again()
	if _, err := d.enter("gone", "devices", tls.VersionTLS13); err == nil {
		t.Error("a start has forgotten who is denied")
	}
	_ = d.must("kept", "devices", tls.VersionTLS13).Close()
	b = d.b
	var both sync.WaitGroup
	for _, id := range []string{"serial:a1", "serial:a2", "serial:a3"} {
		both.Go(func() { b.Redoubt("", "cert", "deny", id) })
	}
	both.Wait()
	r := run("config", "get", "certificates.denied")
	for _, id := range []string{"serial:a1", "serial:a2", "serial:a3", "serial:" + strings.ToLower(strings.TrimLeft(serial, "0"))} {
		if !strings.Contains(r.Stdout, id) {
			t.Errorf("%s is missing: %s", id, r.Text())
		}
	}
}
