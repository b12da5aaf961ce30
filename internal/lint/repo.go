// Package lint is the house rules as tests. It parses the repository with
// go/parser and answers findings: where, which rule, and why the rule exists.
// It is not a style checker (golangci-lint is, see `make check`): it holds only
// what no general tool knows, the plan of this house.
//
// The rule book is CONTRIBUTING.md. A rule is one function in one file, listed
// in Rules, and is itself tested on a sample that breaks it: a rule that cannot
// fail is worthless.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Module is the path of this Go module.
const Module = "github.com/redoubtmq/redoubt"

// Finding is one place where the house does not follow its own rules.
type Finding struct {
	Path string // slash separated, from the root of the repository
	Line int    // 0 if the whole file is meant
	Rule string // name in Rules
	Text string // what is wrong, why that matters, what to do
}

// String is the form editors jump to.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.Path, f.Line, f.Rule, f.Text)
}

// GoFile is one parsed Go file.
type GoFile struct {
	Path   string // slash separated, from the root
	Dir    string // its directory; "." for the root
	Test   bool   // named *_test.go
	Lines  int
	Syntax *ast.File
}

// TextFile is a file that is read but not parsed.
type TextFile struct {
	Path string
	Text string
}

// Repo is the repository as the rules see it.
type Repo struct {
	fset  *token.FileSet
	Go    []*GoFile
	Texts []*TextFile     // every file worth reading, the Go files included
	Paths map[string]bool // every file and folder
	Large []string        // files of more than largest bytes
}

// largest is the most that a file may have which somebody wrote, bytes.
const largest = 1 << 20

// skipDirs are never entered: other people's code, and what a run leaves behind.
var skipDirs = map[string]bool{".git": true, "node_modules": true, "var": true, "bin": true, "testdata": true}

// textSuffixes are the kinds of file a person writes here.
var textSuffixes = []string{".go", ".md", ".yml", ".yaml", ".sh", ".py", ".js", ".mjs", ".json", ".txt", "Makefile", ".ci/run"}

// Load reads and parses everything below root.
func Load(root fs.FS) (*Repo, error) {
	r := &Repo{fset: token.NewFileSet(), Paths: make(map[string]bool)}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		r.Paths[p] = true
		if d.IsDir() {
			if skipDirs[d.Name()] {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Size() > largest {
			r.Large = append(r.Large, p)
		}
		if !isText(p) {
			return nil
		}
		data, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		r.Texts = append(r.Texts, &TextFile{Path: p, Text: string(data)})
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		syntax, err := parser.ParseFile(r.fset, p, data, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		r.Go = append(r.Go, &GoFile{
			Path: p, Dir: path.Dir(p), Test: strings.HasSuffix(p, "_test.go"),
			Lines: strings.Count(string(data), "\n"), Syntax: syntax,
		})
		return nil
	})
	return r, err
}

// Check runs every rule and answers the findings in the order of their places.
func (r *Repo) Check() []Finding {
	var all []Finding
	for _, rule := range Rules {
		for _, f := range rule.Check(r) {
			f.Rule = rule.Name
			all = append(all, f)
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].Path != all[j].Path {
			return all[i].Path < all[j].Path
		}
		return all[i].Line < all[j].Line
	})
	return all
}

// line is where a node begins.
func (r *Repo) line(n ast.Node) int { return r.fset.Position(n.Pos()).Line }

// isText tells whether the rules read the file at p.
func isText(p string) bool {
	for _, s := range textSuffixes {
		if strings.HasSuffix(p, s) {
			return true
		}
	}
	return false
}

// imports lists what f imports, with the node of each.
func (f *GoFile) imports() map[string]*ast.ImportSpec {
	m := make(map[string]*ast.ImportSpec)
	for _, s := range f.Syntax.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			m[p] = s
		}
	}
	return m
}

// localName is the name by which f calls the package at importPath, "" if it
// does not import it. It assumes the last element is the package's name, which
// holds for the standard library packages the rules ask about.
func (f *GoFile) localName(importPath string) string {
	s, ok := f.imports()[importPath]
	if !ok {
		return ""
	}
	if s.Name != nil {
		return s.Name.Name
	}
	return path.Base(importPath)
}

// uses calls fn for every mention of one of names of the package at importPath.
// A local variable that hides the package does not count.
func (f *GoFile) uses(importPath string, names []string, fn func(sel *ast.SelectorExpr)) {
	local := f.localName(importPath)
	if local == "" {
		return
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || x.Name != local || x.Obj != nil {
			return true
		}
		for _, name := range names {
			if sel.Sel.Name == name {
				fn(sel)
			}
		}
		return true
	})
}
