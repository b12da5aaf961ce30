package harden

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Two spans of time are apart when the fastest of the one is slower than most of the other.
func TestSpans(t *testing.T) {
	ms := func(all ...float64) (s span) {
		for _, x := range all {
			s = append(s, time.Duration(x*float64(time.Millisecond)))
		}
		return s
	}
	for _, c := range []struct {
		a, b  span
		apart bool
	}{
		{ms(30, 31, 34), ms(30.5, 32, 33), false},
		{ms(30, 40, 60), ms(33, 34, 60), false},     // noise
		{ms(30, 32, 34), ms(32.9, 34, 36), false},   // a tenth more: noise
		{ms(30, 32, 34), ms(35, 36, 38), true},      // a sixth more
		{ms(30, 32, 34), ms(60, 65, 70), true},      // two hashes
		{ms(1, 2, 36), ms(30, 50, 102), true},       // on a busy machine
		{ms(0.1, 0.2, 0.4), ms(30, 31, 34), true},   // none
		{ms(0.1, 0.1, 0.2), ms(0.9, 1, 1.1), false}, // nobody can measure that
	} {
		if c.a.apartFrom(c.b) != c.apart || c.b.apartFrom(c.a) != c.apart {
			t.Errorf("%v and %v: apart %v, want %v", c.a, c.b, !c.apart, c.apart)
		}
	}
}

// A chain on a machine that does much else: what is told of it is what can be told.
func TestRefusalsOnABusyMachine(t *testing.T) {
	t.Parallel()
	const hash = 30 * time.Millisecond
	for name, c := range map[string]struct {
		known, nobody time.Duration
		noise         time.Duration // at most, whatever it is
		state         State
		want          string
	}{
		"the same":                               {hash, hash, 0, Pass, ""},
		"the same, a little noise":               {hash, hash, hash / 10, Pass, ""},
		"three hashes for who exists":            {3 * hash, hash, 0, Fail, "a known user 90ms at best, a third within 90ms, 90ms at worst; an unknown one 30ms at best, a third within 30ms, 30ms at worst; 18 of each"},
		"three hashes for who does not":          {hash, 3 * hash, hash / 10, Fail, "18 of each"},
		"one more behind a slow service":         {hash + 2*time.Second, 2 * time.Second, hash / 10, Fail, "18 of each"},
		"none for who does not":                  {hash, 0, hash / 10, Fail, "18 of each"},
		"three hashes, and noise that hides it":  {3 * hash, hash, 40 * hash, Unknown, "18 of each"},
		"the same, and noise that could hide it": {hash, hash, 40 * hash, Unknown, "the machine is too busy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, flaws{})
			r := rand.New(rand.NewPCG(1, 7))
			f.takes = func(known bool) time.Duration {
				took := c.nobody
				if known {
					took = c.known
				}
				if c.noise > 0 {
					took += time.Duration(r.Int64N(int64(c.noise)))
				}
				return took
			}
			f.listen("to", "mqtt", "127.0.0.1:0")
			row := examine(t, f.alone(f.env()), "P4.1").Rows[0]
			for _, x := range row.Results {
				if !strings.HasPrefix(x.Scope, "chain:") {
					continue
				}
				if x.State != c.state || !strings.Contains(observed(&x), c.want) {
					t.Errorf("%s, want %s and %q in\n%s", x.State, c.state, c.want, observed(&x))
				}
				if c.state == Unknown && !strings.Contains(x.Fix, "--only P4.1") || c.state == Pass && x.Fix != "" {
					t.Errorf("what to do: %q", x.Fix)
				}
				return
			}
			t.Error("nobody looked")
		})
	}
}

// Whatever the noise is like, three times the work is never told to be the same, and the same
// work never to be another.
func TestNoiseProvesNothing(t *testing.T) {
	t.Parallel()
	const hash = 30 * time.Millisecond
	for name, noise := range map[string]func(r *rand.Rand, most float64) float64{
		"even":              func(r *rand.Rand, most float64) float64 { return r.Float64() * most },
		"seldom none":       func(r *rand.Rand, most float64) float64 { return max(r.Float64(), r.Float64(), r.Float64()) * most },
		"often none":        func(r *rand.Rand, most float64) float64 { return r.Float64() * r.Float64() * r.Float64() * most },
		"a turn, or none":   func(r *rand.Rand, most float64) float64 { return float64(r.IntN(2)) * most },
		"turns":             func(r *rand.Rand, most float64) float64 { return float64(r.IntN(8)) / 8 * most },
		"without an end":    func(r *rand.Rand, most float64) float64 { return r.ExpFloat64() * most / 3 },
		"mostly, and large": func(r *rand.Rand, most float64) float64 { return min(1, r.Float64()*5) * most },
	} {
		for _, most := range []float64{0, 0.1, 1, 3, 10, 100} {
			told := map[State]int{}
			for seed := range uint64(300) {
				r := rand.New(rand.NewPCG(seed, 5))
				sample := func(work time.Duration) (s span) {
					for range timingPairs {
						s = append(s, work+time.Duration(noise(r, most)*float64(hash)))
					}
					return s
				}
				for _, times := range []time.Duration{1, 3} {
					var tm timing
					state := Unknown
					for tm.rounds < timingRounds && state == Unknown {
						state = tm.add(sample(hash), sample(times*hash))
					}
					if times == 1 {
						told[state]++
					}
					if never := map[time.Duration]State{1: Fail, 3: Pass}[times]; state == never {
						t.Errorf("%s, up to %v hashes, seed %d: %d times the work is %s: %s", name, most, seed, times, state, tm.words(state))
					}
				}
			}
			if most <= 0.1 && told[Pass] < 300 {
				t.Errorf("%s, up to %v hashes: %v", name, most, told)
			}
		}
	}
}
