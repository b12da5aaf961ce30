//go:build !linux

package cores

// Behind does nothing where threads have no priority of their own.
func Behind() bool { return false }
