package conn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// roughClient is a client of a real broker whose TLS records are driven by hand
// behind an honest handshake.
type roughClient struct {
	r    *rig
	nc   *net.TCPConn
	up   *hand
	down *hand
	in   []byte // ciphertext not opened yet
}

// rough dials, shakes hands, and connects as who. receiveBytes bounds what the
// client's kernel takes for it; 0 is the system's choice.
func (r *rig) rough(who string, receiveBytes int) *roughClient {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.real.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	c := &roughClient{r: r, nc: nc.(*net.TCPConn)}
	if receiveBytes > 0 {
		if err := c.nc.SetReadBuffer(receiveBytes); err != nil {
			r.t.Fatal(err)
		}
	}
	keys := keyLog{}
	config := r.real.tls.Clone()
	config.KeyLogWriter, config.MinVersion = keys, tls.VersionTLS13
	t := tls.Client(c.nc, config)
	_ = nc.SetDeadline(time.Now().Add(3 * patience))
	if err := t.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	c.up = newHand(r.t, t.ConnectionState(), keys["CLIENT_TRAFFIC_SECRET_0"])
	c.down = newHand(r.t, t.ConnectionState(), keys["SERVER_TRAFFIC_SECRET_0"])
	user, id, _ := strings.Cut(who, "/")
	p := &mqtt.Connect{
		Version: mqtt.V5, CleanStart: true, KeepAlive: 300, ClientID: id, Username: user, HasUsername: true,
		HasPassword: true, Password: []byte("pw-" + user), ReceiveMaximum: 65535,
	}
	c.send(c.up.seal(contentData, p.Append(nil, mqtt.V5, 0)))
	if b := c.data(); len(b) < 4 || mqtt.Type(b[0]>>4) != mqtt.CONNACK || b[3] != 0 {
		r.t.Fatalf("%s: % x, want CONNACK", who, b)
	}
	return c
}

func (c *roughClient) send(b []byte) {
	c.r.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.r.t.Fatal(err)
	}
}

// record is the next record of the server.
func (c *roughClient) record() (contentType byte, content []byte) {
	c.r.t.Helper()
	for {
		typ, content, rest, ok, err := c.down.open(c.in)
		if err != nil {
			c.r.t.Fatal(err)
		}
		if ok {
			c.in = rest
			return typ, content
		}
		buf := make([]byte, 4096)
		n, err := c.nc.Read(buf)
		if err != nil {
			c.r.t.Fatalf("want a record: %v\n%s", err, c.r.log)
		}
		c.in = append(c.in, buf[:n]...)
	}
}

// data is the content of the next record, which holds data.
func (c *roughClient) data() []byte {
	c.r.t.Helper()
	typ, content := c.record()
	if typ != contentData {
		c.r.t.Fatalf("record of type %d, % x", typ, content)
	}
	return content
}

// cutOff sends b until the broker has closed the connection.
func (c *roughClient) cutOff(b []byte) {
	c.r.t.Helper()
	_, _ = c.nc.Write(b) // it may be closed while this is under way
	_, err := io.Copy(io.Discard, c.nc)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		c.r.t.Fatalf("still open\n%s", c.r.log)
	}
}

// A handshake message that never ends is not collected: one record of it is borne,
// a second closes.
func TestHandshakeMessagesWithoutEndAreCutOff(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	t.Run("announcing 16 MiB", func(t *testing.T) {
		c := r.rough("mallory/a", 0)
		c.cutOff(c.up.seal(contentHandshake, []byte{messageCertificate, 0xFF, 0xFF, 0xFF}))
	})
	t.Run("announcing what crypto/tls would take", func(t *testing.T) {
		before := r.metrics.Value(metrics.ConnectionsClosedProtocol)
		c := r.rough("mallory/b", 0)
		c.send(c.up.seal(contentHandshake, append([]byte{messageCertificate, 3, 0xFF, 0xFF}, make([]byte, recordMax-100)...)))
		r.settle()
		r.becomes("connections, it and the bystander", 2, r.connections)
		c.cutOff(c.up.seal(contentHandshake, make([]byte, recordMax-100)))
		r.becomes("closed for it", before+1, func() int64 { return r.metrics.Value(metrics.ConnectionsClosedProtocol) })
		if !strings.Contains(r.log.String(), "TLS records without content") {
			t.Errorf("not in the log:\n%s", r.log)
		}
	})
	r.becomes("connections, the bystander", 1, r.connections)
	check()
}

// KeyUpdates between data are what an honest client may send: each is answered and
// the data is served.
func TestKeyUpdatesAreAnswered(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	c := r.rough("alice/keys", 0)
	for range 100 {
		c.send(append(c.up.update(keyUpdateWanted), c.up.seal(contentData, []byte{0xC0, 0})...))
		if typ, content := c.record(); typ != contentHandshake || content[0] != messageKeyUpdate {
			t.Fatalf("record of type %d % x, want a KeyUpdate", typ, content)
		}
		c.down.next()
		if b := c.data(); string(b) != "\xd0\x00" {
			t.Fatalf("% x, want PINGRESP", b)
		}
	}
}

// A client that asks for KeyUpdates and reads none is closed at cipherMax. A byte
// of a packet between them keeps both crypto/tls's own limit and barrenMax from
// ending it first.
func TestUnreadKeyUpdatesAreBounded(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	// What the kernel holds is little beside cipherMax. It is not as little as can be, and the answers to one write are
	// kilobytes: where many small segments fill a buffer, the client's kernel drops what comes, acknowledgements with it, and
	// neither side gets on.
	c := r.rough("mallory/keys", 32<<10)
	for _, l := range r.server.loops {
		done := make(chan struct{})
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			for _, c := range l.conns {
				if c != nil {
					_ = unix.SetsockoptInt(int(c.sock.(*fdSocket).fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 32<<10)
				}
			}
			close(done)
		}})
		<-done
	}
	slow := func() int64 { return r.metrics.Value(metrics.ConnectionsClosedSlow) }
	before := slow()
	c.send(c.up.seal(contentData, []byte{0x30, 0xFF, 0xFF, 0x1F})) // a packet of 512 KiB begins
	const batch, batches = 15, 64                                  // 16 without data are refused by crypto/tls
	sent := 0
	for ; slow() == before; sent += batch * batches {
		if sent*c.answer() > 8*cipherMax {
			t.Fatalf("%d KeyUpdates unanswered and still open", sent)
		}
		var b []byte
		for range batches {
			for range batch {
				b = append(b, c.up.update(keyUpdateWanted)...)
			}
			b = append(b, c.up.seal(contentData, []byte{0})...)
		}
		if _, err := c.nc.Write(b); err != nil {
			break // closed meanwhile
		}
	}
	r.becomes("closed as a slow reader", before+1, slow)
	if sent*c.answer() < cipherMax {
		t.Errorf("closed after %d KeyUpdates, before %d bytes of answers waited", sent, cipherMax)
	}
	r.becomes("connections, the bystander", 1, r.connections)
	check()
}

// answer is the size of a KeyUpdate's record.
func (c *roughClient) answer() int {
	return recordHead + len(keyUpdate) + 1 + c.down.aead.Overhead()
}

// The end of the connection within a record: nothing of the record is acted on.
func TestEndWithinARecord(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	watch := r.connect(mqtt.V5, "alice/watch")
	watch.subscribe("open/#", 0)
	c := r.rough("bob/cut", 0)
	p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte("cut")}
	b := c.up.seal(contentData, p.Append(nil, mqtt.V5))
	c.send(b[:len(b)-1])
	_ = c.nc.CloseWrite()
	r.becomes("connections, the watcher", 1, r.connections)
	watch.silent()
	// The same with the last byte, in two pieces, is a message.
	c = r.rough("bob/whole", 0)
	b = c.up.seal(contentData, p.Append(nil, mqtt.V5))
	c.send(b[:20])
	c.send(b[20:])
	watch.gets("open/x", "cut")
}
