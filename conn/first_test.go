package conn

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// A first packet that is not CONNECT is refused at its first two bytes, without
// waiting for a body, and a CONNECT's body under another head lets nobody in
// (A002).
func TestTheFirstPacketIsConnect(t *testing.T) {
	connect := (&mqtt.Connect{Version: mqtt.V5, ClientID: "x", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 1}).Append(nil, mqtt.V5, 0)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for head := 0x20; head <= 0xF0; head += 0x10 {
			first := byte(head)
			switch head {
			case 0x60, 0x80, 0xA0:
				first |= 2 // the flags these types must have
			}
			c := r.dial(mqtt.V5, "stranger")
			c.send([]byte{first, 60})
			c.closed(noPacket)
			c = r.dial(mqtt.V5, "stranger")
			_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second)) // it is closed while this is under way
			_, _ = c.nc.Write(append([]byte{first}, connect[1:]...))
			c.closed(noPacket)
		}
		r.becomes("sessions", 0, r.sessions)
	})
}
