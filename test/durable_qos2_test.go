package test

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TestKill9QoS2: broker and clients lose each other at any moment of the four
// steps, and every message is delivered once.
func TestKill9QoS2(t *testing.T) {
	p := plan{row: "R-02", qos: 2, publishers: 8, subscribers: 8, messages: 10_000, least: 1_000, kills: 5, cuts: 12, budget: 6 * time.Second}
	p.run(t).judge()
}

// atQoS2 marks a publish of this identifier.
func atQoS2(id uint16, dup bool) func(*mqtt.Publish) {
	return func(p *mqtt.Publish) { p.QoS, p.PacketID, p.Dup = 2, id, dup }
}

// TestKill9BetweenTheStepsIn: a publisher's identifier is known after a kill in any
// state it may be in: received and not released, released, and free again.
func TestKill9BetweenTheStepsIn(t *testing.T) { faults(t, false, stepsIn) }

func stepsIn(t *testing.T, k *killable) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		id := "in-" + v.String()
		watch, _ := k.enter(v, "watch-"+id)
		watch.subscribe(mine(id), 1)
		watch.leave() // until the end: what it gets then is what was delivered
		pub, _ := k.enter(v, id)
		for n, payload := range []string{"first", "second"} {
			if rc := pub.tell(mine(id), payload, 2, atQoS2(uint16(5+n), false)); rc.Failed() {
				t.Fatalf("PUBREC %v", rc)
			}
		}

		k.restart()
		pub = k.back(v, id)
		for n, payload := range []string{"first", "second"} { // PUBREC was lost, as far as the client knows
			if rc := pub.tell(mine(id), payload, 2, atQoS2(uint16(5+n), true)); rc.Failed() {
				t.Errorf("PUBREC %v", rc)
			}
		}
		if rc := pub.release(5); rc != mqtt.Success {
			t.Errorf("%v: PUBCOMP of an identifier that was received: %v", v, rc)
		}

		k.restart()
		pub = k.back(v, id)
		if rc := pub.release(5); rc != mqtt.Success && rc != mqtt.PacketIdentifierNotFound { // PUBCOMP was lost
			t.Errorf("PUBCOMP %v", rc)
		}
		if rc := pub.release(6); rc != mqtt.Success {
			t.Errorf("%v: PUBCOMP of an identifier that was received two starts ago: %v", v, rc)
		}
		if rc := pub.tell(mine(id), "third", 2, atQoS2(5, false)); rc.Failed() { // 5 is free again
			t.Errorf("PUBREC %v", rc)
		}
		pub.release(5)

		k.restart()
		watch = k.back(v, "watch-"+id)
		watch.tell(mine(id), "end", 1)
		want := []string{mine(id) + "=first", mine(id) + "=second", mine(id) + "=third"}
		if got := watch.hear("end", false); !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
	}
}

// TestKill9BetweenTheStepsOut: what a subscriber was sent at QoS 2 keeps its identifier
// and its state: the client knows the message by nothing else.
func TestKill9BetweenTheStepsOut(t *testing.T) { faults(t, false, stepsOut) }

func stepsOut(t *testing.T, k *killable) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		id := "out-" + v.String()
		w, _ := k.enter(v, id)
		w.subscribe(mine(id), 2)
		pub, _ := k.enter(v, "pub-"+id)
		for _, payload := range []string{"first", "second"} {
			pub.tell(mine(id), payload, 2, atQoS2(9, false))
			pub.release(9)
		}
		first, second := w.take(), w.take()
		if string(first.Payload) != "first" || string(second.Payload) != "second" || first.QoS != 2 {
			t.Fatalf("%v: got %q and %q", v, first.Payload, second.Payload)
		}

		k.restart() // PUBLISH was sent
		w = k.back(v, id)
		for _, was := range []mqtt.Publish{first, second} {
			m := w.take()
			if string(m.Payload) != string(was.Payload) || m.PacketID != was.PacketID || !m.Dup {
				t.Fatalf("%v: after a kill %q comes as %d, DUP %v; before it was %q as %d", v, m.Payload, m.PacketID, m.Dup, was.Payload, was.PacketID)
			}
		}
		w.answer(mqtt.PUBREC, first.PacketID)
		w.wantRelease(first.PacketID)

		k.restart() // PUBREL was sent
		w = k.back(v, id)
		w.wantRelease(first.PacketID)
		if m := w.take(); string(m.Payload) != "second" || m.PacketID != second.PacketID {
			t.Fatalf("%v: after a kill %q comes as %d, want the second", v, m.Payload, m.PacketID)
		}
		w.answer(mqtt.PUBCOMP, first.PacketID)
		w.answer(mqtt.PUBREC, second.PacketID)
		w.wantRelease(second.PacketID)
		w.answer(mqtt.PUBCOMP, second.PacketID)
		w.wantAlive() // so it has been read

		k.restart() // all is settled, or asked for once more
		w = k.back(v, id)
		pub = k.back(v, "pub-"+id)
		pub.tell(mine(id), "end", 2, atQoS2(9, false))
		if got := w.hear("end", false); len(got) > 0 { // a PUBREL again is answered and no delivery
			t.Errorf("%v: delivered again: %q", v, got)
		}
		w.leave()
		pub.leave()
	}
}

// wantRelease waits for PUBREL of an identifier; a PUBLISH before it is put aside.
func (w *wire) wantRelease(id uint16) {
	w.t.Helper()
	w.wantAck(mqtt.PUBREL, id)
}
