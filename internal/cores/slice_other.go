//go:build !linux

package cores

// Shorten does nothing where nothing is known of the kernel's scheduler.
func Shorten() bool { return false }
