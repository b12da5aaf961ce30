package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

func overTLS(t *testing.T, o *Options, ca *fake.Authority) {
	o.Client.TLS = &client.TLS{CAFile: ca.File(t.TempDir(), "ca.pem"), Now: func() time.Time { return fake.Noon }}
}

// Over TLS, too, what was sent is what was delivered, in messages that are a part of a record and
// in some that are many records, with the event loop and with goroutines.
func TestNothingIsLostOverTLS(t *testing.T) {
	ca := fake.NewAuthority(t, "ca", nil)
	for engine, portable := range map[string]bool{"epoll": false, "goroutines": true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for q, size := range map[mqtt.QoS]int{0: 64, 1: 300, 2: 100 << 10} {
				t.Run(fmt.Sprintf("%s/%x/%d", engine, version, q), func(t *testing.T) {
					t.Parallel()
					b := fake.NewBroker(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("localhost", nil)}, MinVersion: tls.VersionTLS12, MaxVersion: version})
					o := to(b.Server, Pair)
					o.QoS, o.Payload, o.Portable, o.Pace.Drain = q, size, portable, time.Minute // a machine that is busy is no loss
					overTLS(t, &o, ca)
					rep, err := Run(context.Background(), o)
					if err != nil {
						t.Fatal(err)
					}
					d := rep.Delivered
					if rep.Engine != engine || rep.Transport != "tls" || rep.Connections.Connected != 6 || len(rep.Connections.Ended) > 0 {
						t.Errorf("%s over %s: %+v", rep.Engine, rep.Transport, rep.Connections)
					}
					if rep.Sent.Messages == 0 || d.Messages != rep.Sent.Messages || d.Lost+d.Duplicated+d.Reordered+d.Foreign > 0 {
						t.Errorf("delivered %+v of %+v", d, rep.Sent)
					}
					if n := len(b.Disconnects()); n != 7 {
						t.Errorf("%d said goodbye, want 7", n)
					}
				})
			}
		}
	}
}

// A handshake that comes to nothing is told in the words of a client, and one that never ends is
// given up; neither leaves anything behind.
func TestHandshakesThatComeToNothing(t *testing.T) {
	ca := fake.NewAuthority(t, "ca", nil)
	n := 0
	b := fake.NewBroker(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if n++; n > 1 { // the first is the probe's
			return nil, fmt.Errorf("no more")
		}
		return &tls.Config{Certificates: []tls.Certificate{ca.Leaf("localhost", nil)}}, nil
	}})
	o := to(b.Server, Conn)
	o.Count, o.Crowd.AtOnce = 3, 1
	overTLS(t, &o, ca)
	rep, err := Run(context.Background(), o)
	if err == nil || rep == nil || rep.Connections.Failed != 3 || rep.Connections.Reasons[string(client.KindTLSHandshake)] != 3 {
		t.Errorf("%+v, %v", rep, err)
	}

	h, err := newHandshakes(func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.begin(&line{})
	if h.end(); len(h.done) > 0 || !strings.Contains(h.ctx.Err().Error(), "canceled") {
		t.Error("something is left")
	}
}
