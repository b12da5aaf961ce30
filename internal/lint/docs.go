package lint

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strings"
)

// named finds what a page names in backquotes.
var named = regexp.MustCompile("`([A-Za-z0-9_./-]+)`")

// linked finds where a page leads; anchors within it are not followed.
var linked = regexp.MustCompile(`\]\(([^)#\s]+)`)

// docsPointAtThings: a page that names a Go file or a test, or a mutant in the column of a
// table that is about them, or links to a page, names one that is there. Documentation that points at nothing is how a promise outlives its
// proof.
func docsPointAtThings(r *Repo) []Finding {
	files, tests := make(map[string]bool), make(map[string]bool)
	for _, f := range r.Go {
		files[f.Path] = true
		if !f.Test {
			continue
		}
		for _, d := range f.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				tests[fn.Name.Name] = true
			}
		}
	}
	var out []Finding
	for _, t := range r.Texts {
		if !strings.HasSuffix(t.Path, ".md") {
			continue
		}
		mutants := false // the table has a column of them, the last
		for i, line := range strings.Split(t.Text, "\n") {
			cell := lastCell(line)
			if mutants = cell != "" && (mutants || cell == "Mutant" || cell == "Noticed without the defence"); mutants {
				for _, name := range mutantNames(cell) {
					if !r.Paths["security/mutants/"+name+".patch"] {
						out = append(out, Finding{Path: t.Path, Line: i + 1, Text: fmt.Sprintf("there is no mutant %s", name)})
					}
				}
			}
			for _, m := range named.FindAllStringSubmatch(line, -1) {
				if text := judgeName(m[1], files, tests); text != "" {
					out = append(out, Finding{Path: t.Path, Line: i + 1, Text: text})
				}
			}
			for _, m := range linked.FindAllStringSubmatch(line, -1) {
				if !strings.Contains(m[1], "://") && !r.Paths[path.Join(path.Dir(t.Path), m[1])] {
					out = append(out, Finding{Path: t.Path, Line: i + 1, Text: fmt.Sprintf("the link %s leads nowhere", m[1])})
				}
			}
		}
	}
	return out
}

// lastCell is the last one of a row of a table; empty: the line is none.
func lastCell(line string) string {
	cells := strings.Split(strings.TrimSuffix(line, "|"), "|")
	if !strings.HasPrefix(line, "|") {
		return ""
	}
	return strings.TrimSpace(cells[len(cells)-1])
}

var mutantName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// mutantNames are those of a cell, up to what is said in words.
func mutantNames(cell string) (names []string) {
	for _, n := range strings.Split(cell, ", ") {
		if !mutantName.MatchString(n) || n == "none" {
			break
		}
		names = append(names, n)
	}
	return names
}

// testName is how the go command recognises what it runs.
var testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)

// judgeName says what is wrong with one name.
func judgeName(name string, files, tests map[string]bool) string {
	switch {
	case testName.MatchString(name) && !tests[name]:
		return fmt.Sprintf("no test is called %s: a proof that is not there proves nothing", name)
	case strings.HasSuffix(name, ".go") && strings.Contains(name, "/") && !files[name]:
		return fmt.Sprintf("there is no file %s", name)
	}
	return ""
}
