package conn

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// holding is what the broker holds for clients that do not read.
type holding struct {
	frames map[*mqtt.Frame]bool // waiting on a connection
	cipher int                  // bytes encrypted and not taken by the kernel
	most   int                  // of one connection
}

func (r *rig) holding() (h holding) {
	h.frames = map[*mqtt.Frame]bool{}
	r.onLoops(func(l *Loop) {
		for _, c := range l.conns {
			if c == nil {
				continue
			}
			s := c.sock.(*fdSocket)
			h.cipher, h.most = h.cipher+s.left(), max(h.most, int(s.Held()))
			if q := c.out.list; q != nil {
				for i := q.head; i < len(q.items); i++ {
					if f := q.items[i].Frame; f != nil {
						h.frames[f] = true
					}
				}
			}
		}
	})
	return h
}

// heap is what lives, bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one only sets pools aside
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// listens connects over TLS, subscribes, and reads no further.
func (r *rig) listens(id string, filter string) *tls.Conn {
	r.t.Helper()
	nc := r.knock()
	c := tls.Client(nc, r.real.tls)
	connect := mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: id, Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), KeepAlive: 3000}
	sub := mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: filter}}}
	if _, err := c.Write(sub.Append(connect.Append(nil, mqtt.V311, 0), mqtt.V311, 0)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4+5)); err != nil { // CONNACK and SUBACK
		r.t.Fatal(err)
	}
	return c
}

// sendBuffers sets what the broker's kernel takes for each connection.
func (r *rig) sendBuffers(n int) {
	r.onLoops(func(l *Loop) {
		for _, c := range l.conns {
			if c != nil {
				_ = unix.SetsockoptInt(int(c.sock.(*fdSocket).fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n)
			}
		}
	})
}

// Messages of 1 MiB to 200 TLS subscribers that do not read cost the messages once
// and one quantum of ciphertext for each of them, not 200 copies (A073). Those that
// begin to read get every byte; those that never do are closed as slow readers at
// stuckMax and leave nothing.
func TestLargeMessagesToManySlowTLSReaders(t *testing.T) {
	const readers, reading, messages, size = 200, 20, 2, 1 << 20
	r := newRealRig(t, testCertificate(t), func(r *rig) { r.set.PacketBytes, r.set.KeepAliveMaxV3 = 2<<20, 3600 })
	check := r.bystander()
	pub := r.connect(mqtt.V5, "bob/p", func(c *mqtt.Connect) { c.KeepAlive = 300 })
	var slow []*tls.Conn
	for i := range readers {
		slow = append(slow, r.listens(fmt.Sprint(i), "open/#"))
	}
	r.sendBuffers(16 << 10)
	body := bytes.Repeat(pattern(1<<10), size>>10)
	text := string(body)
	before := heap()
	for i := range messages {
		pub.publish("open/x", text, 1, uint16(i+1))
		pub.acked(mqtt.PUBACK, uint16(i+1))
	}
	r.settle()

	h := r.holding()
	if n := len(h.frames); n == 0 || n > messages {
		t.Errorf("%d frames wait on connections; there are %d messages, which they share", n, messages)
	}
	const quantum = writeMax + writeMax/recordMax*64 // what one write makes, encrypted
	if h.cipher == 0 || h.cipher > readers*quantum || h.most > 2*bufferMax+bufferMin {
		t.Errorf("%d bytes of ciphertext, at most %d on one connection; want at most %d for each of %d", h.cipher, h.most, quantum, readers)
	}
	// The messages, the publisher's copies, and a buffer for each reader, twice.
	grown, most := heap()-before, int64(4*messages*size+2*readers*2*bufferMax)
	t.Logf("%d KiB of ciphertext, heap grew by %d KiB; copies would be %d KiB", h.cipher>>10, grown>>10, readers*messages*size>>10)
	if grown > most {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, most)
	}
	turns := r.metrics.Value(metrics.LoopTurns)
	check()
	if turns = r.metrics.Value(metrics.LoopTurns) - turns; turns > 500 {
		t.Errorf("%d turns for one bystander's message", turns)
	}

	for i, c := range slow[:reading] {
		_ = c.SetDeadline(time.Now().Add(3 * patience))
		if err := gets(c, body, messages); err != nil {
			t.Fatalf("reader %d: %v", i, err)
		}
	}
	closed := func() int64 { return r.metrics.Value(metrics.ConnectionsClosedSlow) }
	if n := closed(); n != 0 {
		t.Errorf("%d closed before the time", n)
	}
	r.pass(stuckMax + 2*time.Second)
	r.becomes("closed as slow readers", readers-reading, closed)
	r.becomes("connections", reading+2, r.connections)
	if h = r.holding(); len(h.frames) != 0 || h.cipher != 0 {
		t.Errorf("%d frames and %d bytes of ciphertext are still there", len(h.frames), h.cipher)
	}
	if left := heap() - before; left > 4*messages*size {
		t.Errorf("the heap has %d bytes more than before", left)
	}
	check()
	runtime.KeepAlive(slow)
}

// gets reads n messages of body and nothing else.
func gets(c *tls.Conn, body []byte, n int) error {
	p := mqtt.Publish{Topic: []byte("open/x"), Payload: body}
	want := p.Append(nil, mqtt.V311)
	chunk := make([]byte, 64<<10)
	for range n {
		for at := 0; at < len(want); {
			got, err := c.Read(chunk[:min(len(chunk), len(want)-at)])
			if err != nil {
				return err
			}
			if !bytes.Equal(chunk[:got], want[at:at+got]) {
				return fmt.Errorf("other bytes behind %d", at)
			}
			at += got
		}
	}
	return nil
}

// Half a ClientHello costs no processor, however long it waits: in a minute of the
// broker's time the loops go round as often as with sockets that say nothing, which
// is as often as the test asks them to.
func TestHalfAClientHelloSleepsForAMinute(t *testing.T) {
	r := newRealRig(t, testCertificate(t))
	check := r.bystander()
	check()
	hello := r.clientHello()
	minute := func(first []byte) int64 {
		before := r.metrics.Value(metrics.LoopTurns)
		for range 6 { // one after the other, each for as long as the deadline lets it
			nc := r.knock()
			if _, err := nc.Write(first); err != nil {
				t.Fatal(err)
			}
			r.calm(nc)
			r.pass(10 * time.Second)
			r.cut(nc, nil)
		}
		return r.metrics.Value(metrics.LoopTurns) - before
	}
	silent := minute(nil)
	if half := minute(hello[:len(hello)/2]); half > silent+silent/4 {
		t.Errorf("%d turns in a minute with half a ClientHello, %d with nothing at all", half, silent)
	}
	check()
}
