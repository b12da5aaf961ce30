package test

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TestKill9Delayed: a delayed message that was acknowledged is published once, whether its
// time comes while the broker is dead or after the next start.
func TestKill9Delayed(t *testing.T) {
	t.Parallel()
	k := newKillable(t, false)
	sub, _ := k.enter(mqtt.V5, "sub")
	sub.subscribe(mine("x"), 1)
	witness, _ := k.enter(mqtt.V5, "witness")
	witness.subscribe(mine("x"), 1)
	witness.leave()
	pub, _ := k.enter(mqtt.V5, "pub")
	at := time.Now()
	for _, m := range []struct {
		seconds, payload string
		qos              mqtt.QoS
	}{{"1", "dead", 1}, {"3600", "never", 1}, {"2", "alive", 2}} {
		if rc := pub.tell("$delayed/"+m.seconds+"/"+mine("x"), m.payload, m.qos); rc != mqtt.Success {
			t.Fatalf("%s: %v", m.payload, rc)
		}
	}
	k.kill()
	<-time.After(time.Until(at.Add(1100 * time.Millisecond)))
	k.again()
	sub = k.back(mqtt.V5, "sub")
	for _, want := range []string{"dead", "alive"} {
		m := sub.take()
		if string(m.Payload) != want {
			t.Errorf("%s came, want %s", m.Payload, want)
		}
		sub.answer(mqtt.PUBACK, m.PacketID)
	}
	if took := time.Since(at); took < 2*time.Second {
		t.Errorf("all came after %v", took)
	}
	k.restart()
	pub = k.back(mqtt.V5, "pub")
	if rc := pub.tell(mine("x"), "end", 1); rc != mqtt.Success {
		t.Error(rc)
	}
	witness = k.back(mqtt.V5, "witness") // has acknowledged nothing, so what it gets was published
	for _, want := range []string{"dead", "alive", "end"} {
		if m := witness.take(); string(m.Payload) != want {
			t.Errorf("%s was published, want %s", m.Payload, want)
		}
	}
}
