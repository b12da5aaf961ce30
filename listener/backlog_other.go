//go:build !linux

package listener

// backlogOf knows of no way to read it back here.
func backlogOf(uintptr) (int, error) { return backlogUnknown, nil }

// somaxconn is never asked for: what is not known is not short.
func somaxconn() string { return "unknown" }
