// Package memory knows how much memory the process may use and when giving some
// back is worth its price. It reads the limits that the system has set (control
// groups of both kinds, physical memory), makes the broker's own limit of them,
// and decides when the heap is collected out of turn. It allocates nothing for
// others, knows no client, and starts no goroutine: cmd owns the keeper's.
//
// Rules: cgroups(7), proc(5); the kernel's Documentation/admin-guide/cgroup-v2.rst
// and cgroup-v1/memory.rst; the Go runtime's guide to its collector, for what a
// memory limit bounds. The row "memory cap" of the hardening checklist.
package memory

import (
	"errors"
	"fmt"
	"math"
)

// Unlimited is a limit that is none, as the Go runtime writes it.
const Unlimited = math.MaxInt64

// Needed is the least memory a broker is worth starting with: about 24 MiB for
// the process while nobody is connected, 19 MiB for one password being hashed,
// 32 MiB for clients (3,000 over TLS), and as much again as a fifth of that for
// the collector: below it Go would collect without pause rather than serve.
const Needed = 96 << 20

// The automatic limit is three quarters of what the system gives. The rest is for
// what a cgroup is charged with and Go's limit does not count: the kernel's side
// of each socket (about 5 KB), the page cache, the program's own text.
const (
	autoNumerator   = 3
	autoDenominator = 4
)

// Budget is the memory limit in force and how it came about.
type Budget struct {
	Bytes int64  // for debug.SetMemoryLimit; Unlimited where the system says nothing
	Sum   string // in words, for whoever starts the broker
}

// Plan makes the limit of the process. size is what the operator configured, 0 for
// automatic; have is what the system gives; environment is GOMEMLIMIT as the runtime
// has read it, Unlimited if it is not set. An error is a sentence for the operator
// with the sum in it, and the broker must not start.
func Plan(size int64, have Available, environment int64) (Budget, error) {
	var b Budget
	switch {
	case size > 0 && size > have.Bytes:
		return Budget{}, fmt.Errorf("limits.memory is %s, but there is less: %s. Lower the number, raise that limit (MemoryMax= in the unit, --memory of a container), or write auto, which would be %s", Text(size), have, Text(auto(have.Bytes)))
	case size > 0:
		b = Budget{size, fmt.Sprintf("limits.memory = %s of %s", Text(size), have)}
	case have.Bytes == Unlimited:
		b = Budget{Unlimited, "no limit: this system does not say how much there is; set limits.memory"}
	default:
		b = Budget{auto(have.Bytes), fmt.Sprintf("%d %% of %s = %s", 100*autoNumerator/autoDenominator, have, Text(auto(have.Bytes)))}
	}
	if environment < b.Bytes {
		b = Budget{environment, fmt.Sprintf("GOMEMLIMIT = %s, which is less than %s", Text(environment), b.Sum)}
	}
	if b.Bytes < Needed {
		return Budget{}, fmt.Errorf("too little memory: %s, and the broker needs %s (24 for itself, 19 to hash a password, 32 for clients, the rest for the collector). With limits.memory: auto that is a limit of %s for the cgroup or container", b.Sum, Text(Needed), Text(Needed*autoDenominator/autoNumerator))
	}
	return b, nil
}

func auto(bytes int64) int64 { return bytes / autoDenominator * autoNumerator }

// errAbsurd is a size that no system means.
var errAbsurd = errors.New("is not a number of bytes")

// Text writes bytes for people: whole MiB from one on, or what there is.
func Text(bytes int64) string {
	switch {
	case bytes == Unlimited:
		return "no limit"
	case bytes < 1<<20:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 10<<30:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}
