package lint

import (
	"fmt"
	"go/ast"
)

// ban is a set of names of one package that only some folders may say.
type ban struct {
	Package string
	Names   []string
	Rooms   []string
	Why     string
}

// bans hold outside tests.
var bans = []ban{
	{"time", []string{"Now", "Since", "Until"}, []string{"internal/clock"},
		"only internal/clock asks what time it is; take `now time.Time` as an argument, or a clock.Clock where a goroutine is owned, so that a test decides how time passes"},
	{"os", []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, []string{"cmd/redoubt"},
		"only cmd reads the environment; take the value as an argument, so that what a process does can be read off its configuration"},
	{"os", []string{"Exit"}, []string{"cmd/redoubt", "internal/tools"},
		"only cmd ends the process; return an error, so that what must be settled first is"},
	{"log", []string{"Fatal", "Fatalf", "Fatalln"}, nil,
		"log.Fatal ends the process from within; return an error"},
	{"unsafe", []string{"Pointer", "String", "StringData", "Slice", "SliceData", "Add"}, nil,
		"a peer's bytes reach this code, and memory safety is why it is written in Go (unsafe.Sizeof is fine: it is a constant)"},
	{"log/slog", []string{"Default", "SetDefault", "Info", "Warn", "Error", "Debug"}, []string{"cmd/redoubt"},
		"the global logger has no limit on what a peer can make it say; use the *slog.Logger that was handed in"},
}

// bannedCalls: some words belong to one room.
func bannedCalls(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.Go {
		if f.Test || isTestOnly(f.Dir) {
			continue
		}
		for _, b := range bans {
			if within(f.Dir, b.Rooms...) {
				continue
			}
			f.uses(b.Package, b.Names, func(sel *ast.SelectorExpr) {
				out = append(out, Finding{Path: f.Path, Line: r.line(sel), Text: fmt.Sprintf("%s.%s: %s", b.Package, sel.Sel.Name, b.Why)})
			})
		}
		if s, ok := dotImport(f); ok {
			out = append(out, Finding{Path: f.Path, Line: r.line(s), Text: "a dot import hides where a name comes from"})
		}
	}
	return out
}

// dotImport finds an import that hides names from the rules.
func dotImport(f *GoFile) (*ast.ImportSpec, bool) {
	for _, s := range f.Syntax.Imports {
		if s.Name != nil && s.Name.Name == "." {
			return s, true
		}
	}
	return nil, false
}

// goRooms own goroutines. docs/architecture.md has the table: owner, how it ends,
// who waits.
var goRooms = []string{"conn", "enroll", "auth/builtin", "auth/jwt", "backend", "admin", "pki", "store/local", "store/readers", "store/view", "cmd/redoubt", "client", "harden"}

const goWhy = "a goroutine has one owner, one way to end and somebody who waits for it; the owners are in the table of docs/architecture.md. Hand the work to one of them"

// goStatements: only the owners start goroutines. A method called Go with one
// argument (sync.WaitGroup, errgroup) is a go statement too, and so is
// time.AfterFunc.
func goStatements(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.Go {
		if f.Test || isTestOnly(f.Dir) || isProgram(f.Dir) || within(f.Dir, goRooms...) {
			continue
		}
		found := func(n ast.Node) {
			out = append(out, Finding{Path: f.Path, Line: r.line(n), Text: goWhy})
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found(n)
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(n.Args) == 1 {
					found(n)
				}
			}
			return true
		})
		f.uses("time", []string{"AfterFunc"}, func(sel *ast.SelectorExpr) { found(sel) })
	}
	return out
}
