package main

import (
	"testing"
	"time"
)

func TestHowNearACertificateIsToItsEnd(t *testing.T) {
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]int{
		31 * 24 * time.Hour: 0, 30 * 24 * time.Hour: 1, 15 * 24 * time.Hour: 1, 14 * 24 * time.Hour: 2, 7 * 24 * time.Hour: 3, time.Hour: 3, 0: 4, -time.Hour: 4,
	} {
		if got := near(end.Add(-left), end); got != want {
			t.Errorf("%v before: %d, want %d", left, got, want)
		}
	}
}
