//go:build chaos

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// What is asked of a storm (D-06).
const (
	stormClients = 3000 // at each of two doors, or what the open file limit holds
	stormWithin  = 120 * time.Second
)

// stormFigures are what `make chaos` writes down of it.
type stormFigures struct {
	Clients              int
	AllBack              float64 // seconds
	P50, P99             float64 // seconds until CONNACK, all attempts and pauses included
	BeforeP50, BeforeP99 float64 // milliseconds, round trips of clients who were there
	DuringP50, DuringP99 float64
	CPU                  float64 // cores
	MemoryMiB            float64
	Failures             map[string]int
	ListenOverflows      int
}

// TestChaosStorm is D-06 in full.
func TestChaosStorm(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	each := min(stormClients, int(min(files.Cur, 1<<30))/4)
	s := besiege(t, testkit.Options{})
	p := standBy(t, s.b)
	p.roundTrips(chaosWindow / 2) // warm
	before := p.roundTrips(chaosWindow)
	overflows, drops := listenOverflows(t)
	rss, cpu, begun := resident(t, s.b), s.cpu(t), time.Now()

	var during []time.Duration
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				during = append(during, p.roundTrips(250*time.Millisecond)...)
			}
		}
	})
	f, leave := s.comeBack(each, stormWithin, s.doors[0], s.doors[1])
	took := time.Since(begun)
	used, memory := s.cpu(t)-cpu, resident(t, s.b)-rss
	close(done)
	wg.Wait()
	defer leave()
	slices.Sort(during)
	more, dropped := listenOverflows(t)

	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r := stormFigures{Clients: len(f.back), AllBack: took.Seconds(), P50: quantile(f.back, 0.5).Seconds(), P99: quantile(f.back, 0.99).Seconds(),
		BeforeP50: ms(quantile(before, 0.5)), BeforeP99: ms(quantile(before, 0.99)), DuringP50: ms(quantile(during, 0.5)), DuringP99: ms(quantile(during, 0.99)),
		CPU: used.Seconds() / took.Seconds(), MemoryMiB: float64(memory) / (1 << 20), Failures: f.failures, ListenOverflows: more - overflows}
	t.Logf("%+v", r)
	if len(f.back) != 2*each {
		t.Errorf("%d of %d are back after %v", len(f.back), 2*each, took)
	}
	if more != overflows || dropped != drops {
		t.Errorf("the kernel has dropped %d connections for a full listen queue, and %d in all", more-overflows, dropped-drops)
	}
	if was := quantile(before, 0.99); quantile(during, 0.99) > max(floodFactor*was, floodFloor) {
		t.Errorf("p99 of the established %v ms, before %v ms", r.DuringP99, r.BeforeP99)
	}
	root, err := testkit.Root()
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "var"), 0o755)
	}
	text, _ := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "var", "chaos-storm.json"), text, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
