// Command mutants proves that the tests notice when a defence is gone. Each file
// of security/mutants is a unified diff that takes one defence out and names the
// test that must then fail. The tool applies them, one at a time, to a scratch
// copy of the tree and runs that test.
//
//	mutants -tree . -scratch var/mutants [NAME...]
//
// It is strict where silence would look like success: a mutant that survives, does
// not apply or does not build, a test that is not there or that fails without the
// mutant, and an empty run are failures. It never changes the tree it is given.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout))
}

// run answers the exit code: 0 all mutants were noticed, 1 not, 2 used wrongly.
func run(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(out)
	tree := flags.String("tree", ".", "repository to copy")
	scratch := flags.String("scratch", filepath.Join("var", "mutants"), "folder for the copy; it is removed before and after")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	mutants, err := load(filepath.Join(*tree, "security", "mutants"), flags.Args())
	if err != nil {
		fmt.Fprintf(out, "mutants: %v\n", err)
		return 1
	}
	s, err := copyTree(*tree, *scratch)
	if err != nil {
		fmt.Fprintf(out, "mutants: %v\n", err)
		return 1
	}
	defer s.remove()
	if text, ok := s.baseline(mutants); !ok {
		fmt.Fprintf(out, "mutants: without any mutant these tests must pass:\n%s", text)
		return 1
	}
	bad := 0
	for _, m := range mutants {
		v := s.try(m)
		fmt.Fprintf(out, "%-12s %-28s %s\n", v.word, m.name, m.what)
		if v.word != noticed {
			bad++
			fmt.Fprintln(out, indent(v.text))
		}
	}
	fmt.Fprintf(out, "%d mutants, %d noticed, %d not\n", len(mutants), len(mutants)-bad, bad)
	return min(bad, 1)
}

// mutant is one file of security/mutants.
type mutant struct {
	name string // file name without .patch
	path string
	what string // the defence that is taken out
	pkg  string // of the test
	test string // pattern of go test -run
}

// load reads the mutants called names, or all of them.
func load(dir string, names []string) ([]mutant, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, p := range paths {
		name := strings.TrimSuffix(filepath.Base(p), ".patch")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		m, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		m.name, m.path = name, p
		all = append(all, m)
	}
	if len(all) == 0 || len(names) > len(all) {
		return nil, fmt.Errorf("%d mutants in %s, asked for %v", len(all), dir, names)
	}
	return all, nil
}

// parse reads the two lines that every mutant begins with:
//
//	# without: what the defence is
//	# fails: ./package TestName
func parse(text string) (m mutant, err error) {
	lines := strings.SplitN(text, "\n", 3)
	if len(lines) < 3 {
		return m, fmt.Errorf("want two comment lines and a diff")
	}
	what, ok1 := strings.CutPrefix(lines[0], "# without: ")
	fails, ok2 := strings.CutPrefix(lines[1], "# fails: ")
	fields := strings.Fields(fails)
	if !ok1 || !ok2 || what == "" || len(fields) != 2 || !strings.HasPrefix(fields[0], "./") || !strings.HasPrefix(fields[1], "Test") {
		return m, fmt.Errorf("want `# without: the defence` and `# fails: ./package TestName`, have %q and %q", lines[0], lines[1])
	}
	if !strings.HasPrefix(lines[2], "--- a/") {
		return m, fmt.Errorf("want a unified diff behind the comment")
	}
	return mutant{what: what, pkg: fields[0], test: fields[1]}, nil
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
