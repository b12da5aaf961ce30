//go:build !chaos

package local

// How many histories rows play in the suite; make chaos plays more.
const (
	crashPoints = 1000
	flips       = 600
)
