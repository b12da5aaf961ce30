package session

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Whatever a client acknowledges, no more is sent than a crash may repeat until the log
// has it; then it goes on by itself.
func TestACrashRepeatsAWindow(t *testing.T) {
	for _, c := range []struct{ window, most int }{{32, 32}, {20, 20}, {1, repeatLeast}} {
		lim := keptLimits
		lim.InflightMax, lim.MqueueMessages = c.window, 100
		k := newKeeper(t, lim)
		sent := 0
		var answer func(outs []Out)
		answer = func(outs []Out) { // acknowledges whatever comes, and what that brings
			for i := range outs {
				if o := &outs[i]; o.Kind == OutPublish {
					sent++
					more, err := k.s.Puback(now0, o.ID, nil)
					if err != nil {
						t.Fatal(err)
					}
					answer(more)
				}
				outs[i].Done()
			}
		}
		answer(k.s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 1000, ExpirySeconds: 100}, nil))
		for range 3 * repeatLeast {
			seq := k.message(1)
			if !k.s.Ahead(k.frames[seq]) {
				t.Fatal("the read-ahead is full")
			}
			answer(k.s.Deliver(now0, Delivery{Frame: k.frames[seq], Seq: seq, QoS: 1}, nil))
		}
		if sent != c.most {
			t.Errorf("window %d: %d messages were sent that a crash would repeat, want %d", c.window, sent, c.most)
		}
		if _, _, must := k.s.Unsaved(); !must {
			t.Errorf("window %d: nobody hears that the session waits for the log", c.window)
		}
		_, _, said := k.outbox()
		answer(k.s.Stored(now0, said, nil))
		if want := min(2*c.most, 3*repeatLeast); sent != want {
			t.Errorf("window %d: %d messages were sent when the log had the first, want %d", c.window, sent, want)
		}
		k.close()
	}
}
