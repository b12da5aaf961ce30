//go:build !linux

package cores

// Behind has the thread that calls come after the others of the process. It knows no way here.
func Behind() bool { return false }
