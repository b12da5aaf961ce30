//go:build race

package testkit

// raceEnabled tells whether this test binary was built with -race.
const raceEnabled = true
