package bench

import (
	"context"
	"runtime"
	"testing"

	"github.com/redoubtmq/redoubt/client"
)

// With one processor the event loop gives the runtime another, and takes it back.
func TestTheLoopHasAProcessorToGiveAway(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, exact := range []bool{false, true} {
		r := &run{opt: &Options{Client: client.Options{Host: "127.0.0.1", Port: 1}}}
		e, err := newFast(context.Background(), r, 1, exact)
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
