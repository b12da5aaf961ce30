package bench

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// cpuClock is the processor time of a process, in seconds, by the clock that the kernel has of it:
// in nanoseconds, where /proc has hundredths of a second. false: there is no such process.
func cpuClock(pid int) (seconds float64, ok bool) {
	const allOfProcess = 2 // CPUCLOCK_SCHED, of all threads
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|allOfProcess), &t); err != nil {
		return 0, false
	}
	return float64(t.Nano()) / 1e9, true
}

// askToCollect asks a broker that knows what is meant to collect garbage and to give memory back.
func askToCollect(pid int) error { return unix.Kill(pid, unix.SIGUSR1) }

// othersLast has all threads but the caller's, which must be locked to it, run only when nobody else
// wants to. Those that are made later come from these.
func othersLast() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	me := strconv.Itoa(unix.Gettid())
	var errs []error
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err == nil && t.Name() != me {
			err = unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
