//go:build !linux

package cores

import "time"

// Behind does nothing where threads have no priority of their own.
func Behind(time.Duration) bool { return false }
