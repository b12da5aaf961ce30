package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// statement is a normative statement: MQTT-3.1.0-1 of 5.0 is not that of 3.1.1.
type statement struct{ id, version string }

// row is one line of docs/spec/statements.md.
type row struct {
	statement
	as     string // the id in 5.0 that says the same
	client bool   // it binds the client
}

// reasons are why a statement has no test, or no place that cites it.
type reasons struct {
	Test     string `json:"test,omitempty"`
	Citation string `json:"citation,omitempty"`
}

// repo is what the tree says about the statements.
type repo struct {
	rows    []row
	refused map[statement]reasons
	// cites are the places, file:line, that name an id; three of them those that
	// say they mean 3.1.1.
	cites, three map[string][]string
	covers       map[string]map[string][]statement // package, test
	scripts      []cover
}

// cover is a statement named in a script.
type cover struct {
	where string
	statement
}

const (
	listFile   = "docs/spec/statements.md"
	reasonFile = "docs/spec/refused.json"
	scriptRoot = "internal/testkit/talk/scripts"
	scriptHome = "conn" // the package that plays the scripts
)

var (
	tableRow   = regexp.MustCompile(`^\| ((?:MQTT|RULE)-\S+) \| (\S+) \| (.*) \|$`)
	sameAs     = regexp.MustCompile(`\(as (MQTT-\S+)\)$`)
	named      = regexp.MustCompile(`^((?:MQTT|RULE)-[0-9.]+-[0-9]+) \((5\.0|3\.1\.1|3\.1)\)$`)
	citation   = regexp.MustCompile(`MQTT-[0-9]+(?:\.[0-9]+)+-[0-9]+( of 3\.1\.1)?`)
	choice     = regexp.MustCompile(`pick\([^,()]*, "(MQTT-[0-9.]+-[0-9]+|§[0-9.]+)", "(MQTT-[0-9.]+-[0-9]+)"\)`)
	coversLine = regexp.MustCompile(`(?m)^Covers: (.*)$`)
)

func parseStatement(s string) (statement, bool) {
	m := named.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return statement{}, false
	}
	return statement{m[1], m[2]}, true
}

func parseStatements(s string) (ss []statement, err error) {
	for part := range strings.SplitSeq(s, ",") {
		one, ok := parseStatement(part)
		if !ok {
			return nil, fmt.Errorf("%q is not like MQTT-1.5.4-1 (5.0)", strings.TrimSpace(part))
		}
		ss = append(ss, one)
	}
	return ss, nil
}

// readRepo reads the list, the reasons, the code and the tests.
func readRepo(root string) (*repo, error) {
	r := &repo{refused: make(map[statement]reasons), cites: make(map[string][]string), three: make(map[string][]string), covers: make(map[string]map[string][]statement)}
	list, err := os.ReadFile(filepath.Join(root, listFile))
	if err != nil {
		return nil, err
	}
	client := false
	for line := range strings.SplitSeq(string(list), "\n") {
		if strings.HasPrefix(line, "## ") {
			client = strings.Contains(line, "client")
		}
		if m := tableRow.FindStringSubmatch(line); m != nil {
			one := row{statement: statement{m[1], m[2]}, client: client}
			if as := sameAs.FindStringSubmatch(m[3]); as != nil {
				one.as = as[1]
			}
			r.rows = append(r.rows, one)
		}
	}
	if err := r.readReasons(filepath.Join(root, reasonFile)); err != nil {
		return nil, err
	}
	if err := r.readScripts(filepath.Join(root, scriptRoot)); err != nil {
		return nil, err
	}
	return r, r.readCode(root)
}

func (r *repo) readReasons(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var byName map[string]reasons
	if err := json.Unmarshal(data, &byName); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, why := range byName {
		s, ok := parseStatement(name)
		if !ok {
			return fmt.Errorf("%s: %q is not like MQTT-1.5.4-1 (5.0)", path, name)
		}
		r.refused[s] = why
	}
	return nil
}

func (r *repo) readScripts(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(data), "\n") {
			rest, ok := strings.CutPrefix(strings.TrimSpace(line), "covers ")
			if !ok {
				continue
			}
			where := fmt.Sprintf("%s:%d", filepath.Base(file), i+1)
			ss, err := parseStatements(rest)
			if err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
			for _, s := range ss {
				r.scripts = append(r.scripts, cover{where, s})
			}
		}
	}
	return nil
}

// readCode looks for citations in the code and for Covers lines in the tests.
func (r *repo) readCode(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			switch {
			case rel == "internal/tools" || rel == "internal/testkit" || rel == "var" || rel == "bin" || d.Name() == "testdata", rel != "." && strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(rel, "_test.go"):
			return r.readTest(path, rel)
		case strings.HasSuffix(rel, ".go"):
			return r.readSource(path, rel)
		}
		return nil
	})
}

func (r *repo) readSource(path, rel string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i, line := range strings.Split(string(data), "\n") {
		where := fmt.Sprintf("%s:%d", rel, i+1)
		for _, m := range choice.FindAllStringSubmatch(line, -1) {
			r.cites[m[1]] = append(r.cites[m[1]], where)
			r.three[m[2]] = append(r.three[m[2]], where)
		}
		for _, m := range citation.FindAllStringSubmatch(choice.ReplaceAllString(line, ""), -1) {
			if m[1] != "" {
				id := strings.TrimSuffix(m[0], m[1])
				r.three[id] = append(r.three[id], where)
				continue
			}
			r.cites[m[0]] = append(r.cites[m[0]], where)
		}
	}
	return nil
}

func (r *repo) readTest(path, rel string) error {
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), "// Covers: ") {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, data, parser.ParseComments)
	if err != nil {
		return err
	}
	pkg := filepath.ToSlash(filepath.Dir(rel))
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
			continue
		}
		for _, m := range coversLine.FindAllStringSubmatch(fn.Doc.Text(), -1) {
			ss, err := parseStatements(m[1])
			if err != nil {
				return fmt.Errorf("%s: %s: %w", rel, fn.Name.Name, err)
			}
			if r.covers[pkg] == nil {
				r.covers[pkg] = make(map[string][]statement)
			}
			r.covers[pkg][fn.Name.Name] = append(r.covers[pkg][fn.Name.Name], ss...)
		}
	}
	return nil
}

// cited are the places that enforce a statement.
func (r *repo) cited(s row) []string {
	if s.version == "5.0" {
		return r.cites[s.id]
	}
	at := slices.Clone(r.three[s.id])
	if s.as != "" {
		at = append(at, r.cites[s.as]...)
	} else if !r.known(statement{s.id, "5.0"}) { // no other statement can be meant
		at = append(at, r.cites[s.id]...)
	}
	return at
}

func (r *repo) known(s statement) bool {
	return slices.ContainsFunc(r.rows, func(one row) bool { return one.statement == s })
}

// packages are those with tests to run.
func (r *repo) packages() []string {
	pkgs := map[string]bool{scriptHome: true}
	for pkg := range r.covers {
		pkgs[pkg] = true
	}
	return slices.Sorted(maps.Keys(pkgs))
}

// pattern names the tests of a package.
func (r *repo) pattern(pkg string) string {
	names := slices.Collect(maps.Keys(r.covers[pkg]))
	if pkg == scriptHome {
		names = append(names, "TestConformance")
	}
	slices.Sort(names)
	return "^(" + strings.Join(names, "|") + ")$"
}

// wrong lists what cannot be right about the list and the ids that others name.
func (r *repo) wrong() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen, tally := make(map[statement]bool), make(map[string]int)
	for _, one := range r.rows {
		if seen[one.statement] {
			bad("%s: %s (%s) is there twice", listFile, one.id, one.version)
		}
		seen[one.statement] = true
		if _, ok := parseStatement(one.id + " (" + one.version + ")"); !ok {
			bad("%s: %s (%s) is no name of a statement", listFile, one.id, one.version)
		}
		if one.as != "" && !r.known(statement{one.as, "5.0"}) {
			bad("%s: %s: there is no %s in 5.0", listFile, one.id, one.as)
		}
		side := "server"
		if one.client {
			side = "client"
		}
		tally[one.version+" "+side]++
	}
	for id, at := range r.cites {
		if strings.HasPrefix(id, "MQTT-") && !seen[statement{id, "5.0"}] && !seen[statement{id, "3.1.1"}] {
			bad("%s: there is no %s", at[0], id)
		}
	}
	for id, at := range r.three {
		if !seen[statement{id, "3.1.1"}] {
			bad("%s: there is no %s in 3.1.1", at[0], id)
		}
	}
	for _, c := range r.scripts {
		if !seen[c.statement] {
			bad("%s: there is no %s in %s", c.where, c.id, c.version)
		}
	}
	for pkg, tests := range r.covers {
		for test, ss := range tests {
			for _, s := range ss {
				if !seen[s] {
					bad("%s: %s: there is no %s in %s", pkg, test, s.id, s.version)
				}
			}
		}
	}
	for s := range r.refused {
		if !seen[s] {
			bad("%s: there is no %s in %s", reasonFile, s.id, s.version)
		}
	}
	for what, want := range map[string]int{"5.0 server": 225 + 15, "5.0 client": 26, "3.1.1 server": 127, "3.1.1 client": 14, "3.1 server": 7} {
		if tally[what] != want {
			bad("%s has %d statements of %s, want %d", listFile, tally[what], what, want)
		}
	}
	return errors.Join(errs...)
}
