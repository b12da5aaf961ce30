package main

import (
	"runtime"
	"testing"

	"github.com/redoubtmq/redoubt/internal/memory"
)

// Strangers ask for hashing, so all of it together takes at most a quarter of the
// memory, and there is always one.
func TestHashersFitTheMemory(t *testing.T) {
	before := runtime.GOMAXPROCS(64)
	defer runtime.GOMAXPROCS(before)
	for _, c := range []struct {
		bytes int64
		want  int
	}{{memory.Needed, 1}, {200 << 20, 2}, {512 << 20, 6}, {64 << 30, 8}, {memory.Unlimited, 8}} {
		if got := hashers(memory.Budget{Bytes: c.bytes}); got != c.want {
			t.Errorf("%s: %d at a time, want %d", memory.Text(c.bytes), got, c.want)
		}
	}
	runtime.GOMAXPROCS(1)
	if got := hashers(memory.Budget{Bytes: 64 << 30}); got != 1 {
		t.Errorf("%d at a time on one processor", got)
	}
}
