package bench

import (
	"context"
	"runtime"
	"testing"
)

// With one processor the event loop gives the runtime another, and takes it back.
func TestTheLoopHasAProcessorToGiveAway(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, exact := range []bool{false, true} {
		e, err := newFast(context.Background(), "127.0.0.1", 1, 1, exact, func() int64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		if n := runtime.GOMAXPROCS(0); n < 2 {
			t.Errorf("%d processors", n)
		}
		if e.end(); runtime.GOMAXPROCS(0) != 1 {
			t.Errorf("%d processors are left", runtime.GOMAXPROCS(0))
		}
	}
}
