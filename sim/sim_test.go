package sim

import (
	"flag"
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	seeds = flag.Uint64("seeds", 0, "how many seeds are played; 0: as many as make test does")
	from  = flag.Uint64("from", 0, "the first of them")
	tell  = flag.Bool("tell", false, "say all that happens")
	steps = flag.Int("steps", 2000, "how many things happen in each")
)

// Three nodes, five clients, and whatever can go wrong, under 500 seeds, of which the
// race detector watches the first 60: `make test` plays both. A failure names its seed:
// go test ./sim -from SEED -seeds 1.
func TestSeeds(t *testing.T) {
	const lanes = 4
	var sum total
	if *seeds == 0 {
		*seeds = uint64(testkit.Seeds(24, 500)) //nolint:gosec // small
	}
	t.Cleanup(func() {
		t.Logf("%+v", sum.load)
		if l, n := sum.load, int(*seeds); l.acked < 5*n || l.got < 5*n || l.moves < n || l.crashes < n/2 || l.late < n/10 { //nolint:gosec // small
			t.Errorf("the run is not valid, too little happened: %+v", l)
		}
	})
	for lane := range uint64(lanes) {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			for seed := *from + lane; seed < *from+*seeds; seed += lanes {
				sum.add(play(t, seed))
			}
		})
	}
}

// total is the load of all seeds.
type total struct {
	mu sync.Mutex // guards load
	load
}

func (t *total) add(l load) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acked, t.got, t.crashes, t.late, t.moves = t.acked+l.acked, t.got+l.got, t.crashes+l.crashes, t.late+l.late, t.moves+l.moves
}

// play plays one seed.
func play(t *testing.T, seed uint64) load {
	w := newWorld(t, seed)
	defer w.close()
	for range *steps {
		w.step()
	}
	w.heal()
	w.rest()
	w.judge()
	for _, c := range w.clients {
		w.load.acked += len(c.acked)
		w.load.got += len(c.got)
	}
	return w.load
}
