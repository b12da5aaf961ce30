package bench

import "golang.org/x/sys/unix"

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
