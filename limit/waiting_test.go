package limit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// queue is a Waiting and who was evicted from it, by name.
type queue struct {
	t    *testing.T
	w    *Waiting
	in   map[string]*Waiter
	gone []string
}

func newQueue(t *testing.T, max int64) *queue {
	return &queue{t: t, w: NewWaiting(max), in: map[string]*Waiter{}}
}

// join lets name in from a; a name may be refused.
func (c *queue) join(name, a string) bool { return c.press(name, a, false) }

func (c *queue) press(name, a string, full bool) bool {
	w, evict, ok := c.w.Join(addr(a), full)
	if !ok {
		return false
	}
	if evict != nil {
		evict()
	}
	c.in[name] = w
	w.Evictable(func() { c.gone = append(c.gone, name) })
	return true
}

func (c *queue) want(gone ...string) {
	c.t.Helper()
	if !slices.Equal(c.gone, gone) {
		c.t.Fatalf("evicted: %v, want %v", c.gone, gone)
	}
}

// A flood evicts itself: whoever comes alone from elsewhere stays, however many
// come after it.
func TestTheHeaviestSourceMakesRoom(t *testing.T) {
	c := newQueue(t, 4)
	for i := range 3 {
		c.join(fmt.Sprint("flood", i), fmt.Sprintf("192.0.2.%d", i))
	}
	c.join("alone", "198.51.100.1")
	c.want()
	for i := 3; i < 40; i++ {
		if !c.join(fmt.Sprint("flood", i), fmt.Sprintf("192.0.2.%d", i)) {
			t.Fatal("refused, although its own source has somebody to give up")
		}
	}
	if len(c.gone) != 37 || slices.Contains(c.gone, "alone") || c.gone[0] != "flood0" || c.gone[36] != "flood36" {
		t.Fatalf("evicted: %v", c.gone)
	}
	c.gone = nil
	c.join("other", "2001:db8::1")
	c.join("household", "2001:db8:0:ff::1") // the same /56
	c.want("flood37", "flood38")
	c.join("neighbour", "2001:db8:0:100::1") // another: all sources but one have one now
	c.want("flood37", "flood38", "other")
	if c.w.InUse() != 4 || c.w.Max() != 4 {
		t.Errorf("%d wait, %d may", c.w.InUse(), c.w.Max())
	}
}

// Many sources with one each: who has kept us waiting longest makes room, and one
// whose turn is ours does not, so that a crowd of equals gets its work done.
func TestBetweenEqualsOnlyWhoKeepsUsWaitingMakesRoom(t *testing.T) {
	c := newQueue(t, 3)
	for i := range 3 {
		c.join(fmt.Sprint(i), fmt.Sprintf("10.0.%d.1", i))
		c.in[fmt.Sprint(i)].Busy(true)
	}
	if c.join("more", "10.0.3.1") {
		t.Fatal("somebody who waited for us made room for an equal")
	}
	if c.w.InUse() != 3 {
		t.Errorf("%d wait after a refusal", c.w.InUse())
	}
	c.in["1"].Busy(false)
	c.join("more", "10.0.3.1")
	c.want("1")
	c.in["more"].Busy(true)
	c.in["2"].Leave()
	c.join("second", "10.0.0.9") // 10.0.0.0/24 has two now
	c.in["second"].Busy(true)
	if c.join("third", "10.0.0.10") {
		t.Error("the heaviest source was given more")
	}
	if !c.join("fair", "10.0.4.1") {
		t.Error("a source with none was refused while another has two")
	}
	c.want("1", "0")
}

// One who has to make room for another reason than the cap; without anybody who
// could, there is no room.
func TestNoRoomForAnotherReason(t *testing.T) {
	c := newQueue(t, 10)
	if c.press("first", "10.0.0.1", true) {
		t.Error("there was nobody to make room")
	}
	c.join("first", "10.0.0.1")
	if !c.press("second", "10.0.1.1", true) {
		t.Error("nobody made room")
	}
	c.want("first")
	if newQueue(t, 0).join("x", "10.0.0.1") {
		t.Error("a cap of nothing admits")
	}
}

// Who leaves learns whether it was told to; evictions that nobody has noticed are
// bounded.
func TestEvictionsThatNobodyNoticesAreBounded(t *testing.T) {
	c := newQueue(t, 1)
	for i := range EvictedMax + 1 {
		if !c.join(fmt.Sprint(i), "10.0.0.1") {
			t.Fatalf("%d was refused", i)
		}
	}
	if c.join("more", "10.0.0.1") {
		t.Fatal("there is no bound")
	}
	if first := c.in["0"]; !first.Evicted() || first.Leave() || first.Evicted() {
		t.Error("the evicted one was not told")
	}
	if !c.join("more", "10.0.0.1") {
		t.Error("still refused after one has left")
	}
	if last := c.in["more"]; last.Evicted() || !last.Leave() {
		t.Error("one who was not evicted was told so")
	}
	defer func() {
		if r := recover(); r == nil || !strings.HasPrefix(r.(string), "BUG: ") {
			t.Errorf("left twice: %v", r)
		}
	}()
	c.in["more"].Leave()
}

func TestNobodyWaits(t *testing.T) {
	var w *Waiter
	w.Evictable(nil)
	w.Busy(true)
	if w.Evicted() || w.WaitsForUs() || !w.Leave() {
		t.Error("nobody is somebody")
	}
}

// twin is a Waiting too plain to be wrong: one list in the order they came.
type twin struct {
	max  int
	list []*twinWaiter
	when map[netip.Prefix]int // since when a source has as many as it has
	time int
}

type twinWaiter struct {
	name string
	at   netip.Prefix
	busy bool
}

func (t *twin) count(at netip.Prefix) (n int) {
	for _, w := range t.list {
		if w.at == at {
			n++
		}
	}
	return n
}

func (t *twin) drop(name string) {
	for i, w := range t.list {
		if w.name == name {
			t.list = slices.Delete(t.list, i, i+1)
			t.time++
			t.when[w.at] = t.time
			return
		}
	}
}

func (t *twin) join(name string, at netip.Prefix) (victim string, ok bool) {
	if len(t.list) >= t.max {
		if victim = t.victim(at); victim == "" {
			return "", false
		}
		t.drop(victim)
	}
	t.list = append(t.list, &twinWaiter{name: name, at: at})
	t.time++
	t.when[at] = t.time
	return victim, true
}

func (t *twin) victim(at netip.Prefix) string {
	own := t.count(at) + 1
	most := own
	for _, o := range t.list {
		most = max(most, t.count(o.at))
	}
	var heavy []*twinWaiter // of the heaviest, in the order they are looked at
	for _, o := range t.list {
		if t.count(o.at) == most {
			heavy = append(heavy, o)
		}
	}
	slices.SortStableFunc(heavy, func(a, b *twinWaiter) int { return t.when[a.at] - t.when[b.at] })
	if own == most { // last: it is the one that comes to this number now
		for _, o := range t.list {
			if o.at == at {
				heavy = append(heavy, o)
			}
		}
	}
	for _, o := range heavy {
		if !o.busy {
			return o.name
		}
	}
	if own < most {
		return heavy[0].name
	}
	return ""
}

func TestWaitingAgainstPlainTwin(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		const most = 12 // fewer than are looked at
		c, tw := newQueue(t, most), &twin{max: most, when: map[netip.Prefix]int{}}
		for step := range 400 {
			name := fmt.Sprint(step)
			switch rnd.IntN(4) {
			case 0, 1:
				a := fmt.Sprintf("10.0.%d.1", rnd.IntN(1+rnd.IntN(8)))
				c.gone = nil
				victim, ok := tw.join(name, sourceOf(addr(a)))
				if got := c.join(name, a); got != ok {
					t.Fatalf("seed %d step %d: admitted %v, want %v", seed, step, got, ok)
				}
				if victim != "" {
					c.want(victim)
					c.in[victim].Leave()
					delete(c.in, victim)
				} else {
					c.want()
				}
			case 2:
				if len(tw.list) > 0 {
					name := tw.list[rnd.IntN(len(tw.list))].name
					tw.drop(name)
					if !c.in[name].Leave() {
						t.Fatalf("seed %d step %d: %s had gone", seed, step, name)
					}
					delete(c.in, name)
				}
			case 3:
				if len(tw.list) > 0 {
					w := tw.list[rnd.IntN(len(tw.list))]
					w.busy = !w.busy
					c.in[w.name].Busy(w.busy)
				}
			}
			if int(c.w.InUse()) != len(tw.list) || len(c.w.sources) > len(tw.list) {
				t.Fatalf("seed %d step %d: %d wait from %d sources, want %d", seed, step, c.w.InUse(), len(c.w.sources), len(tw.list))
			}
		}
	}
}

// Loops let in, end and are told to end at the same time.
func TestWaitingUnderConcurrency(t *testing.T) {
	table := NewWaiting(50)
	table.SetShare(20)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var mine []*Waiter
			for i := range 2000 {
				w, evict, ok := table.JoinAs(netip.AddrFrom4([4]byte{10, 0, byte(g % 3), 1}), i%50 == 0, g == 7)
				if evict != nil {
					evict()
				}
				if ok {
					w.Evictable(func() {})
					w.Busy(i%2 == 0)
					if i%100 == 0 {
						w.Prove()
					}
					mine = append(mine, w)
				}
				if len(mine) > 20 {
					mine[0].Leave()
					mine = mine[1:]
				}
			}
			for _, w := range mine {
				w.Leave()
			}
		})
	}
	wg.Wait()
	if table.InUse() != 0 || table.evicted != 0 || len(table.sources) != 0 || table.classes[0].most()+table.classes[1].most() != 0 {
		t.Errorf("%d wait, %d evicted, %d sources, %d lists are left", table.InUse(), table.evicted, len(table.sources), table.classes[0].most()+table.classes[1].most())
	}
}

func BenchmarkWaitingAtTheCap(b *testing.B) {
	t := NewWaiting(20_000)
	end := func() {}
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		i++
		w, _, _ := t.Join(netip.AddrFrom4([4]byte{10, byte(i >> 8 & 63), byte(i), 1}), false)
		w.Evictable(end)
		t.mu.Lock()
		t.evicted = 0 // all notice at once
		t.mu.Unlock()
	}
}
