//go:build chaos

package test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A broker has a machine of its own, and so has each of its clients. Here all share two
// processors, and the kernel gives whoever runs a slice of some milliseconds before the next
// one has its turn: that wait would be taken for the broker's. So the clients of a flood run
// when nobody else wants to, the broker before everything else that the machine does, and
// the bystanders as soon as something has come for them.
const (
	brokersTurn    = 1
	bystandersTurn = 2
)

// standBack gives way to all others on these cores, from now on.
func standBack(t *testing.T) {
	t.Helper()
	if err := schedule(os.Getpid(), &unix.SchedAttr{Policy: unix.SCHED_IDLE}); err != nil {
		t.Fatal(err)
	}
}

// goesFirst lets a process run before all that have no turn, or a later one. It takes
// CAP_SYS_NICE, as root has; allowed is false without.
func goesFirst(t *testing.T, pid int, turn uint32) (allowed bool) {
	t.Helper()
	err := schedule(pid, &unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: turn})
	if err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
	return err == nil
}

// schedule is for all threads of a process; those that come inherit it.
func schedule(pid int, attr *unix.SchedAttr) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
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
