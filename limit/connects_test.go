package limit

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func connects(t *testing.T, rates map[string]int) *Connects {
	t.Helper()
	c, err := NewConnects(rates)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnectsPerSecond(t *testing.T) {
	c := connects(t, map[string]int{"/24": 5, "/56": 2})
	admitted := func(now time.Time, a string, tries int) (n int) {
		for range tries {
			if _, ok := c.Allow(now, addr(a)); ok {
				n++
			}
		}
		return n
	}
	if n := admitted(start, "192.0.2.1", 20); n != 5 {
		t.Errorf("%d at once, want the burst of 5", n)
	}
	if over, ok := c.Allow(start, addr("::ffff:192.0.2.200")); ok || over.String() != "192.0.2.0/24" {
		t.Error("a neighbour in the same /24 has a rate of its own")
	}
	if n := admitted(start, "192.0.3.1", 20); n != 5 {
		t.Errorf("another /24 got %d", n)
	}
	if n := admitted(start.Add(400*time.Millisecond), "192.0.2.1", 20); n != 2 {
		t.Errorf("%d after 0.4 s, want 2", n)
	}
	if n := admitted(start, "2001:db8:0:1::1", 3) + admitted(start, "2001:db8:0:2::1", 3); n != 2 {
		t.Errorf("%d of one /56, want 2", n)
	}
	if n := admitted(start, "192.0.2.1", 1000); n != 0 {
		t.Error("a clock a little behind admitted more")
	}
	for range 100 {
		if _, ok := c.Allow(start, netip.Addr{}); !ok {
			t.Fatal("a unix socket was limited")
		}
	}
}

// A wide prefix that is over its rate must not cost the narrow one a token.
func TestARefusedConnectCountsNothing(t *testing.T) {
	c := connects(t, map[string]int{"/32": 2, "/24": 3})
	for range 3 {
		c.Allow(start, addr("10.0.0.1"))
	}
	if _, ok := c.Allow(start, addr("10.0.0.2")); !ok {
		t.Fatal("the third of the /24")
	}
	for range 50 {
		if over, ok := c.Allow(start, addr("10.0.0.3")); ok || over.Bits() != 24 {
			t.Fatal("the /24 is over its rate")
		}
	}
	later := start.Add(time.Second)
	for range 2 {
		if _, ok := c.Allow(later, addr("10.0.0.3")); !ok {
			t.Fatal("refused attempts were counted")
		}
	}
}

// An attacker with more prefixes than memory: the table stays bounded, costs a
// constant per attempt, and those who are known keep their limit or get a fresh
// one, and are never locked out.
func TestConnectsAreBounded(t *testing.T) {
	c := connects(t, map[string]int{"/56": 1})
	c.max = 1000
	var b [16]byte
	for i := range 20_000 {
		binary.BigEndian.PutUint32(b[2:], uint32(i))
		if _, ok := c.Allow(start, netip.AddrFrom16(b)); !ok && i > 0 {
			t.Fatal("a new prefix was refused because of others")
		}
	}
	if n := c.Tracked(); n > 1000 {
		t.Errorf("%d prefixes are held", n)
	}
	if n := c.Sweep(start.Add(time.Minute), 100); n != 100 {
		t.Errorf("a sweep of 100 forgot %d", n)
	}
	c.Sweep(start.Add(time.Minute), 1<<20)
	if n := c.Tracked(); n != 0 {
		t.Errorf("%d prefixes are held although nobody came for a minute", n)
	}
}

func TestRatesChangeUnderway(t *testing.T) {
	c := connects(t, map[string]int{"/24": 1})
	c.Allow(start, addr("10.0.0.1"))
	if err := c.SetRates(map[string]int{"/24": 100}); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Allow(start.Add(20*time.Millisecond), addr("10.0.0.1")); !ok {
		t.Error("the new rate is not in force for a known prefix")
	}
	if err := c.SetRates(map[string]int{"24": 1}); err == nil {
		t.Error("a bad prefix length was taken")
	}
}

func TestConnectsUnderConcurrency(t *testing.T) {
	c := connects(t, map[string]int{"/24": 100})
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 100 {
				if _, ok := c.Allow(start, addr("10.0.0.1")); ok {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	if admitted != 100 {
		t.Errorf("%d were admitted in one instant, want 100", admitted)
	}
}

func BenchmarkAllow(b *testing.B) {
	c, err := NewConnects(map[string]int{"/24": 500, "/56": 500})
	if err != nil {
		b.Fatal(err)
	}
	var a [16]byte
	a[0] = 0x20
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		binary.BigEndian.PutUint32(a[2:], i)
		c.Allow(start, netip.AddrFrom16(a))
	}
}
