package session

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Room is how many messages more are sent at once: as many as are then sent, for any
// window, also of a session that tells the log what has ended.
func TestRoomIsWhatIsSent(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, kept := range []bool{false, true} {
		for _, window := range []uint16{1, 5, 40} {
			s := New(Key{ClientID: "c"}, 1, &Limits{InflightMax: 30, MqueueMessages: 100, MqueueBytes: 1 << 20})
			if kept {
				s.Keep()
			}
			if s.Room() != 0 {
				t.Errorf("room for %d without a connection", s.Room())
			}
			s.Attach(now, Attachment{Version: mqtt.V5, ReceiveMaximum: window, ExpirySeconds: 100}, nil)
			seq := uint64(0)
			for round := range 4 {
				room, sent := s.Room(), 0
				for range 50 {
					f := mqtt.NewFrame([]byte("a"), nil, []byte("x"))
					f.QoS = 1
					d := Delivery{Frame: f, QoS: 1}
					if seq++; kept {
						d.Seq = seq
					}
					if !s.Accepting() {
						f.Release()
						break
					}
					sent += len(s.Deliver(now, d, nil))
					f.Release()
				}
				if sent != room {
					t.Errorf("kept %v, window %d, round %d: room for %d, sent %d", kept, window, round, room, sent)
				}
				for i := len(s.out.inflight); i > 0; i-- { // some are acknowledged
					if i%2 == 0 {
						if _, err := s.Puback(now, s.out.inflight[i-1].id, nil); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			s.Congest()
			if s.Room() != 0 {
				t.Errorf("room for %d behind a full socket", s.Room())
			}
			s.Discard()
		}
	}
}
