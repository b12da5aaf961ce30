package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/session"
)

// Whoever publishes as fast as he can, and knows no Receive Maximum, is read no further when
// a bounded number of his messages, and of their bytes, waits for the disk. Another's does
// not wait behind more than that, and is read.
func TestAFastPublisherWaitsForHimself(t *testing.T) {
	for _, size := range []int{1, 250, 4 << 10, 60 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			k := newKeptDesk(t, 1)
			sub, fast, other := k.join(0, "sub", window(65535)), k.join(0, "fast", v311, cleanSeat), k.join(0, "other")
			k.hears(sub, "open/#", 1)
			payload, sent := strings.Repeat("x", size), uint16(0)
			for round := range 3 {
				before, first := k.log.records(), sent
				for n := 0; !fast.paused(); n++ {
					if n > session.PendingMax || n*size > session.PendingMaxBytes {
						t.Fatalf("round %d: %d messages of %d bytes wait, and he is read on", round, n, size)
					}
					sent++
					fast.publish("open/fast", payload, 1, sent)
					if n%10 == 9 {
						k.turn()
					}
				}
				other.publish("open/other", "mine", 1, uint16(round+1)) //nolint:gosec // small
				if other.paused() {
					t.Fatal("who says little is not read")
				}
				k.turn()
				if n := k.log.records() - before; n > session.PendingMax+1 {
					t.Errorf("%d records wait", n)
				}
				k.rest()
				other.expect(fmt.Sprintf("PUBACK #%d", round+1))
				if fast.paused() {
					t.Fatal("he is not read although nothing of his waits any more")
				}
				if n := len(fast.acks()); n != int(sent-first) {
					t.Fatalf("%d of %d are answered", n, sent-first)
				}
				k.drink(sub)
			}
		})
	}
}

// records is how many there are that are not on disk.
func (v *vault) records() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.waiting {
		n += len(v.waiting[i].recs)
	}
	return n
}
