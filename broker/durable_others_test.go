package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// What many filters want counts against the limits of those only who want it.
func TestBroadMessagesOfOthersDropNothing(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newKeptDesk(t, 1, func(s *Settings) { s.Session.MqueueMessages = 10 })
		victim, pub := k.join(0, "victim"), k.join(0, "pub")
		k.hears(victim, "open/victim", 1)
		for i := range 5 {
			m := k.join(0, fmt.Sprint("mallory", i), func(c *mqtt.Connect) { c.SessionExpiry = 1000 })
			for j := range 10 {
				n := i*10 + j + 1
				f := "open"
				for b, l := range []string{"/a", "/b", "/c", "/d", "/x", "/y"} {
					if n>>b&1 == 1 {
						l = "/+"
					}
					f += l
				}
				k.hears(m, f, 1)
			}
			m.cut()
		}
		victim.cut()
		k.say(pub, "open/victim", 1, 3)
		for i := range uint16(20) {
			pub.publish("open/a/b/c/d/x/y", "noise", 1, 100+i)
			k.flush()
		}
		if crash {
			k.crash()
		}
		if got := k.drink(k.back("victim")); got != series(1, 3) {
			t.Errorf("crash %v: received %q", crash, got)
		}
	}
}

// The same for what a session publishes itself and does not want back.
func TestOwnMessagesDropNothing(t *testing.T) {
	k := newKeptDesk(t, 1, func(s *Settings) { s.Session.MqueueMessages = 10 })
	c, pub := k.join(0, "c", window(1)), k.join(0, "pub")
	k.hears(c, "open/#", 1, func(s *mqtt.Subscription) { s.NoLocal = true })
	for i := range uint16(15) {
		pub.publish("open/a", fmt.Sprint("m", i+1), 1, i+1)
		k.flush()
	}
	for i := range uint16(20) {
		c.publish("open/a", "own", 1, 100+i)
		k.flush()
	}
	if got := k.drink(c); got != series(1, 15) {
		t.Errorf("received %q", got)
	}
}
