package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// lowerFiles lets a running process have fewer open files, until restore.
func lowerFiles(t *testing.T, pid int, files uint64) (restore func()) {
	t.Helper()
	set := func(limit, old *unix.Rlimit) {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, limit, old); err != nil {
			t.Fatal(err)
		}
	}
	var before unix.Rlimit
	set(nil, &before)
	set(&unix.Rlimit{Cur: files, Max: before.Max}, nil)
	return func() { set(&before, nil) }
}
