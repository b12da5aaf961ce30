//go:build !linux

package bench

func askToCollect(int) error { return usage("--collect is for Linux") }

func othersLast() error { return nil }

func cpuClock(int) (seconds float64, ok bool) { return 0, false }
