package harden

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The checker is tested by mutation, and this is the count: each test that judges a row on a
// fixture says so here, and a run of all tests fails where a row has too few. What is counted
// has run; a fixture that is written down and not judged is none.

const (
	badLeast     = 5 // bad fixtures of each row
	foolingLeast = 2 // of these, ones that try to fool it
)

// census is what this run of the tests has judged.
var census = struct {
	mu      sync.Mutex // guards everything below
	judged  map[string]map[string]State
	removed map[string]map[string]bool
}{judged: map[string]map[string]State{}, removed: map[string]map[string]bool{}}

// fixture counts one of a row: what it is called, and the state that the row has to be in.
func fixture(row, name string, want State) {
	census.mu.Lock()
	defer census.mu.Unlock()
	if census.judged[row] == nil {
		census.judged[row] = map[string]State{}
	}
	census.judged[row][name] = want
}

// removed counts a source of evidence that a row was judged without, and that it was not pass then.
func removed(row, source string) {
	census.mu.Lock()
	defer census.mu.Unlock()
	if census.removed[row] == nil {
		census.removed[row] = map[string]bool{}
	}
	census.removed[row][source] = true
}

// bad tells whether a fixture in that state is one that the row has to complain about.
func bad(s State) bool { return s == Fail || s == Warn || s == Unknown }

// forPeople are rows that no fixture makes bad, since only a person can tell, and why.
var forPeople = map[string]string{
	"P1.13": "how administrators come in is not the broker's to see; the row is manual or unknown",
	"P5.16": "whether a newer version is out is known to who makes it; the row is manual, and a warning where the program was replaced",
}

// tooFew is what is missing, one line each.
func tooFew() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	ids := map[string]bool{}
	for _, c := range Checks {
		ids[c.ID] = true
		judged := census.judged[c.ID]
		good, wrong := 0, 0
		for _, s := range judged {
			if bad(s) {
				wrong++
			} else {
				good++
			}
		}
		if good == 0 {
			say("%s has no good fixture", c.ID)
		}
		if forPeople[c.ID] == "" {
			if wrong < badLeast {
				say("%s has %d bad fixtures, %d are wanted", c.ID, wrong, badLeast)
			}
			if n := len(fooling[c.ID]); n < foolingLeast {
				say("%s has %d fixtures that try to fool it, %d are wanted", c.ID, n, foolingLeast)
			}
		}
		for _, name := range fooling[c.ID] {
			if s, ok := judged[name]; !ok || !bad(s) {
				say("%s: %q is no bad fixture that has run, and is listed as one that tries to fool", c.ID, name)
			}
		}
		for _, source := range slices.Concat(evidence[c.ID], []string{"the broker"}) {
			if !census.removed[c.ID][source] && judged[source] != Unknown {
				say("%s was not judged without %s", c.ID, source)
			}
		}
		if len(census.removed[c.ID]) < 2 && len(evidence[c.ID]) == 0 {
			say("%s has no source of evidence that is taken away, but the broker", c.ID)
		}
	}
	for _, table := range []map[string][]string{fooling, evidence} {
		for id := range table {
			if !ids[id] {
				say("%s is no row", id)
			}
		}
	}
	return out
}

// counted runs the tests and then counts, if all of them have run.
type counted struct{ m *testing.M }

// Run implements goleak.TestingM.
func (c counted) Run() int {
	code := c.m.Run()
	for _, name := range []string{"run", "skip", "list", "fuzz", "bench"} {
		if f := flag.Lookup("test." + name); f != nil && f.Value.String() != "" {
			return code
		}
	}
	if code != 0 {
		return code
	}
	census.mu.Lock()
	defer census.mu.Unlock()
	if few := tooFew(); len(few) > 0 {
		fmt.Fprintf(os.Stderr, "the mutations of the checks (census_test.go):\n  %s\n", strings.Join(few, "\n  "))
		code = 1
	}
	if os.Getenv("CENSUS") != "" {
		for _, c := range Checks {
			judged, wrong := census.judged[c.ID], 0
			for _, s := range judged {
				if bad(s) {
					wrong++
				}
			}
			fmt.Fprintf(os.Stderr, "%-6s %2d good %3d bad %2d fooling; without %s\n", c.ID, len(judged)-wrong, wrong, len(fooling[c.ID]), strings.Join(slices.Sorted(maps.Keys(census.removed[c.ID])), ", "))
		}
	}
	return code
}
