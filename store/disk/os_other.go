//go:build !linux

package disk

// Sync is what the system has for it; on macOS that is F_FULLFSYNC.
func (f file) Sync() error { return f.File.Sync() }
