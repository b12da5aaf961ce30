package lint

// Rule is one house rule.
type Rule struct {
	Name  string
	Check func(*Repo) []Finding
}

// Rules are all of them. Each has a sample that breaks it in rules_test.go; a
// test fails when one has none.
var Rules = []Rule{
	{"import-direction", importDirection},
	{"known-dependencies", knownDependencies},
	{"banned-calls", bannedCalls},
	{"go-statements", goStatements},
	{"peer-goroutines", peerGoroutines},
	{"file-size", fileSize},
	{"written-by-hand", writtenByHand},
	{"struct-size", structSize},
	{"mutexes", mutexes},
	{"package-comments", packageComments},
	{"test-habits", testHabits},
	{"allocation-tests", allocationTests},
	{"random-suites", randomSuites},
	{"machine-words", machineWords},
	{"docs-point-at-things", docsPointAtThings},
	{"log-events", logEvents},
}
