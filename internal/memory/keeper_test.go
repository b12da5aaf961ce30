package memory

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The keeper collects once within 15 seconds of the end of a storm, says at debug
// what it cost, and ends with its context.
func TestTheKeeperCollectsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var use atomic.Pointer[Use]
		use.Store(&Use{Resident: 20 << 20})
		collections, returned := 0, int64(0)
		k := Keeper{
			Now: time.Now, Clients: func() int64 { return 0 }, Collected: func(n int64) { returned += n },
			Log:     slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			measure: func() Use { return *use.Load() },
		}
		k.collect = func() {
			collections++
			time.Sleep(30 * time.Millisecond)
			use.Store(&Use{Resident: 21 << 20, Allocated: 1 << 30})
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		pass(time.Minute)
		use.Store(&Use{Resident: 100 << 20, Allocated: 1 << 30})
		pass(3*Every + time.Second)
		if collections != 1 || returned != 79<<20 {
			t.Errorf("%d collections returned %d bytes, want one and 79 MiB", collections, returned)
		}
		if s := log.String(); !strings.Contains(s, "took_us=30000") || !strings.Contains(s, "level=DEBUG") {
			t.Errorf("the log does not say what it cost: %s", s)
		}
		pass(time.Hour)
		if collections != 1 {
			t.Errorf("%d collections although nothing came", collections)
		}
		stop()
		<-done
	})
}

// Who asks for it has a collection at once, whatever the judge thinks of it, and each time.
func TestTheKeeperCollectsWhenItIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan os.Signal, 1)
		collections := 0
		k := Keeper{
			Now: time.Now, Clients: func() int64 { return 0 }, Collected: func(int64) {}, Asked: asked, Log: slog.New(slog.DiscardHandler),
			measure: func() Use { return Use{Resident: 20 << 20} }, // nothing has come that could go
			collect: func() { collections++ },
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		time.Sleep(Every / 2)
		if collections != 0 {
			t.Fatalf("%d collections that nobody asked for", collections)
		}
		for want := 1; want <= 3; want++ {
			asked <- os.Interrupt
			synctest.Wait()
			if collections != want {
				t.Errorf("asked %d times, collected %d times", want, collections)
			}
		}
		stop()
		<-done
	})
}

// kept keeps the garbage of the test alive until it is dropped.
var kept [][]byte

// What the runtime says agrees with what is done to it: the names of its metrics
// are read as meant, and a collection does return the memory.
func TestMeasureSeesWhatACollectionReturns(t *testing.T) {
	debug.FreeOSMemory()
	before := Measure()
	for range 64 {
		kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
	}
	runtime.GC()
	during := Measure()
	kept = nil
	debug.FreeOSMemory()
	after := Measure()
	if during.Resident < before.Resident+60<<20 || during.Live < 60<<20 || during.Allocated < before.Allocated+64<<20 {
		t.Errorf("64 MiB are not seen: %+v, then %+v", before, during)
	}
	if after.Resident > before.Resident+8<<20 || after.Live > 16<<20 {
		t.Errorf("64 MiB were not returned: %+v, then %+v", during, after)
	}
}
