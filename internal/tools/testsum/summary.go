package main

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"
)

// summary collects events and prints as packages end.
type summary struct {
	out    io.Writer
	passed int // leaf tests
	failed int // leaf tests, and packages that failed without one

	packages map[string]*pkg   // by pass and import path, until they end
	builds   map[string]string // compiler output by pass and import path
}

// pkg is one package in one pass.
type pkg struct {
	name   string
	tests  map[string]*test
	order  []string
	output strings.Builder // what no test said
}

// test is one test or subtest. It is a leaf when no other test names it as its
// parent.
type test struct {
	result string // pass, fail, skip; "" while it runs
	parent bool
	output strings.Builder
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, packages: make(map[string]*pkg), builds: make(map[string]string)}
}

// read takes events until the end of in. Other lines are printed as they are.
func (s *summary) read(in io.Reader) error {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			if e, ok := parse(line); ok {
				s.take(e)
			} else {
				_, _ = s.out.Write(line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take handles one event.
func (s *summary) take(e event) {
	switch e.Action {
	case "build-output":
		s.builds[key(e.Pass, e.ImportPath)] += e.Output
		return
	case "build-fail":
		return // the package's own fail event names it
	}
	p := s.pkg(e)
	if e.Test == "" {
		switch e.Action {
		case "output":
			p.output.WriteString(e.Output)
		case "pass", "fail", "skip":
			s.end(p, e)
		}
		return
	}
	t := p.test(e.Test)
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.result = e.Action
		if e.Package == "make" || (e.Pass == "" && e.Action == "fail" && (e.Test == "command" || e.Test == "start")) {
			s.end(p, e) // steps have no package event
		}
	}
}

// end counts a package and prints its line; failures follow in full.
func (s *summary) end(p *pkg, e event) {
	delete(s.packages, key(e.Pass, e.Package))
	passed, failed := 0, 0
	var shown []string
	for _, name := range p.order {
		t := p.tests[name]
		switch {
		case t.result == "pass":
			if !t.parent {
				passed++
			}
		case t.result == "fail" && t.parent && p.failedBelow(name):
			shown = append(shown, name) // its children are counted; its output may still matter
		default:
			failed++
			shown = append(shown, name)
		}
	}
	broken := e.Action == "fail" && failed == 0
	if broken {
		failed = 1
	}
	s.passed, s.failed = s.passed+passed, s.failed+failed
	s.print(p, e, passed, failed)
	if e.FailedBuild != "" {
		fmt.Fprintf(s.out, "%s", s.builds[key(e.Pass, e.FailedBuild)])
	}
	for _, name := range shown {
		t := p.tests[name]
		if t.result == "" {
			fmt.Fprintf(s.out, "--- %s never ended\n", name)
		}
		if t.result == "skip" {
			fmt.Fprintf(s.out, "--- %s was skipped, which proves nothing and counts as failed\n", name)
		}
		fmt.Fprint(s.out, t.output.String())
	}
	if failed > 0 && e.Test == "" {
		fmt.Fprint(s.out, p.output.String())
	}
}

// print is the one line of a package.
func (s *summary) print(p *pkg, e event, passed, failed int) {
	word := "ok  "
	switch {
	case failed > 0:
		word = "FAIL"
	case passed == 0:
		return // no test files, or none that this pass runs
	}
	fmt.Fprintf(s.out, "%s %-58s %5d passed", word, p.name, passed)
	if failed > 0 {
		fmt.Fprintf(s.out, " %5d failed", failed)
	}
	if e.Elapsed > 0 {
		fmt.Fprintf(s.out, " %7.1fs", e.Elapsed)
	}
	fmt.Fprintln(s.out)
}

// verdict ends the run: packages that never ended count as failed, and so does
// a run in which nothing passed.
func (s *summary) verdict() int {
	var open []string
	for k := range s.packages {
		open = append(open, k)
	}
	sort.Strings(open)
	for _, k := range open {
		p := s.packages[k]
		p.output.WriteString(p.name + ": the stream ended before the package did\n")
		pass, path, _ := strings.Cut(k, " ")
		s.end(p, event{Action: "fail", Pass: pass, Package: path})
	}
	if s.passed == 0 && s.failed == 0 {
		fmt.Fprintln(s.out, "no test ran")
		s.failed = 1
	}
	fmt.Fprintf(s.out, "%d passed, %d failed\n", s.passed, s.failed)
	if s.failed > 0 {
		return 1
	}
	return 0
}

// pkg finds or begins the package of an event.
func (s *summary) pkg(e event) *pkg {
	k := key(e.Pass, e.Package)
	p := s.packages[k]
	if p == nil {
		p = &pkg{name: label(e), tests: make(map[string]*test)}
		s.packages[k] = p
	}
	return p
}

// test finds or begins a test, and marks its parents as such.
func (p *pkg) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		p.order = append(p.order, name)
		for i := strings.LastIndex(name, "/"); i > 0; i = strings.LastIndex(name[:i], "/") {
			if up := p.tests[name[:i]]; up != nil {
				up.parent = true
			}
		}
	}
	return t
}

// failedBelow tells whether a test below name did not pass.
func (p *pkg) failedBelow(name string) bool {
	for other, t := range p.tests {
		if strings.HasPrefix(other, name+"/") && t.result != "pass" {
			return true
		}
	}
	return false
}

// label is what a reader calls the package.
func label(e event) string {
	name := strings.TrimPrefix(e.Package, "github.com/redoubtmq/redoubt/")
	if e.Package == "make" {
		name += " " + e.Test
	}
	if e.Pass != "" {
		name = e.Pass + " " + name
	}
	return name
}

// key identifies a package in a pass; passes have no spaces in their names.
func key(pass, path string) string { return pass + " " + path }
