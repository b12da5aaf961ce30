package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// nice sets the priority of a process within its session, and moves that of its threads by as much: which of them
// come after others is the program's own doing, and stays so.
func nice(pid, value int) {
	leader, err := unix.SchedGetAttr(pid, 0)
	if err != nil {
		return // it has ended
	}
	moved := make(map[string]bool)
	for first, more := true, true; more; first = false { // until none has begun meanwhile
		more = false
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || moved[t.Name()] {
				continue
			}
			moved[t.Name()], more = true, true
			if a, err := unix.SchedGetAttr(id, 0); err == nil && (first || int(a.Nice) != value) { // else it was begun by one that was moved
				_ = unix.Setpriority(unix.PRIO_PROCESS, id, min(19, value+int(a.Nice-leader.Nice)))
			}
		}
	}
}
