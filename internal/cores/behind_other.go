//go:build !linux

package cores

import "time"

// Behind does nothing where threads have no priority of their own.
func Behind(int, time.Duration) bool { return false }
