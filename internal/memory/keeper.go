package memory

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Use is what the process holds now, in bytes.
type Use struct {
	Resident  uint64 // from the system and not returned: what the limit counts
	Live      uint64 // found alive by the last collection
	Free      uint64 // holds nothing and is not returned yet
	Allocated uint64 // of the heap, ever
	Objects   uint64 // of the heap now, garbage among them
	Other     uint64 // stacks and what the runtime needs for itself
	Cycles    uint64 // collections so far
}

// Measure asks the runtime; it takes some microseconds and stops nobody. The
// program's text and what the kernel holds are not in it.
func Measure() Use {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(s)
	u := Use{Resident: s[0].Value.Uint64() - s[1].Value.Uint64(), Live: s[2].Value.Uint64(), Free: s[3].Value.Uint64(), Allocated: s[4].Value.Uint64(), Objects: s[5].Value.Uint64(), Cycles: s[7].Value.Uint64()}
	u.Other = u.Resident - min(u.Resident, u.Objects+s[6].Value.Uint64()+u.Free)
	return u
}

// Keeper gives memory back to the system after a storm. Its owner fills it in and
// calls Run on a goroutine of its own.
type Keeper struct {
	Now       func() time.Time
	Clients   func() int64         // connections of the broker
	Collected func(returned int64) // bytes; for whoever counts
	Asked     <-chan os.Signal     // somebody wants it now; nil: nobody may
	Log       *slog.Logger

	judge   Judge
	measure func() Use // nil: Measure
	collect func()     // nil: debug.FreeOSMemory
}

// Run looks every five seconds, and collects when it is asked to, until ctx is done.
func (k *Keeper) Run(ctx context.Context) {
	if k.measure == nil {
		k.measure = Measure
	}
	if k.collect == nil {
		k.collect = debug.FreeOSMemory
	}
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		k.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.Asked:
			k.give(k.sample(), false)
		}
	}
}

// look takes one sample and does what follows from it.
func (k *Keeper) look() {
	if before := k.sample(); k.judge.See(before) {
		k.give(before, true)
	}
}

// give collects, gives back and tells the judge, who does not count what somebody asked for among his own.
func (k *Keeper) give(before Sample, judged bool) {
	k.collect() // the loops go on meanwhile; only this goroutine waits
	after := k.sample()
	took := after.At.Sub(before.At)
	if judged {
		k.judge.Collected(after, took)
	} else {
		k.judge.Asked(after)
	}
	returned := int64(before.Resident) - int64(after.Resident)
	k.Log.Debug("memory was given back to the system", "returned", returned, "resident", after.Resident, "took_us", took.Microseconds())
	k.Collected(max(returned, 0))
}

func (k *Keeper) sample() Sample {
	u := k.measure()
	return Sample{At: k.Now(), Allocated: u.Allocated, Resident: u.Resident, Free: u.Free, Clients: k.Clients()}
}
