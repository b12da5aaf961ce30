//go:build chaos

package test

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A broker's clients have machines of their own. Here they share its processors, and the
// kernel gives whoever runs a slice of some milliseconds before the next one has its turn:
// that wait would be taken for the broker's. So the clients of a flood are scheduled when
// nobody else wants to run, and the bystanders as soon as something has come for them.

// standBack gives way to all others on these cores, from now on.
func standBack(t *testing.T) {
	t.Helper()
	if err := schedule(&unix.SchedAttr{Policy: unix.SCHED_IDLE}); err != nil {
		t.Fatal(err)
	}
}

// standInFront lets this process run whenever it can. It takes CAP_SYS_NICE, as root has.
func standInFront(t *testing.T) {
	t.Helper()
	err := schedule(&unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1})
	if err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
}

// inFront tells whether that was allowed to a process.
func inFront(t *testing.T, pid int) bool {
	t.Helper()
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attr.Policy == unix.SCHED_FIFO
}

// schedule is for all threads of this process; those that come inherit it.
func schedule(attr *unix.SchedAttr) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range threads {
		id, err := strconv.Atoi(e.Name())
		if err == nil {
			err = unix.SchedSetAttr(id, attr, 0)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}
