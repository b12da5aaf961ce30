package conn

import (
	"crypto/tls"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Only a CONNECT that was accepted makes an address known: a handshake does not, nor
// one that was resumed with a ticket of ours, nor the right name with a wrong
// password.
func TestOnlyAnAcceptedConnectMakesKnown(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	known := r.counted(metrics.ConnectionsKnown)
	r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ConnectDeadline: 10 * time.Second, KnownShare: 20, ShakeCPU: 50})
	client := r.real.tls.Clone()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	before := known()
	resumed := 0
	for range 3 {
		nc := tls.Client(r.knockFrom("127.0.7.1"), client)
		p := &mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: "pub", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("guess"), ReceiveMaximum: 10}
		if _, err := nc.Write(p.Append(nil, mqtt.V5, 0)); err != nil {
			t.Fatal(err)
		}
		ack := make([]byte, 4)
		if _, err := io.ReadFull(nc, ack); err != nil || mqtt.Type(ack[0]>>4) != mqtt.CONNACK || ack[3] == 0 {
			t.Fatalf("% x, %v: want a refusal", ack, err)
		}
		if nc.ConnectionState().DidResume {
			resumed++
		}
		_ = nc.Close()
	}
	if resumed == 0 {
		t.Error("no handshake was resumed")
	}
	r.becomes("known connections of who was never accepted", before, known)
	in := r.knockFrom("127.0.7.2")
	if err := r.enters(in, "device"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	r.becomes("connections, the bystander", 1, r.connections)
	again := r.knockFrom("127.0.7.2")
	r.becomes("known connections", before+1, known)
	_ = again.Close()
	_ = r.knockFrom("127.0.7.1")
	r.becomes("connections", 2, r.connections)
	r.becomes("known connections after a neighbour", before+1, known)
	check()
}

// Strangers from many networks have every place for handshakes and are all busy:
// who is known finishes his, whose ever turn it was.
func TestTheKnownFinishHandshakesInAFlood(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 10, ConnectDeadline: 10 * time.Second, KnownShare: 20, ShakeCPU: 50})
	in := r.knockFrom("127.0.7.2")
	if err := r.enters(in, "device"); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	door := r.server.listeners[0].Door
	for i := range 10 { // as the door sees ten whose handshakes compute
		place, refusal := door.Admit(r.now(), netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), true)
		if refusal != "" {
			t.Fatalf("%d: %s", i, refusal)
		}
		place.Evictable(func() {})
		place.Busy(true)
		defer place.Leave()
	}
	stranger := r.knockFrom("127.0.8.1")
	r.cut(stranger, nil)
	if err := r.enters(r.knockFrom("127.0.7.2"), "device"); err != nil {
		t.Errorf("a known client: %v", err)
	}
	check()
}
