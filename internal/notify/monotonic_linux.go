package notify

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is CLOCK_MONOTONIC, which is what the manager compares with. It is not what
// time it is: nobody but the manager can make anything of it.
func monotonic() (since time.Duration, ok bool) {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
