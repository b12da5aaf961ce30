package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain are the options for a plaintext connection to s.
func plain(s *fake.Server) Options {
	o := DefaultOptions()
	o.Host, o.Port, o.TLS = s.Host, s.Port, nil
	o.Connect.ClientID = "c1"
	return o
}

// dial connects, and closes at the end of the test.
func dial(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts a server that accepts CONNECT with ack and then does script.
func serve(t *testing.T, ack mqtt.Connack, script func(*fake.Conn)) *fake.Server {
	t.Helper()
	return fake.Start(t, nil, func(c *fake.Conn) {
		if c.Greet(ack) {
			script(c)
		}
	})
}

// piped connects over a pipe, for tests in a bubble of virtual time.
func piped(t *testing.T, o Options, ack mqtt.Connack, script func(*fake.Conn)) *Client {
	t.Helper()
	near, far := net.Pipe()
	o.Host, o.Port, o.TLS = "pipe", 1, nil
	o.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	go func() {
		c := fake.NewConn(t, far)
		if c.Greet(ack) {
			script(c)
		}
		_ = far.Close()
	}()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	return c
}

// wantKind fails the test unless err is an *Error of this kind.
func wantKind(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, want an error of kind %s", err, kind)
	}
	return e
}

func TestConnectSaysWhatTheOptionsSay(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		t.Run(v.String(), func(t *testing.T) {
			got := make(chan mqtt.Connect, 1)
			s := serve(t, mqtt.Connack{}, func(c *fake.Conn) { got <- c.Connect; c.Drain() })
			o := plain(s)
			o.Connect.Version, o.Connect.CleanStart, o.Connect.KeepAlive = v, false, 17
			o.Connect.Username, o.Connect.HasUsername, o.Connect.HasPassword = "u", true, true
			o.Password = secret.FromString("p")
			o.Connect.Will = &mqtt.Will{Topic: "w", Payload: []byte("gone"), QoS: 1, Retain: true}
			if v == mqtt.V5 {
				o.Connect.SessionExpiry, o.Connect.UserProperties = 60, []mqtt.UserProperty{{Name: "k", Value: "v"}}
			}
			dial(t, o)
			c := <-got
			if c.Version != v || c.CleanStart || c.KeepAlive != 17 || c.ClientID != "c1" || c.Username != "u" || string(c.Password) != "p" {
				t.Errorf("CONNECT was %+v", c)
			}
			if c.Will == nil || c.Will.Topic != "w" || string(c.Will.Payload) != "gone" || c.Will.QoS != 1 || !c.Will.Retain {
				t.Errorf("will was %+v", c.Will)
			}
			if v == mqtt.V5 && (c.SessionExpiry != 60 || len(c.UserProperties) != 1 || c.ReceiveMaximum != DefaultReceiveMaximum ||
				c.MaximumPacketSize != DefaultMaximumPacketSize || !c.RequestProblemInformation) {
				t.Errorf("properties were %+v", c)
			}
		})
	}
}

func TestClientIDIsTheServersIfItAssignedOne(t *testing.T) {
	s := serve(t, mqtt.Connack{AssignedClientID: "auto-7"}, (*fake.Conn).Drain)
	o := plain(s)
	o.Connect.ClientID = ""
	if c := dial(t, o); c.ClientID() != "auto-7" {
		t.Errorf("client id is %q", c.ClientID())
	}
}

func TestDisconnectSendsWhatIsQueued(t *testing.T) {
	const n = 2000
	count := make(chan int, 1)
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		got := 0
		for {
			p, err := c.Next()
			if err != nil {
				t.Errorf("the connection ended before DISCONNECT: %v", err)
				break
			}
			if p.Type == mqtt.DISCONNECT {
				break
			}
			got++
		}
		count <- got
	})
	c := dial(t, plain(s))
	for range n {
		if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a", Payload: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Disconnect(t.Context(), mqtt.Disconnect{}); err != nil {
		t.Fatalf("Disconnect: %v", err)
	}
	if got := <-count; got != n {
		t.Errorf("%d of %d messages arrived", got, n)
	}
	if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a"}); err == nil {
		t.Error("a Publish after Disconnect succeeded")
	}
}

func TestDisconnectCarriesSessionExpiry(t *testing.T) {
	got := make(chan mqtt.Disconnect, 1)
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		if p, ok := c.Want(mqtt.DISCONNECT); ok {
			var d mqtt.Disconnect
			if err := mqtt.DecodeDisconnect(p.Body, p.Header, mqtt.V5, mqtt.Limits{}, &d); err != nil {
				t.Error(err)
			}
			got <- d
		}
	})
	if err := dial(t, plain(s)).Disconnect(t.Context(), mqtt.Disconnect{SessionExpiry: new(uint32(30))}); err != nil {
		t.Fatal(err)
	}
	if d := <-got; d.Reason != mqtt.Success || d.SessionExpiry == nil || *d.SessionExpiry != 30 {
		t.Errorf("DISCONNECT was %+v", d)
	}
}

// A message of QoS 0 has no other way to be refused.
func TestDisconnectTellsWhatTheServerSaidMeanwhile(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		c.Want(mqtt.PUBLISH)
		c.Want(mqtt.DISCONNECT)
		d := mqtt.Disconnect{Reason: mqtt.NotAuthorized}
		c.Send(d.Append(nil, mqtt.V5, 0))
	})
	c := dial(t, plain(s))
	if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a"}); err != nil {
		t.Fatal(err)
	}
	e := wantKind(t, c.Disconnect(t.Context(), mqtt.Disconnect{}), KindDisconnected)
	if e.ExitCode() != ExitNotAuthorized {
		t.Errorf("exit code %d", e.ExitCode())
	}
}

func TestDisconnectDoesNotWaitForASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, DefaultOptions(), mqtt.Connack{AssignedClientID: "a"}, func(c *fake.Conn) {
			c.Want(mqtt.DISCONNECT)
			c.Drain() // and does not close
		})
		began := time.Now()
		if err := c.Disconnect(t.Context(), mqtt.Disconnect{}); err != nil {
			t.Errorf("Disconnect: %v", err)
		}
		if took := time.Since(began); took != farewellMax {
			t.Errorf("took %s, want %s", took, farewellMax)
		}
	})
}

func TestCloseSaysNothing(t *testing.T) {
	done := make(chan struct{})
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		defer close(done)
		if p, err := c.Next(); err == nil {
			t.Errorf("got %s, want the end of the connection: only then the will is published", p.Type)
		}
	})
	dial(t, plain(s)).Close()
	<-done
}

func TestDialEndsWithItsContext(t *testing.T) {
	connected := make(chan struct{})
	s := fake.Start(t, nil, func(c *fake.Conn) {
		close(connected)
		c.Drain() // never a CONNACK
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-connected; cancel() }()
	_, err := Dial(ctx, plain(s))
	wantKind(t, err, KindInterrupted)
}
