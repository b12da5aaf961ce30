package main

import (
	"testing"
	"time"
)

// A flood is many handshakes and few logins; a fleet that comes back is none, nor is a handful.
func TestAFloodIsNoFleet(t *testing.T) {
	var f flood
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after              time.Duration
		handshakes, logins int64
		want               bool
	}{
		{0, 0, 0, false},
		{time.Second, 63, 0, false},
		{2 * time.Second, 64, 0, true},
		{2*time.Second + 249*time.Millisecond, 0, 5000, true}, // too soon
		{3 * time.Second, 64, 2000, false},
		{4 * time.Second, 3000, 4999, true}, // fewer a second come in than are under way
		{5 * time.Second, 3000, 8000, false},
		{5500 * time.Millisecond, 3000, 9499, true},
		{6 * time.Second, 0, 9499, false},
	} {
		if got := f.see(start.Add(c.after), c.handshakes, c.logins); got != c.want {
			t.Errorf("after %v, %d under way, %d logins: %t", c.after, c.handshakes, c.logins, got)
		}
	}
}
