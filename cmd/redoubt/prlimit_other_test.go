//go:build !linux

package main

import "testing"

// lowerFiles needs prlimit.
func lowerFiles(t *testing.T, _ int, _ uint64) (restore func()) {
	t.Fatal("only Linux lowers the limits of another process")
	return nil
}
