package testkit

// Seeds is how many times a test at random plays: watched times with the race detector,
// and all without it. Such a test turns homes, a log and clients by hand on one goroutine:
// the detector makes it up to forty times as dear, and sees in the hundredth seed what it
// saw in the tenth. `make test` runs both, so that all is what it plays; package lint has
// the rule that its last pass knows the test.
func Seeds(watched, all int) int {
	if raceEnabled {
		return watched
	}
	return all
}

// Watched tells whether the race detector looks on. A test that asks has another pass of
// `make test` play what it leaves out then.
func Watched() bool { return raceEnabled }
