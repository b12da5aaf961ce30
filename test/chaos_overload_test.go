//go:build chaos

package test

import (
	"testing"
	"time"
)

// TestChaosOverload is M-01: a cgroup of 1 GiB. The most that strangers may take is
// played by the other floods; these are clients who have proved who they are, and the
// devices of D-06, none of whom may notice.
func TestChaosOverload(t *testing.T) {
	q := squeeze{t: t, bytes: 1 << 30, sleepers: 5000, devices: 2 * stormClients, halves: 120, laggards: 100, sources: 8, most: time.Minute}
	q.play()
}
