//go:build !linux

package conn

// offer does nothing where nothing is known of the kernel's scheduler.
func offer() {}
