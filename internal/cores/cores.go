// Package cores is how many processors the process has. It is no scheduler: it asks the
// runtime for one place more than that, and tells everybody else the true number.
package cores

import (
	"runtime"
	"sync/atomic"
)

var spare atomic.Int32

// Count is how many processors the process may use: what there is to deal out.
func Count() int { return max(1, runtime.GOMAXPROCS(0)-int(spare.Load())) }

// Spared tells whether there is a place more than there are processors.
func Spared() bool { return spare.Load() > 0 }

// Spare lets one goroutine more run at a time than there are processors. There is an event
// loop for each of them, and one that comes back from the kernel must not wait until the
// handshake or the collector that has taken its place meanwhile is done, a millisecond or
// more: the kernel shares the processors out between threads, and knows who has waited
// (docs/adr/0018). Where somebody has said how many to use, by GOMAXPROCS in the environment
// (said) or by a quota of the cgroup, it is that many: a quota that is spent by one thread
// more stops all of them.
func Spare(said bool) {
	if said || runtime.GOMAXPROCS(0) != runtime.NumCPU() || !spare.CompareAndSwap(0, 1) {
		return
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
}
