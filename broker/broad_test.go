package broker

import (
	"fmt"
	"testing"
)

// A message that comes in the middle of one for many, for many itself or not, leaves what is
// sent after it a part of that one; and where none is under way nothing is left on.
func TestAMessageInsideOneForMany(t *testing.T) {
	for _, subs := range []int{1, broadMin} {
		for _, outer := range []bool{false, true} {
			t.Run(fmt.Sprint(subs, "/", outer), func(t *testing.T) {
				d := newDesk(t, 2)
				pub, far := d.sit(0, "pub"), d.sit(1, "pub2")
				for i := range subs {
					d.sit(0, fmt.Sprint("s", i)).subscribe("open/x", 0)
				}
				d.wires[0].broad = outer
				pub.publish("open/x", "m", 0, 0)
				if d.wires[0].broad != outer {
					t.Error("after a message of this home")
				}
				far.publish("open/x", "m", 0, 0)
				d.turn()
				if d.wires[0].broad != outer {
					t.Error("after a message of another home")
				}
			})
		}
	}
}

// So does one that comes from the log.
func TestALoggedMessageInsideOneForMany(t *testing.T) {
	for _, subs := range []int{1, broadMin} {
		for _, outer := range []bool{false, true} {
			t.Run(fmt.Sprint(subs, "/", outer), func(t *testing.T) {
				k := newKeptDesk(t, 1)
				pub := k.join(0, "pub")
				for i := range subs {
					k.hears(k.join(0, fmt.Sprint("s", i)), "open/x", 1)
				}
				k.rest()
				k.wires[0].broad = outer
				pub.publish("open/x", "m", 1, 1)
				k.rest()
				if k.wires[0].broad != outer {
					t.Error("after a message of the log")
				}
			})
		}
	}
}
