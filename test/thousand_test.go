package test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// manyClients are connected at once, over TLS, each in both roles.
const manyClients = 1000

// handshakes are how many of them are connecting at a time, so that a busy
// machine spends its ten seconds per connection on connecting.
const handshakes = 16

// TestThousandClients: everybody receives what its neighbour published to it
// alone, exactly once, and everybody receives one message published to all.
func TestThousandClients(t *testing.T) {
	// A machine that is busy with other tests must not fail this one on time.
	b := start(t, testkit.Options{Config: "limits: { connect_deadline: 60s }\n"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	clients := make([]*client.Client, manyClients)
	slots := make(chan struct{}, handshakes)
	each(t, func(i int) error {
		slots <- struct{}{}
		defer func() { <-slots }()
		c, err := client.Dial(ctx, ourOptions(b, fmt.Sprintf("many-%d", i)))
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

	each(t, func(i int) error {
		return publish(ctx, clients[i], manyTopic((i+1)%manyClients), fmt.Sprintf("from %d", i))
	})
	each(t, func(i int) error {
		return receive(ctx, clients[i], manyTopic(i), fmt.Sprintf("from %d", (i+manyClients-1)%manyClients))
	})
	if err := publish(ctx, clients[0], "devices/"+user+"/all", "everybody"); err != nil {
		t.Fatal(err)
	}
	// The next message of each is this one: nobody got anything twice.
	each(t, func(i int) error { return receive(ctx, clients[i], "devices/"+user+"/all", "everybody") })
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
func each(t *testing.T, fn func(i int) error) {
	t.Helper()
	errs := make([]error, manyClients)
	var wg sync.WaitGroup
	for i := range manyClients {
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
