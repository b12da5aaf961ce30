//go:build chaos

package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is `make chaos`: what one client that misbehaves does to two that do
// not. It needs a machine that does nothing else, so it is no part of `make test`.

// How long each figure is taken, and what is asked of it: the slowest hundredth of
// the bystanders' round trips is at most twice what it was before, or chaosFloor,
// below which the machine's own scheduling is what is measured.
const (
	chaosWindow = 4 * time.Second
	chaosEvery  = time.Millisecond // between two round trips
	chaosFactor = 2
	chaosFloor  = 5 * time.Millisecond
)

// connectAs is a connection of a user whose deadline is the whole run's.
func connectAs(t testing.TB, b *testkit.Broker, name, secret, clientID string) *wire {
	t.Helper()
	w := dial(t, b, trust(t, b), mqtt.V5)
	_ = w.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	w.send((&mqtt.Connect{Version: mqtt.V5, ClientID: clientID, CleanStart: true, KeepAlive: 120, HasUsername: true, Username: name, HasPassword: true, Password: []byte(secret), ReceiveMaximum: 65535}).Append(nil, mqtt.V5, 0))
	if p := w.want(mqtt.CONNACK); p.Body[1] != 0 {
		t.Fatalf("%s: CONNACK % x", clientID, p.Body)
	}
	return w
}

func (w *wire) subscribeTo(filter string, qos mqtt.QoS) {
	w.t.Helper()
	w.send((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: filter, QoS: qos}}}).Append(nil, w.v, 0))
	if p := w.want(mqtt.SUBACK); p.Body[len(p.Body)-1] > 2 {
		w.t.Fatalf("SUBACK % x", p.Body)
	}
}

// flood publishes at QoS 0 until its connection ends, and counts.
func flood(w *wire, payload int) (sent *atomic.Int64) {
	sent = new(atomic.Int64)
	m := mqtt.Publish{Topic: []byte("devices/" + other + "/x"), Payload: make([]byte, payload)}
	one := m.Append(nil, mqtt.V5)
	burst := slices.Repeat(one, max(1, 16<<10/len(one)))
	go func() {
		for {
			if _, err := w.conn.Write(burst); err != nil {
				return
			}
			sent.Add(int64(len(burst) / len(one)))
		}
	}()
	return sent
}

// misdeeds are what one client does; each answers how to stop it and what it has
// done, so that a misdeed that did not happen is not taken for one that was borne.
var misdeeds = []struct {
	name string
	do   func(t *testing.T, b *testkit.Broker) (stop func() (what string, happened bool))
}{
	{"sends QoS 0 without pause", func(t *testing.T, b *testkit.Broker) func() (string, bool) {
		w := connectAs(t, b, other, otherPassword, "flood")
		sent := flood(w, 32)
		return func() (string, bool) {
			_ = w.conn.Close()
			return fmt.Sprintf("%d messages", sent.Load()), sent.Load() > 1000
		}
	}},
	{"subscribes and does not read", func(t *testing.T, b *testkit.Broker) func() (string, bool) {
		deaf := connectAs(t, b, other, otherPassword, "deaf")
		deaf.subscribeTo("devices/"+other+"/#", 1)
		w := connectAs(t, b, other, otherPassword, "loud")
		sent := flood(w, 4096)
		return func() (string, bool) {
			_ = w.conn.Close()
			_ = deaf.conn.Close()
			return fmt.Sprintf("%d messages of 4 KiB for it", sent.Load()), sent.Load() > 1000
		}
	}},
	{"holds half a packet", func(t *testing.T, b *testkit.Broker) func() (string, bool) {
		w := connectAs(t, b, other, otherPassword, "half")
		m := mqtt.Publish{Topic: []byte("devices/" + other + "/x"), Payload: make([]byte, 512<<10)}
		packet := m.Append(nil, mqtt.V5)
		w.send(packet[:len(packet)/2])
		return func() (string, bool) {
			w.send(packet[len(packet)/2:]) // it was held, and not cut off
			w.send([]byte{0xC0, 0})
			w.want(mqtt.PINGRESP)
			return "256 KiB of 512", true
		}
	}},
}

func TestChaos(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-16s %-30s %9s %9s %9s %7s  %s\n", "limits", "one client", "p50", "p99", "worst", "p99 x", "what it did")
	for _, setting := range []struct {
		name, config string
		judged       bool
	}{
		{"default", "", true},
		// Without the limit the flooding client, which runs on this machine too, takes
		// all of a core, and so does the broker for it: the figures tell what the limit
		// is for.
		{"no publish_rate", "limits:\n  publish_rate: {messages: 0, bytes: 0}\n", false},
	} {
		b := start(t, testkit.Options{Config: setting.config})
		p := standBy(t, b)
		p.roundTrips(chaosWindow / 4) // warm
		before := p.roundTrips(chaosWindow)
		was := quantile(before, 0.99)
		line := func(name string, d []time.Duration, what string) {
			round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
			p99 := quantile(d, 0.99)
			fmt.Fprintf(&table, "%-16s %-30s %9v %9v %9v %7.2f  %s\n", setting.name, name, round(quantile(d, 0.5)), round(p99), round(d[len(d)-1]), float64(p99)/float64(was), what)
		}
		line("(before)", before, fmt.Sprintf("%d round trips", len(before)))
		for _, misdeed := range misdeeds {
			stop := sync.OnceValues(misdeed.do(t, b))
			during := p.roundTrips(chaosWindow)
			what, happened := stop()
			line(misdeed.name, during, what)
			if !happened {
				t.Errorf("%s, %s: it did not happen: %s", setting.name, misdeed.name, what)
			}
			if p99 := quantile(during, 0.99); setting.judged && p99 > max(chaosFactor*was, chaosFloor) {
				t.Errorf("%s, %s: p99 of the bystanders %v, before %v", setting.name, misdeed.name, p99, was)
			}
		}
		b.Stop()
	}
	t.Log(table.String())
}
