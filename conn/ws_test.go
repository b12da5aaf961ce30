package conn

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// playWeb is play over WebSocket only.
func playWeb(t *testing.T, f func(r *rig), change ...func(*rig)) {
	change = append(change, overWebSocket)
	t.Run("portable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(newRig(t, change...)) })
	})
	t.Run("native", func(t *testing.T) { f(newRealRig(t, nil, change...)) })
	t.Run("native TLS", func(t *testing.T) { f(newRealRig(t, testCertificate(t), change...)) })
}

// raw writes what is no frame of the rig's making.
func (c *client) raw(b ...[]byte) {
	c.r.t.Helper()
	_ = c.nc.SetWriteDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.nc.(*webSocket).Conn.Write(bytes.Join(b, nil)); err != nil {
		c.r.t.Fatal(err)
	}
}

func (r *rig) connectBytes(v mqtt.Version, user string, change ...func(*mqtt.Connect)) []byte {
	p := &mqtt.Connect{Version: v, CleanStart: true, KeepAlive: 60, ClientID: "c", Username: user, HasUsername: true,
		HasPassword: true, Password: []byte("pw-" + user), ReceiveMaximum: 65535}
	for _, f := range change {
		f(p)
	}
	return p.Append(nil, v, 0)
}

// Whatever is wrong with a frame ends that client and nobody else, and the close
// frame says what it was (A143, A147).
//
// Covers: MQTT-6.0.0-1 (5.0), MQTT-6.0.0-1 (3.1.1)
func TestFramesThatCloseTheConnection(t *testing.T) {
	rows := []struct {
		name   string
		bytes  []byte
		status uint16
		reason mqtt.ReasonCode
	}{
		{"text", frame(0x81, []byte("hello")), statusData, mqtt.ProtocolError},
		{"unmasked", []byte{0x82, 2, 0xc0, 0}, statusProtocol, mqtt.ProtocolError},
		{"compressed", frame(0xc2, []byte{0xc0, 0}), statusProtocol, mqtt.ProtocolError},
		{"2^63 bytes", []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, statusProtocol, mqtt.ProtocolError},
		{"2^63 - 1 bytes", []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, statusTooBig, mqtt.PacketTooLarge},
		{"a fragmented ping", frame(0x09, nil), statusProtocol, mqtt.ProtocolError},
		{"a long ping", frame(0x89, make([]byte, 126)), statusProtocol, mqtt.ProtocolError},
		{"a continuation of nothing", frame(0x80, []byte{0xc0, 0}), statusProtocol, mqtt.ProtocolError},
		{"a packet of 256 MiB in a small frame", frame(0x82, []byte("\x30\xff\xff\xff\x7f")), statusNormal, mqtt.PacketTooLarge},
	}
	playWeb(t, func(r *rig) {
		check := r.bystander()
		for _, row := range rows {
			stranger := r.dial(mqtt.V5, row.name)
			stranger.raw(row.bytes)
			stranger.closed(noPacket)
			if got := stranger.nc.(*webSocket).end; got != row.status {
				t.Errorf("%s before CONNECT: close frame %d, want %d", row.name, got, row.status)
			}
			known := r.connect(mqtt.V5, "alice/c")
			known.name = row.name
			known.raw(row.bytes)
			known.closed(row.reason)
			if got := known.nc.(*webSocket).end; got != row.status {
				t.Errorf("%s: close frame %d, want %d", row.name, got, row.status)
			}
			check()
		}
		r.becomes("connections, the bystander's", 1, r.connections)
	})
}

// Packets and frames have nothing to do with each other [MQTT-6.0.0-2] (A011).
//
// Covers: MQTT-6.0.0-2 (5.0), MQTT-6.0.0-2 (3.1.1)
func TestPacketsNeedNotAlignWithFrames(t *testing.T) {
	playWeb(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("open/#", 1)
		for name, cut := range map[string]func(packets []byte) [][]byte{
			"all in one frame": func(b []byte) [][]byte { return [][]byte{frame(0x82, b)} },
			"a frame for each byte": func(b []byte) (out [][]byte) {
				for i := range b {
					out = append(out, frame(0x82, b[i:i+1]))
				}
				return out
			},
			"a fragment for each byte, and pings": func(b []byte) (out [][]byte) {
				out = append(out, frame(0x02, nil))
				for i := range b {
					out = append(out, frame(0x00, b[i:i+1]), frame(0x89, nil))
				}
				return append(out, frame(0x80, nil))
			},
		} {
			c := r.dial(mqtt.V5, name)
			b := r.connectBytes(mqtt.V5, "bob")
			for _, payload := range []string{"1", "2", "3"} {
				p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(payload)}
				b = p.Append(b, mqtt.V5)
			}
			c.raw(cut(b)...)
			c.expect(mqtt.CONNACK)
			for _, payload := range []string{"1", "2", "3"} {
				watch.gets("open/x", payload)
			}
			c.raw(frame(0x82, []byte("\xe0\x00")))
			c.closed(noPacket)
		}
	})
}

// What comes behind the request in the same segment belongs to the first frames.
func TestNothingBehindTheUpgradeIsLost(t *testing.T) {
	playWeb(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("open/#", 1)
		for _, size := range []int{1, 5_000, 30_000} {
			w := &webSocket{Conn: r.transport(), t: t}
			w.in = bufio.NewReader(w.Conn)
			p := mqtt.Publish{Topic: []byte("open/x"), Payload: bytes.Repeat([]byte("x"), size)}
			b := append([]byte(upgradeRequest), frame(0x82, r.connectBytes(mqtt.V5, "bob"))...)
			b = append(b, frame(0x82, p.Append(nil, mqtt.V5))...)
			go w.Conn.Write(b)
			w.upgraded()
			watch.gets("open/x", string(p.Payload))
			_ = w.Conn.Close()
		}
	})
}

// A close frame without a DISCONNECT is a lost connection; one right behind a
// DISCONNECT changes nothing.
func TestCloseFrameAndWill(t *testing.T) {
	will := func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte("gone")} }
	playWeb(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("open/#", 0)
		c := r.dial(mqtt.V5, "disconnect")
		// All of it before the verdict on the CONNECT, even.
		c.raw(frame(0x82, r.connectBytes(mqtt.V5, "bob", will)), frame(0x82, []byte("\xe0\x00")), frame(0x88, []byte{3, 0xe8}))
		c.expect(mqtt.CONNACK)
		c.closed(noPacket)
		watch.silent()

		c = r.connect(mqtt.V5, "bob/c", will)
		c.raw(frame(0x88, []byte{3, 0xe9}))
		c.closed(noPacket)
		if got := c.nc.(*webSocket).end; got != 1001 {
			t.Errorf("a close frame of 1001 is answered %d", got)
		}
		watch.gets("open/will", "gone")
		r.becomes("connections", 1, r.connections)
	})
}

// A flood of pings costs what reading them costs: only the latest is answered,
// and none of them proves that the client's MQTT is alive [MQTT-3.1.2-22].
func TestPingFlood(t *testing.T) {
	playWeb(t, func(r *rig) {
		check := r.bystander()
		c := r.connect(mqtt.V5, "alice/c")
		before := r.metrics.Value(metrics.BytesSent)
		flood := bytes.Repeat(frame(0x89, []byte("still there?")), 20_000)
		c.raw(flood)
		c.send([]byte{0xc0, 0})
		c.expect(mqtt.PINGRESP)
		check()
		if sent := r.metrics.Value(metrics.BytesSent) - before; sent > int64(len(flood)/4) {
			t.Errorf("%d bytes of pings were answered with %d", len(flood), sent)
		}
		for range 8 {
			r.pass(10 * time.Second)
			c.raw(frame(0x89, nil))
			r.settle()
		}
		r.pass(11 * time.Second)
		c.closed(mqtt.KeepAliveTimeout)
		if c.nc.(*webSocket).pongs == 0 {
			t.Error("no ping was answered")
		}
	})
}

// One deadline from accept to CONNECT, whatever is held back.
func TestHalfAnythingIsClosedAtTheDeadline(t *testing.T) {
	playWeb(t, func(r *rig) {
		connect := frame(0x82, r.connectBytes(mqtt.V5, "bob"))
		for name, text := range map[string]string{
			"nothing":        "",
			"half a request": upgradeRequest[:len(upgradeRequest)-1],
			"half a head":    upgradeRequest + string(connect[:3]),
			"half a frame":   upgradeRequest + string(connect[:len(connect)-1]),
			"a large frame":  upgradeRequest + "\x82\xff\x00\x00\x00\x00\x00\xff\xff\xff\x00\x00\x00\x00\x10",
		} {
			nc := r.transport()
			ended := make(chan error, 1)
			r.running(func() {
				_, err := io.Copy(io.Discard, nc)
				ended <- err
			})
			if _, err := io.WriteString(nc, text); err != nil {
				t.Fatal(name, err)
			}
			r.settle()
			r.becomes(name+": connections", 1, r.connections)
			r.pass(8 * time.Second)
			r.becomes(name+": connections after 8 s", 1, r.connections)
			r.pass(2 * time.Second)
			r.becomes(name+": connections after 10 s", 0, r.connections)
			<-ended
			_ = nc.Close()
			r.pass(20 * time.Second)
		}
	})
}

// A refused request is answered, and the connection ends.
func TestRefusedUpgrades(t *testing.T) {
	playWeb(t, func(r *rig) {
		check := r.bystander()
		for status, text := range map[int]string{
			403: strings.Replace(upgradeRequest, "Host", "Origin: https://evil.example\r\nHost", 1),
			404: strings.Replace(upgradeRequest, "/mqtt", "/", 1),
			400: strings.Replace(upgradeRequest, "foo, mqtt", "foo", 1),
			426: strings.Replace(upgradeRequest, "Version: 13", "Version: 7", 1),
			431: "GET /mqtt HTTP/1.1\r\nX: " + strings.Repeat("x", listener.UpgradeBytesMax),
		} {
			nc := r.transport()
			go io.WriteString(nc, text) // to a pipe, which takes only what is read
			in := bufio.NewReader(nc)
			answer, err := http.ReadResponse(in, nil)
			if err != nil || answer.StatusCode != status {
				t.Fatalf("%d: %v, %v", status, answer, err)
			}
			if rest, err := io.ReadAll(in); len(rest) > 0 || (err != nil && status != 431) {
				t.Errorf("%d: %q and %v behind the answer", status, rest, err)
			}
			_ = nc.Close()
			check()
		}
		r.becomes("connections, the bystander's", 1, r.connections)
		if !strings.Contains(r.log.String(), "evil.example") {
			t.Errorf("the operator is not told which origin it was:\n%s", r.log)
		}
	})
}
