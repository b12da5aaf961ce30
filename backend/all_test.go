package backend_test

import "testing"

// TestServersStart is the first that wants them, and has all start at the same time.
func TestServersStart(t *testing.T) {
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.start(t)
		})
	}
}
