package client

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// wire is a net.Conn whose incoming side is any reader.
type wire struct {
	net.Conn
	r interface{ Read([]byte) (int, error) }
}

func (w wire) Read(b []byte) (int, error) { return w.r.Read(b) }

func TestPacketsComeWholeHoweverTheBytesCome(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 127, 128, 5000, readBufferBytes, 5 * readBufferBytes, 3, 0}
	for _, n := range sizes {
		stream = (&mqtt.Publish{Topic: []byte("t"), Payload: bytes.Repeat([]byte{byte(n)}, n)}).Append(stream, mqtt.V5)
	}
	for name, r := range map[string]*reader{
		"at once":      {conn: wire{r: bytes.NewReader(stream)}},
		"byte by byte": {conn: wire{r: iotest.OneByteReader(bytes.NewReader(stream))}},
		"halves":       {conn: wire{r: iotest.HalfReader(bytes.NewReader(stream))}},
		"end with it":  {conn: wire{r: iotest.DataErrReader(bytes.NewReader(stream))}},
	} {
		r.version, r.limit = mqtt.V5, 1<<20
		for _, n := range sizes {
			h, body, err := r.packet()
			var m mqtt.Publish
			if err == nil {
				err = mqtt.DecodePublishClient(body, h, mqtt.V5, packetLimits, &m)
			}
			if err != nil || len(m.Payload) != n || len(bytes.Trim(m.Payload, string([]byte{byte(n)}))) != 0 {
				t.Fatalf("%s: payload of %d bytes came as %d (%v)", name, n, len(m.Payload), err)
			}
		}
		if _, _, err := r.packet(); !isEnd(err) {
			t.Errorf("%s: after the last packet: %v", name, err)
		}
	}
}

// A header may announce a quarter of a gigabyte; nothing is allocated for it.
func TestAnnouncedLengthIsNotBelieved(t *testing.T) {
	r := &reader{conn: wire{r: strings.NewReader("\x30\xff\xff\xff\x7f" + "abc")}, version: mqtt.V5, limit: mqtt.RemainingMax + 5}
	if _, _, err := r.packet(); !isEnd(err) {
		t.Errorf("got %v", err)
	}
	if cap(r.buf) > readBufferBytes {
		t.Errorf("%d bytes were allocated for 8", cap(r.buf))
	}
}

// FuzzServer feeds arbitrary bytes to a client after CONNACK: it must neither
// panic nor hang, and end with an error in words.
func FuzzServer(f *testing.F) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		for _, p := range [][]byte{
			(&mqtt.Publish{Topic: []byte("a"), QoS: 2, PacketID: 1, Payload: []byte("x")}).Append(nil, v),
			(&mqtt.Ack{Type: mqtt.PUBREL, PacketID: 1}).Append(nil, v, 0),
			(&mqtt.Ack{Type: mqtt.PUBREC, PacketID: 9, Reason: mqtt.NotAuthorized}).Append(nil, v, 0),
			(&mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{mqtt.NotAuthorized}}).Append(nil, v, 0),
			mqtt.AppendPingresp(nil),
		} {
			f.Add(byte(v), p)
		}
	}
	f.Add(byte(5), (&mqtt.Disconnect{Reason: mqtt.ServerMoved, ReasonString: "\x1b[31m", ServerReference: "b"}).Append(nil, mqtt.V5, 0))
	f.Fuzz(func(t *testing.T, version byte, data []byte) {
		near, far := net.Pipe()
		o := DefaultOptions()
		o.complete()
		o.Connect.Version = mqtt.V5
		if version != 5 {
			o.Connect.Version = mqtt.V311
		}
		o.Receive, o.Connect.TopicAliasMaximum = true, 4
		c := &Client{opt: o, conn: near, version: o.Connect.Version, began: o.Clock.Now()}
		c.start(&reader{conn: near, version: c.version, limit: 1 << 20})
		server := fake.NewConn(t, far)
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := far.Read(buf); err != nil {
					return
				}
			}
		}()
		server.Send(data)
		_ = far.Close()
		<-c.Done()
		for {
			if _, err := c.Next(t.Context()); err != nil {
				break
			}
		}
		c.Close()
		text := c.Err().(*Error).Text()
		if text == "" || strings.ContainsAny(text, "\x1b\x00\r") {
			t.Errorf("the error reads %q", text)
		}
	})
}
