//go:build chaos

package local

// How many histories rows play in make chaos.
const (
	crashPoints = 10_000
	flips       = 6000
)
