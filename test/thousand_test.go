package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// manyClients are connected at once, over TLS, each in both roles; watchedClients to a
// broker with the race detector, to which the others are the same again.
const manyClients, watchedClients = 1000, 100

// handshakes are how many of them are connecting at a time, so that a busy
// machine spends its ten seconds per connection on connecting.
const handshakes = 16

// TestThousandClients: everybody receives what its neighbour published to it
// alone, exactly once, and everybody receives one message published to all. In between the
// certificate of their listener is replaced, three times over, and nobody notices (P3.3).
func TestThousandClients(t *testing.T) {
	t.Run("watched", func(t *testing.T) { neighbours(t, watchedClients, testkit.Options{}) })
	t.Run("thousand", func(t *testing.T) { neighbours(t, manyClients, testkit.Options{Repeats: true}) })
}

// neighbours is that with so many.
func neighbours(t *testing.T, many int, o testkit.Options) {
	ca := newDeviceCA(t, "everything")
	first, port := ca.server(), testkit.FreePort(t)
	// A machine that is busy with other tests must not fail this one on time.
	o.Config = "limits: { connect_deadline: 60s }\n"
	o.Listeners = fmt.Sprintf("  rotating:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n    tls: {certificates: [{cert: %s, key: \"file:%s\"}]}\n", port, ca.path("server.pem"), ca.path("server.key"))
	b := start(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	clients := make([]*client.Client, many)
	slots := make(chan struct{}, handshakes)
	each(t, many, func(i int) error {
		slots <- struct{}{}
		defer func() { <-slots }()
		o := ourOptions(b, fmt.Sprintf("many-%d", i))
		o.Port, o.TLS.CAFile = uint16(port), ca.path("ca.pem")
		c, err := client.Dial(ctx, o)
		if err != nil {
			return err
		}
		clients[i] = c
		granted, err := c.Subscribe(ctx, mqtt.Subscribe{Filters: []mqtt.Subscription{{Filter: manyTopic(i), QoS: 1}, {Filter: "devices/" + user + "/all", QoS: 1}}})
		if err != nil {
			return err
		}
		for _, g := range granted {
			if g.Err != nil {
				return g.Err
			}
		}
		return nil
	})
	t.Cleanup(func() {
		for _, c := range clients {
			if c != nil {
				c.Close()
			}
		}
	})
	if t.Failed() {
		t.Fatalf("the broker's log:\n%.8000s", b.Log())
	}

	each(t, many, func(i int) error {
		return publish(ctx, clients[i], manyTopic((i+1)%many), fmt.Sprintf("from %d", i))
	})
	each(t, many, func(i int) error {
		return receive(ctx, clients[i], manyTopic(i), fmt.Sprintf("from %d", (i+many-1)%many))
	})
	rotate(t, b, ca, port, first, many)
	if err := publish(ctx, clients[0], "devices/"+user+"/all", "everybody"); err != nil {
		t.Fatal(err)
	}
	// The next message of each is this one: nobody got anything twice.
	each(t, many, func(i int) error { return receive(ctx, clients[i], "devices/"+user+"/all", "everybody") })
}

// rotate replaces the certificate of a listener, also with one that is none. Each must be
// what the next handshake gets, within five seconds, and cost nobody a connection.
func rotate(t *testing.T, b *testkit.Broker, ca *deviceCA, port int, serves *x509.Certificate, many int) {
	t.Helper()
	before := pageOf(t, b)
	conf := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	conf.RootCAs.AddCert(ca.cert)
	serving := func() *x509.Certificate {
		c, err := tls.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0]
	}
	for range 3 {
		if !serving().Equal(serves) {
			t.Error("what is served is not what was written last")
		}
		from := b.Stderr.Len()
		testkit.WriteFile(t, ca.path("server.pem"), "-----BEGIN NONSENSE-----\n")
		if _, ok := b.Stderr.WaitFor(5*time.Second, from, "are refused; it goes on with what it had"); !ok {
			t.Fatalf("a bad file is not refused in words\n%s", b.Log())
		}
		if !serving().Equal(serves) {
			t.Error("a bad file changes what is served")
		}
		if page := pageOf(t, b); page[`redoubt_alarms{alarm="certificate_files_refused"}`] != 1 {
			t.Error("a bad file raises no alarm")
		}
		from, serves = b.Stderr.Len(), ca.server()
		if _, ok := b.Stderr.WaitFor(5*time.Second, from, "files of a listener were read again", `"listener":"rotating"`); !ok {
			t.Fatalf("a new certificate is not in use within 5 s\n%s", b.Log())
		}
	}
	if !serving().Equal(serves) {
		t.Error("what is served is not what was written last")
	}
	after := pageOf(t, b)
	if after[`redoubt_alarms{alarm="certificate_files_refused"}`] != 0 || strings.Contains(must(t, b, "status"), "certificate_files_refused") {
		t.Error("the alarm outlives its cause")
	}
	for series, n := range after {
		// Those who only looked leave before CONNECT.
		if strings.HasPrefix(series, "redoubt_connections_closed_total") && n != before[series] && !strings.Contains(series, "client_gone") {
			t.Errorf("%s: %v, before %v", series, n, before[series])
		}
	}
	if after["redoubt_sessions"] < float64(many) {
		t.Errorf("%v sessions are left of %d", after["redoubt_sessions"], many)
	}
}

// ourOptions are those of a client of the built-in user.
func ourOptions(b *testkit.Broker, id string) client.Options {
	o := client.DefaultOptions()
	o.Port = uint16(b.Port)
	o.TLS.CAFile = b.CA()
	o.Connect.ClientID = id
	o.Connect.KeepAlive = 300
	o.Connect.HasUsername, o.Connect.Username = true, user
	o.Connect.HasPassword, o.Password = true, secret.FromString(password)
	o.Receive = true
	o.ConnectTimeout = patience
	return o
}

// manyTopic is where client i is addressed alone.
func manyTopic(i int) string { return fmt.Sprintf("devices/%s/many/%d", user, i) }

// publish sends at QoS 1 and waits for the acknowledgement.
func publish(ctx context.Context, c *client.Client, topic, payload string) error {
	reason, err := c.Publish(ctx, &client.Outgoing{Topic: topic, Payload: []byte(payload), QoS: 1})
	if err == nil && reason != mqtt.Success {
		err = fmt.Errorf("PUBACK %v", reason)
	}
	return err
}

// receive takes the next message, which must be this one.
func receive(ctx context.Context, c *client.Client, topic, payload string) error {
	m, err := c.Next(ctx)
	if err == nil && (m.Topic != topic || string(m.Payload) != payload || m.Dup) {
		err = fmt.Errorf("got %q on %s (dup %v), want %q on %s", m.Payload, m.Topic, m.Dup, payload, topic)
	}
	return err
}

// each runs fn for every client at once and reports the first few errors.
func each(t *testing.T, many int, fn func(i int) error) {
	t.Helper()
	errs := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	shown := 0
	for i, err := range errs {
		if err != nil {
			if shown++; shown <= 5 {
				t.Errorf("client %d: %v", i, err)
			}
		}
	}
	if shown > 5 {
		t.Errorf("and %d more", shown-5)
	}
	if shown > 0 {
		t.FailNow()
	}
}
