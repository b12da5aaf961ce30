// Command conformance shows how far the statements of the MQTT standards are
// cited where the code enforces them and covered by tests that pass. It reads
// docs/spec/statements.md, runs the tests concerned, prints one line for each
// statement, and fails on a hole. docs/spec/refused.json has the reasons for what
// is not cited or not tested; a reason nobody needs is a failure as well.
//
// It knows nothing about MQTT: what a test covers, the test says itself.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	root := flag.String("root", ".", "root of the repository")
	quiet := flag.Bool("holes", false, "print holes and the summary only")
	flag.Parse()
	os.Exit(run(*root, *quiet, os.Stdout, goTest))
}

// tester runs the tests of one package whose names match pattern, and answers
// their events as `go test -json` writes them.
type tester func(root, pkg, pattern string) (io.ReadCloser, error)

// run is the program without the process.
func run(root string, quiet bool, out io.Writer, test tester) int {
	r, err := readRepo(root)
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	results := make(results)
	for _, pkg := range r.packages() {
		events, err := test(root, pkg, r.pattern(pkg))
		if err == nil {
			err = results.read(pkg, events, r.covers[pkg])
		}
		if err != nil {
			fmt.Fprintf(out, "%s: %v\n", pkg, err)
			return 1
		}
	}
	return report(r, results, quiet, out)
}

// goTest is the real tester.
func goTest(root, pkg, pattern string) (io.ReadCloser, error) {
	cmd := exec.Command("go", "test", "-json", "-count=1", "-timeout", "10m", "-run", pattern, "./"+pkg)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &ending{pipe, cmd}, cmd.Start()
}

// ending waits for the command. A test that fails is in the events, and so is a
// package that does not build.
type ending struct {
	io.ReadCloser
	cmd *exec.Cmd
}

func (e *ending) Close() error {
	_, _ = io.Copy(io.Discard, e.ReadCloser)
	_ = e.cmd.Wait()
	return nil
}

// results are the tests that spoke for each statement.
type results map[statement]map[string]bool // test name without its way of playing: passed everywhere

// event is one line of `go test -json`.
type event struct{ Action, Test, Key, Value, Output string }

// read takes the events of one package. covers are what its tests say in their
// comments.
func (r results) read(pkg string, events io.ReadCloser, covers map[string][]statement) error {
	said := make(map[string][]statement) // by full name
	verdict := make(map[string]bool)
	failed := ""
	dec := json.NewDecoder(events)
	for {
		var e event
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("the events of go test: %w", err)
		}
		switch {
		case e.Action == "attr" && e.Key == "covers":
			if s, ok := parseStatement(e.Value); ok {
				said[e.Test] = append(said[e.Test], s)
			}
		case (e.Action == "pass" || e.Action == "fail") && e.Test != "":
			verdict[e.Test] = e.Action == "pass"
		case e.Action == "build-output" || e.Action == "output" && e.Test == "":
			failed += e.Output
		}
	}
	if err := events.Close(); err != nil {
		return err
	}
	if len(verdict) == 0 {
		return fmt.Errorf("no test ran:\n%s", failed)
	}
	for test, ss := range covers {
		said[test] = append(said[test], ss...)
	}
	for test, ss := range said {
		for _, s := range ss {
			r.add(s, pkg+" "+short(test), verdict[test])
		}
	}
	return nil
}

// short leaves out the way a script was played.
func short(test string) string {
	parts := strings.Split(test, "/")
	if parts[0] != "TestConformance" || len(parts) < 3 {
		return test
	}
	return strings.Join(parts[2:], "/")
}

func (r results) add(s statement, test string, ok bool) {
	if r[s] == nil {
		r[s] = make(map[string]bool)
	}
	if was, seen := r[s][test]; seen && !was {
		ok = false
	}
	r[s][test] = ok
}

// report prints the table and answers the exit code.
func report(r *repo, got results, quiet bool, out io.Writer) int {
	tally, holes := make(map[string]*count), 0
	for _, row := range r.rows {
		if row.client {
			continue
		}
		c := tally[row.version]
		if c == nil {
			c = &count{}
			tally[row.version] = c
		}
		c.all++
		cited, tests := r.cited(row), got[row.statement]
		var wrong []string
		names, bad := sorted(tests)
		lackTest, lackCite := len(tests) == 0, len(cited) == 0 && !strings.HasPrefix(row.id, "RULE-")
		why := r.refused[row.statement]
		c.note(lackTest, lackCite, why)
		switch {
		case bad != "":
			wrong = append(wrong, "FAILS "+bad)
		case lackTest && why.Test == "":
			wrong = append(wrong, "NO TEST")
		case !lackTest && why.Test != "":
			wrong = append(wrong, "IS TESTED, the reason in refused.json is not needed")
		}
		if lackCite && why.Citation == "" {
			wrong = append(wrong, "NOT CITED")
		} else if !lackCite && why.Citation != "" {
			wrong = append(wrong, "IS CITED, the reason in refused.json is not needed")
		}
		result := "ok"
		if len(wrong) > 0 {
			holes++
			result = strings.Join(wrong, ", ")
		} else if quiet {
			continue
		}
		fmt.Fprintf(out, "%-15s %-5s  %-34s  %-78s  %s\n", row.id, row.version, first(cited, why.Citation), first(names, why.Test), result)
	}
	for _, v := range slices.Sorted(maps.Keys(tally)) {
		fmt.Fprintf(out, "MQTT %-5s  %v\n", v, tally[v])
	}
	fmt.Fprintf(out, "%d holes\n", holes)
	if holes > 0 {
		return 1
	}
	return 0
}

// count sums up one version.
type count struct{ all, tested, cited, reasons int }

func (c *count) note(lackTest, lackCite bool, why reasons) {
	if !lackTest {
		c.tested++
	}
	if !lackCite {
		c.cited++
	}
	if why != (reasons{}) {
		c.reasons++
	}
}

func (c *count) String() string {
	return fmt.Sprintf("%d statements: %d tested, %d cited, %d with a reason why not", c.all, c.tested, c.cited, c.reasons)
}

// sorted are the names of tests, and the first that fails.
func sorted(tests map[string]bool) (names []string, bad string) {
	for name := range tests {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !tests[name] {
			return names, name
		}
	}
	return names, ""
}

// first is one of several, and how many more there are.
func first(of []string, otherwise string) string {
	switch len(of) {
	case 0:
		if otherwise != "" {
			return "(" + otherwise + ")"
		}
		return "-"
	case 1:
		return of[0]
	}
	return fmt.Sprintf("%s +%d", of[0], len(of)-1)
}
