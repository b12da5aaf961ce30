package limit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// desk plays processors: it holds each turn for as long as it takes and says who
// had how much.
type desk struct {
	*Turns
	now  time.Time
	wake time.Time // Deal is to be called then; zero: nobody said so
	live []*work
	took map[string]time.Duration
	done map[string]int
}

type work struct {
	turn    *Turn
	dealt   bool
	who     string
	takes   time.Duration
	begun   bool
	ends    time.Time
	waited  time.Duration
	asked   time.Time
	finally func(d *desk)
}

func newDesk(cores, percent, share int) *desk {
	return &desk{Turns: NewTurns(cores, percent, share), now: time.Unix(1_800_000_000, 0), took: map[string]time.Duration{}, done: map[string]int{}}
}

func (d *desk) again(after time.Duration) {
	if after > 0 {
		d.wake = d.now.Add(after)
	}
}

func (d *desk) ask(who, a string, known bool, takes time.Duration, finally func(*desk)) *work {
	w := &work{who: who, takes: takes, asked: d.now, finally: finally}
	w.turn = &Turn{Dealt: func() { w.dealt = true }}
	d.again(d.Ask(d.now, netip.MustParseAddr(a), known, w.turn))
	d.live = append(d.live, w)
	return w
}

// run lets time pass in steps of 50 µs.
func (d *desk) run(f time.Duration) {
	for end := d.now.Add(f); d.now.Before(end); d.now = d.now.Add(50 * time.Microsecond) {
		if !d.wake.IsZero() && !d.now.Before(d.wake) {
			d.wake = time.Time{}
			d.again(d.Deal(d.now))
		}
		all := d.live
		d.live = nil
		for _, w := range all {
			if w.dealt && !w.begun {
				w.begun, w.ends, w.waited = true, d.now.Add(w.takes), d.now.Sub(w.asked)
			}
			if !w.begun || d.now.Before(w.ends) {
				d.live = append(d.live, w)
				continue
			}
			d.again(d.Done(d.now, w.turn))
			d.took[w.who] += w.takes
			d.done[w.who]++
			if w.finally != nil {
				w.finally(d)
			}
		}
	}
}

// flood keeps n turns of a source in the queue for good.
func (d *desk) flood(who, a string, known bool, n int, takes time.Duration) {
	var again func(d *desk)
	again = func(d *desk) { d.ask(who, a, known, takes, again) }
	for range n {
		again(d)
	}
}

// However much is asked for, it is this part of the machine and no more, and all of
// that.
func TestTurnsArePartOfTheMachine(t *testing.T) {
	for _, row := range []struct{ cores, percent, slots int }{{1, 50, 1}, {2, 50, 1}, {4, 50, 2}, {3, 50, 2}, {1, 10, 1}, {2, 10, 1}, {1, 100, 1}, {4, 100, 4}} {
		t.Run(fmt.Sprint(row), func(t *testing.T) {
			d := newDesk(row.cores, row.percent, 20)
			if n := d.Slots(); n != row.slots {
				t.Errorf("%d compute at once, want %d", n, row.slots)
			}
			d.flood("all", "203.0.113.1", false, 50, 500*time.Microsecond)
			d.run(2 * time.Second)
			want := 2 * time.Second * time.Duration(row.cores*row.percent) / 100
			if got := d.took["all"]; got < want*8/10 || got > want+50*time.Millisecond {
				t.Errorf("%v of processor in 2 s, want %v", got, want)
			}
		})
	}
}

// A network with a thousand in the queue does not keep another one waiting.
func TestTurnsGoRoundNetworks(t *testing.T) {
	d := newDesk(2, 50, 0)
	d.flood("flood", "203.0.113.1", false, 1000, time.Millisecond)
	d.run(100 * time.Millisecond)
	honest := d.ask("honest", "198.51.100.7", false, time.Millisecond, nil)
	d.run(50 * time.Millisecond)
	if d.done["honest"] != 1 || honest.waited > 3*time.Millisecond {
		t.Errorf("waited %v behind a flood from elsewhere", honest.waited)
	}
	d.flood("other", "192.0.2.9", false, 3, time.Millisecond)
	before := d.done["flood"]
	d.run(time.Second)
	if a, b := d.done["flood"]-before, d.done["other"]; a-b > 20 || b-a > 20 {
		t.Errorf("a network that asks for a thousand had %d, one that asks for three %d", a, b)
	}
}

// A flood from very many networks leaves the known their share; without them it has
// everything.
func TestTurnsOfTheKnown(t *testing.T) {
	d := newDesk(2, 50, 20)
	for i := range 60 {
		d.flood("flood", fmt.Sprintf("10.0.%d.1", i), false, 1, time.Millisecond)
	}
	d.run(time.Second)
	if d.took["flood"] < 900*time.Millisecond {
		t.Errorf("the share was kept free for nobody: %v", d.took["flood"])
	}
	d.flood("known", "198.51.0.1", true, 5, time.Millisecond)
	d.run(2 * time.Second)
	if got := d.took["known"]; got < 400*time.Millisecond || got > 500*time.Millisecond {
		t.Errorf("the known had %v of 2 s, want a fifth and their places among all", got)
	}
	one := d.ask("one", "198.51.100.1", true, time.Millisecond, nil)
	d.run(200 * time.Millisecond)
	if d.done["one"] != 1 {
		t.Errorf("one more of the known has waited %v", one.waited)
	}
	d.Set(2, 50, 0) // nobody is known any more
	d.flood("late", "198.51.100.2", true, 5, time.Millisecond)
	d.run(2 * time.Second)
	if got := d.took["late"]; got > 50*time.Millisecond {
		t.Errorf("known without a share: %v", got)
	}
}

// What is known in a network does not wait behind the strangers in it.
func TestTheKnownOfAFloodingNetwork(t *testing.T) {
	d := newDesk(1, 50, 20)
	d.flood("flood", "198.51.100.66", false, 500, time.Millisecond)
	d.run(100 * time.Millisecond)
	w := d.ask("known", "198.51.100.7", true, time.Millisecond, nil)
	d.run(100 * time.Millisecond)
	if d.done["known"] != 1 || w.waited > 10*time.Millisecond {
		t.Errorf("waited %v", w.waited)
	}
}

// Turns that are given up, before they have come or after, leave nothing behind.
func TestTurnsAreGivenUp(t *testing.T) {
	d := newDesk(2, 100, 20)
	random := rand.New(rand.NewPCG(1, 2))
	var open, idle []*Turn
	dealt := map[*Turn]bool{}
	for range 20_000 {
		d.now = d.now.Add(time.Duration(random.IntN(300)) * time.Microsecond)
		if random.IntN(2) == 0 || len(open) == 0 {
			turn := &Turn{}
			if n := len(idle); n > 0 && random.IntN(2) == 0 { // one that was asked for before
				turn, idle = idle[n-1], idle[:n-1]
			}
			turn.Dealt = func() {
				if dealt[turn] {
					t.Fatal("it is dealt twice")
				}
				dealt[turn] = true
			}
			d.again(d.Ask(d.now, netip.AddrFrom4([4]byte{10, 0, byte(random.IntN(20)), 1}), random.IntN(3) == 0, turn))
			open = append(open, turn)
		} else {
			i := random.IntN(len(open))
			d.again(d.Done(d.now, open[i]))
			if random.IntN(4) == 0 {
				d.Done(d.now, open[i]) // once more does nothing
			}
			delete(dealt, open[i])
			idle, open = append(idle, open[i]), append(open[:i], open[i+1:]...)
		}
		if !d.wake.IsZero() && !d.now.Before(d.wake) {
			d.wake = time.Time{}
			d.again(d.Deal(d.now))
		}
		ready := len(dealt)
		if ready > 2 || int64(ready) != d.Computing() || int64(len(open)-ready) != d.Waiting() {
			t.Fatalf("%d of %d compute; %d and %d are counted", ready, len(open), d.Computing(), d.Waiting())
		}
		if ready < min(2, len(open)) && d.wake.IsZero() {
			t.Fatalf("%d wait, %d compute, and nobody is told to go on", len(open)-ready, ready)
		}
	}
	for _, turn := range open {
		d.Done(d.now, turn)
	}
	if d.Waiting() != 0 || d.Computing() != 0 || len(d.lines) != 0 || d.rings[0] != nil || d.rings[1] != nil {
		t.Error("something is left")
	}
}
