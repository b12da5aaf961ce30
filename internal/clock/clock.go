// Package clock is the one room that asks the operating system what time it is.
// Everybody else is handed `now`, or the Clock that cmd chose, so that a test or
// a simulation decides how time passes. It holds no timers: waiting belongs to
// the loops and to the few goroutine owners.
package clock

import "time"

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now carries a monotonic reading, so that differences survive a step of the
	// wall clock.
	Now() time.Time
}

// System is the clock of the machine.
type System struct{}

// Now is the current local time with a monotonic reading.
func (System) Now() time.Time { return time.Now() }
