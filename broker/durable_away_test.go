package broker

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// lean fails if the home keeps something of a session that only a connection needs, or one that is behind.
func (s seat) lean() {
	s.d.t.Helper()
	r := s.resident()
	if r.log.passing != &passed || r.rates.spent != nil || r.rates.talk != 0 || r.some != nil {
		s.d.t.Errorf("%s keeps %+v, spent %v, row %d, %+v", r.by.Identity, r.log.passing, r.rates.spent, r.rates.talk, r.some)
	}
	if passed != (passing{}) || unshared != (shared{}) {
		s.d.t.Fatal("what all sessions share was written")
	}
}

// Whoever is away, and for whom nothing waits, has nothing that its connection needed; and it gets what comes
// later all the same, and is behind with that only until it has come back for it.
func TestAwayKeepsWhatTheLogHasNot(t *testing.T) {
	k := newKeptDesk(t, 2, func(s *Settings) {
		s.SubscribeRate = SubscribeRate{Filters: 10, Burst: time.Second}
		s.RetainedRate = RetainedRate{Messages: 100, Burst: time.Second}
	})
	pub := k.join(1, "pub")
	pub.publish("open/r", "kept", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
	k.rest()
	a := k.join(0, "a", window(2))
	k.hears(a, "open/#", 2)
	a.words()
	for round := range 3 {
		pub.publish("open/x", "one", 2, 1)
		pub.publish("open/x", "two", 1, 2)
		k.rest()
		for range 4 { // QoS 2 needs two more words than QoS 1
			for _, o := range a.take() {
				switch {
				case o.Frame != nil && o.QoS() == 2:
					a.ack(mqtt.PUBREC, o.ID)
				case o.Frame != nil && o.QoS() == 1:
					a.ack(mqtt.PUBACK, o.ID)
				case o.Ack == mqtt.PUBREL:
					a.ack(mqtt.PUBCOMP, o.ID)
				}
				o.Done()
			}
			k.rest()
		}
		pub.h().Ack(k.now, pub.ref, &mqtt.Ack{Type: mqtt.PUBREL, PacketID: 1})
		a.cut()
		k.rest()
		for range 4 {
			k.pass(talkSeldom)
		}
		a.lean()

		pub.publish("open/y", "three", 1, 3)
		pub.publish("open/y", "four", 1, 4)
		pub.publish("open/y", "five", 1, 5)
		k.rest()
		if l := a.resident().log.lag; l.messages != 3 {
			t.Errorf("round %d: %+v waits, want three messages", round, l)
		}
		if round == 1 {
			k.crash()
			pub = k.back("pub")
			if l := (seat{d: k.desk, home: 0, ref: Ref{Slot: 0, Gen: 1}}).resident().log.lag; l.messages != 3 {
				t.Errorf("after a crash %+v waits, want three messages", l)
			}
		}
		a = k.back("a", window(2))
		k.rest()
		got := a.got(1)
		for range 4 {
			for _, o := range a.take() {
				if o.Frame != nil {
					a.ack(mqtt.PUBACK, o.ID)
				}
				o.Done()
			}
			k.rest()
			got += " " + a.got(1)
		}
		if want := "three four five"; len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("round %d: %q came, want %q", round, got, want)
		}
	}
}
