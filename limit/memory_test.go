package limit

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// crowd is how many addresses come and go in these tests.
const crowd = 50_000

// heap is what is alive.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func manyAddr(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(i)<<8)
	return netip.AddrFrom4(b)
}

// An attacker with many addresses must not leave a table of their size behind
// when they have gone.
func TestPrefixesGiveTheirMemoryBack(t *testing.T) {
	p, err := NewPrefixes(map[string]int{"/32": 10, "/24": 10})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for i := range crowd {
		if _, ok := p.Acquire(manyAddr(i)); !ok {
			t.Fatal("refused")
		}
	}
	full := heap() - before
	for i := range crowd {
		p.Release(manyAddr(i))
	}
	if left := heap() - before; full < 1<<20 || left > full/20 {
		t.Errorf("%d bytes are left of %d", left, full)
	}
	if n := p.Tracked(); n != 0 {
		t.Errorf("%d prefixes are held", n)
	}
	if _, ok := p.Acquire(manyAddr(1)); !ok || p.InUse(manyAddr(1)) != 1 {
		t.Error("it no longer counts")
	}
}

func TestConnectsGiveTheirMemoryBack(t *testing.T) {
	c := connects(t, map[string]int{"/24": 1})
	before := heap()
	for i := range crowd {
		if _, ok := c.Allow(start, manyAddr(i)); !ok {
			t.Fatal("refused")
		}
	}
	full := heap() - before
	now := start.Add(time.Minute)
	for range crowd/4096 + 1 { // as the owner does, a part at a time
		c.Sweep(now, 4096)
	}
	if left := heap() - before; full < 1<<20 || left > full/20 {
		t.Errorf("%d bytes are left of %d", left, full)
	}
	if n := c.Tracked(); n != 0 {
		t.Errorf("%d prefixes are held", n)
	}
	runtime.KeepAlive(c)
}
