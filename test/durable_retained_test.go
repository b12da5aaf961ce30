package test

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TestKill9BetweenSubackAndTheEndOfItsRetainedMessages: what a SUBACK promised of
// retained messages comes, whenever the broker is killed, and at QoS 2 once.
func TestKill9BetweenSubackAndTheEndOfItsRetainedMessages(t *testing.T) {
	faults(t, false, func(t *testing.T, k *killable) {
		const messages, kills = 120, 3
		pub, _ := k.enter(mqtt.V5, "pub")
		for i := range messages {
			if rc := pub.tell(mine(fmt.Sprintf("kept/%d/v", i)), fmt.Sprint("m", i), 2, retained, atQoS2(9, false)); rc.Failed() {
				t.Fatalf("PUBREC %v", rc)
			}
			pub.release(9)
		}
		w, _ := k.enter(mqtt.V311, "sub")
		w.subscribe(mine("kept/+/v"), 2)
		w.leave()
		k.restart() // nothing was read of what SUBACK promised
		w = k.back(mqtt.V311, "sub")
		times := make(map[string]int)
		for n := 0; len(times) < messages; n++ {
			if n > 0 && n <= kills {
				_ = w.conn.Close()
				k.restart()
				w = k.back(mqtt.V311, "sub")
			}
			for range 29 {
				if len(times) == messages {
					break
				}
				m := w.take()
				if payload := string(m.Payload); times[payload] > 0 {
					t.Fatalf("%s comes again", payload)
				}
				times[string(m.Payload)]++
				w.answer(mqtt.PUBREC, m.PacketID)
				w.wantRelease(m.PacketID)
				w.answer(mqtt.PUBCOMP, m.PacketID)
			}
		}
		w.wantAlive() // so the acknowledgements have been read
		w.leave()
		k.restart()
		w, pub = k.back(mqtt.V311, "sub"), k.back(mqtt.V5, "pub")
		pub.tell(mine("kept/end/v"), "end", 1)
		if got := w.hear("end", false); len(got) > 0 {
			t.Errorf("when all was over %d came again: %q", len(got), got)
		}
	})
}
