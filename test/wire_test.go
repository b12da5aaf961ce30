package test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// wire is a bare client: a TLS connection, our encoder on the way out and our
// header on the way in. It keeps no state and does nothing by itself.
type wire struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	v    mqtt.Version

	aside    []packet // publishes that came before an answer; see skipTo
	farewell []byte   // DISCONNECT that came in place of one
}

// packet is one received packet, its body not looked at.
type packet struct {
	mqtt.Header
	Body []byte
}

// trust is a TLS configuration for clients of this broker.
func trust(t testing.TB, b *testkit.Broker) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(b.CA())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("%s holds no certificate", b.CA())
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// dial opens a TLS connection and says nothing.
func dial(t testing.TB, b *testkit.Broker, config *tls.Config, v mqtt.Version) *wire {
	t.Helper()
	conn, err := tls.Dial("tcp", b.Addr(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{t: t, conn: conn, in: bufio.NewReader(conn), v: v}
}

// connect opens a connection and waits for a CONNACK that accepts it.
func connect(t testing.TB, b *testkit.Broker, v mqtt.Version, clientID string) *wire {
	t.Helper()
	w := dial(t, b, trust(t, b), v)
	w.send((&mqtt.Connect{Version: v, ClientID: clientID, CleanStart: true, KeepAlive: 60, HasUsername: true, Username: user, HasPassword: true, Password: []byte(password), RequestProblemInformation: true, ReceiveMaximum: 65535}).Append(nil, v, 0))
	p := w.want(mqtt.CONNACK)
	var ack mqtt.Connack
	if err := mqtt.DecodeConnack(p.Body, p.Header, v, mqtt.Limits{UserProperties: -1}, &ack); err != nil || ack.Reason != mqtt.Success {
		t.Fatalf("CONNACK %v, %v", ack.Reason, err)
	}
	return w
}

// send writes bytes.
func (w *wire) send(b []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(b); err != nil {
		w.t.Fatalf("write: %v", err)
	}
}

// errClosed is what next answers for every way a connection ends.
var errClosed = errors.New("the broker closed the connection")

// next reads one packet.
func (w *wire) next() (packet, error) {
	var head []byte
	for {
		c, err := w.in.ReadByte()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return packet{}, err
			}
			return packet{}, errClosed
		}
		head = append(head, c)
		h, ok, err := mqtt.ReadHeader(head, w.v)
		if err != nil {
			return packet{}, err
		}
		if !ok {
			continue
		}
		body := make([]byte, h.Remaining)
		if _, err := io.ReadFull(w.in, body); err != nil {
			return packet{}, errClosed
		}
		return packet{h, body}, nil
	}
}

// want reads one packet and fails unless it is of this type.
func (w *wire) want(typ mqtt.Type) packet {
	w.t.Helper()
	p, err := w.next()
	if err != nil || p.Type != typ {
		w.t.Fatalf("want %v, got %v %x, %v", typ, p.Type, p.Body[:min(len(p.Body), 16)], err)
	}
	return p
}

// wantDisconnect reads DISCONNECT with this reason, then the end.
func (w *wire) wantDisconnect(reason mqtt.ReasonCode) {
	w.t.Helper()
	p := w.want(mqtt.DISCONNECT)
	var d mqtt.Disconnect
	if err := mqtt.DecodeDisconnectClient(p.Body, p.Header, w.v, mqtt.Limits{UserProperties: -1}, &d); err != nil || d.Reason != reason {
		w.t.Fatalf("DISCONNECT %#x (%v), want %#x; %v", byte(d.Reason), d.Reason, byte(reason), err)
	}
	w.wantClosed()
}

// wantClosed waits for the end of the connection.
func (w *wire) wantClosed() {
	w.t.Helper()
	if p, err := w.next(); !errors.Is(err, errClosed) {
		w.t.Fatalf("want a closed connection, got %v, %v", p.Type, err)
	}
}

// wantAlive proves that the connection still answers.
func (w *wire) wantAlive() {
	w.t.Helper()
	w.send(mqtt.AppendPingreq(nil))
	w.want(mqtt.PINGRESP)
}

// subscribe asks for a filter and waits until it is granted.
func (w *wire) subscribe(filter string, qos mqtt.QoS) {
	w.t.Helper()
	w.send((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: filter, QoS: qos}}}).Append(nil, w.v, 0))
	p := w.want(mqtt.SUBACK)
	var ack mqtt.Suback
	if err := mqtt.DecodeSuback(p.Body, p.Header, w.v, mqtt.Limits{UserProperties: -1}, &ack); err != nil || len(ack.Reasons) != 1 || ack.Reasons[0].Failed() {
		w.t.Fatalf("SUBACK %v, %v", ack.Reasons, err)
	}
}

// wireVersion translates mosquitto's name.
func wireVersion(mosquitto string) mqtt.Version {
	return map[string]mqtt.Version{"mqttv31": mqtt.V31, "mqttv311": mqtt.V311, "mqttv5": mqtt.V5}[mosquitto]
}
