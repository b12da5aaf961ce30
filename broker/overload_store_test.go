package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A store that is too slow keeps out who would wait for it, and nobody else; what every
// session needs keeps out everybody.
func TestASlowStoreKeepsOutOnlyWhoNeedsIt(t *testing.T) {
	for name, c := range map[string]struct {
		version mqtt.Version
		clean   bool
		expiry  uint32
		most    uint32 // mqtt.session_expiry_max
		in      bool
	}{
		"v5 that ends with its connection":   {mqtt.V5, false, 0, 1000, true},
		"v5 that does not, with clean start": {mqtt.V5, true, 10, 1000, false},
		"v5 where no session is kept":        {mqtt.V5, false, 10, 0, true},
		"v3 clean":                           {mqtt.V311, true, 0, 1000, true},
		"v3 not clean":                       {mqtt.V311, false, 0, 1000, false},
	} {
		for _, of := range []load.Shortage{load.OfStore, load.OfMemory, load.OfLoops} {
			k := newKeptDesk(t, 1, func(s *Settings) { s.SessionExpiryMax = c.most })
			k.b.Press(load.Fine, &Short{Of: of, Why: "too little"})
			g := k.knock("new", func(m *mqtt.Connect) { m.Version, m.CleanStart, m.SessionExpiry = c.version, c.clean, c.expiry })
			if in := g.refused == nil; in != (c.in && of == load.OfStore) {
				t.Errorf("%s, short of %d: refused with %v", name, of, g.refused)
			}
			if g.refused != nil && g.refused.Reason != mqtt.ServerBusy {
				t.Errorf("%s, short of %d: %v", name, of, g.refused)
			}
			if n := k.metrics.Value(metrics.OverloadRefused.At(int(of))); (n == 0) != (g.refused == nil) {
				t.Errorf("%s, short of %d: %d refusals are counted", name, of, n)
			}
		}
	}
}

// Who is let in while the disk does nothing is served: nothing it does waits for the disk,
// as long as no session that is kept wants its messages.
func TestWhoNeedsNoStoreIsServedWhileItStands(t *testing.T) {
	k := newKeptDesk(t, 1)
	kept, stuck := k.join(0, "kept"), k.join(0, "stuck")
	k.hears(kept, "open/kept", 1)
	stuck.publish("open/kept", "x", 1, 1)
	k.turn() // and from now on nothing comes to the disk
	k.b.Press(load.Fine, &Short{Of: load.OfStore, Why: "the store is too slow"})
	sub, pub := k.knock("sub", fleeting), k.knock("pub", fleeting)
	if sub.refused != nil || pub.refused != nil || sub.waits || pub.waits {
		t.Fatalf("sub: %v, pub: %v", sub.refused, pub.refused)
	}
	sub.take()
	pub.take()
	sub.subscribe("open/x", 1)
	k.turn()
	pub.publish("open/x", "at once", 1, 1)
	k.turn()
	if got := sub.got(1); got != "at once" {
		t.Errorf("received %q", got)
	}
	pub.expect("PUBACK #1")
	stuck.expect("") // it waits as it must
	k.rest()
	stuck.expect("PUBACK #1")
}
