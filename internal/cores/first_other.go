//go:build !linux

package cores

// First does nothing where threads have no priority of their own.
func First() (leave func()) { return func() {} }

// Others does nothing there, either.
func Others() bool { return false }
