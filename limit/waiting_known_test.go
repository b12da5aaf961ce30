package limit

import (
	"fmt"
	"net/netip"
	"testing"
)

// lobby is a Waiting whose evicted leave at once, as if their loops had noticed.
type lobby struct {
	t *testing.T
	w *Waiting
	n map[string]int // who is there, by kind
	x map[string]int // who made room
}

func newLobby(t *testing.T, max int64, share int) *lobby {
	c := &lobby{t: t, w: NewWaiting(max), n: map[string]int{}, x: map[string]int{}}
	c.w.SetShare(share)
	return c
}

func (c *lobby) join(kind, a string, known, busy bool) *Waiter {
	w, evict, ok := c.w.JoinAs(netip.MustParseAddr(a), false, known)
	if !ok {
		return nil
	}
	if evict != nil {
		evict()
	}
	c.n[kind]++
	w.Busy(busy)
	w.Evictable(func() {
		c.n[kind]--
		c.x[kind]++
	})
	return w
}

// settle is when all who were told to have left.
func (c *lobby) settle() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.evicted = 0
}

// Strangers from very many networks, every one of them busy, fill everything. The
// known get in, below their share whatever happens; and the flood that goes on
// does not take their places back.
func TestTheKnownHaveAShareOfThePlaces(t *testing.T) {
	c := newLobby(t, 100, 20)
	for i := range 1000 {
		c.join("flood", fmt.Sprintf("10.%d.%d.1", i/250, i%250), false, true)
		c.settle()
	}
	if c.n["flood"] != 100 {
		t.Fatalf("%v: a share was kept free for nobody", c.n)
	}
	if c.join("stranger", "192.0.2.1", false, false) != nil {
		t.Fatal("a flood of equals that are all busy made room for a stranger")
	}
	for i := range 15 {
		if c.join("known", fmt.Sprintf("198.51.%d.1", i), true, false) == nil {
			t.Fatalf("the known one %d was refused", i)
		}
		c.settle()
	}
	for i := range 1000 {
		c.join("flood", fmt.Sprintf("10.%d.%d.1", i/250, i%250), false, true)
		c.settle()
	}
	if c.x["known"] != 0 || c.n["known"] != 15 || c.n["flood"] != 85 {
		t.Errorf("there are %v, and made room: %v", c.n, c.x)
	}
}

// Where all strangers are busy, the next one is refused: a known one who keeps us waiting
// stays.
func TestStrangersTakeNoPlaceOfTheKnown(t *testing.T) {
	c := newLobby(t, 10, 50)
	for i := range 8 {
		c.join("stranger", fmt.Sprintf("10.0.%d.1", i), false, true)
	}
	for i := range 2 {
		c.join("known", fmt.Sprintf("198.51.%d.1", i), true, false)
	}
	if c.join("late", "192.0.2.1", false, false) != nil || c.x["known"] != 0 {
		t.Errorf("there are %v, and made room: %v", c.n, c.x)
	}
}

// The known who are in a network that floods are not the flood: neither counted
// with it, nor made room of.
func TestTheKnownOfAFloodedNetworkStay(t *testing.T) {
	c := newLobby(t, 50, 20)
	c.join("known", "203.0.113.7", true, false)
	for i := range 500 {
		c.join("flood", fmt.Sprintf("203.0.113.%d", 100+i%100), false, i%2 == 0)
		c.settle()
	}
	if c.join("late", "203.0.113.8", true, false) == nil {
		t.Error("a known one of that network was refused")
	}
	if c.n["known"] != 1 || c.n["late"] != 1 || c.x["known"] != 0 {
		t.Errorf("there are %v, and made room: %v", c.n, c.x)
	}
}

// A flood of the known (one with credentials who went mad) has its share and no
// more than others would have.
func TestAFloodOfTheKnownDoesNotTakeAll(t *testing.T) {
	c := newLobby(t, 100, 20)
	for i := range 500 {
		c.join("mad", fmt.Sprintf("198.51.100.%d", i%250), true, false)
		c.settle()
	}
	for i := range 60 {
		if c.join("stranger", fmt.Sprintf("10.0.%d.1", i), false, false) == nil {
			t.Fatalf("stranger %d was refused by a flood of the known", i)
		}
		c.settle()
	}
	if c.n["stranger"] != 60 || c.n["mad"] != 40 {
		t.Errorf("there are %v, and made room: %v", c.n, c.x)
	}
}

// Without a share everybody is a stranger; who has shown a certificate is one no more.
func TestShareIsSetAndEarned(t *testing.T) {
	c := newLobby(t, 10, 0)
	for i := range 10 {
		c.join("flood", fmt.Sprintf("10.0.%d.1", i), false, true)
	}
	if c.join("known", "198.51.100.1", true, false) != nil {
		t.Error("a share of nothing was enough")
	}
	c.w.SetShare(20)
	w := c.join("known", "198.51.100.1", true, false)
	if w == nil {
		t.Fatal("a share that was set later does not count")
	}
	c.settle()
	w.Leave()
	c.n["known"]--
	proven := c.join("proven", "192.0.2.1", false, false)
	proven.Prove()
	proven.Prove()
	for i := range 100 {
		c.join("flood", fmt.Sprintf("10.1.%d.1", i), false, i%2 == 0)
		c.settle()
	}
	if c.n["proven"] != 1 || !proven.Leave() {
		t.Errorf("one who has proved who he is made room for strangers: %v", c.x)
	}
	var nobody *Waiter
	nobody.Prove()
}

// Evictions that nobody has come to yet are bounded, and the known have some of
// that bound to themselves.
func TestAFloodLeavesEvictionsToTheKnown(t *testing.T) {
	c := newLobby(t, 1000, 20)
	for i := range 4000 {
		c.join("flood", fmt.Sprintf("203.0.113.%d", i%250), false, false)
	}
	if n := c.x["flood"]; n != EvictedMax-EvictedMax*20/100 {
		t.Fatalf("%d evictions are outstanding", n)
	}
	if c.join("known", "198.51.100.1", true, false) == nil {
		t.Error("the flood has used up the evictions of the known")
	}
	for range 1000 {
		c.join("known", "198.51.100.1", true, false)
	}
	if n := c.x["flood"] + c.x["known"]; n > EvictedMax {
		t.Errorf("%d evictions are outstanding", n)
	}
}
