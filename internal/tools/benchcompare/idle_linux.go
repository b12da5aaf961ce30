package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// whenIdle has all threads of a process run only when nobody else of its session wants to, and gives way
// at once when somebody does. A thread that is made meanwhile may come from one that was not told yet,
// so it looks again until there was none.
func whenIdle(pid int) {
	for range idleLooks {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return
		}
		told := 0
		for _, t := range tasks {
			tid, _ := strconv.Atoi(t.Name()) // the kernel's, and a number
			have, err := unix.SchedGetAttr(tid, 0)
			if err != nil || have.Policy == unix.SCHED_IDLE {
				continue
			}
			if unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0) == nil {
				told++
			}
		}
		if told == 0 {
			return
		}
	}
}

// idleLooks bounds it: a process that makes threads faster than they can be told is none of ours.
const idleLooks = 20
