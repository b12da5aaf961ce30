package lint

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// packageCommentMin is the shortest comment, in bytes, that can say what a
// package is and what it is not.
const packageCommentMin = 80

// packageComments: every room says what it is.
func packageComments(r *Repo) []Finding {
	type pkg struct {
		first *GoFile
		docs  []*GoFile
	}
	pkgs := make(map[string]*pkg)
	for _, f := range r.Go {
		if strings.HasSuffix(f.Syntax.Name.Name, "_test") {
			continue
		}
		p := pkgs[f.Dir]
		if p == nil {
			p = &pkg{first: f}
			pkgs[f.Dir] = p
		}
		if f.Syntax.Doc.Text() != "" {
			p.docs = append(p.docs, f)
		}
	}
	var out []Finding
	for dir, p := range pkgs {
		switch len(p.docs) {
		case 0:
			out = append(out, Finding{Path: p.first.Path, Line: 1, Text: fmt.Sprintf("package %s has no package comment: say what the room is, what it is not, and where its rule book is", dir)})
		case 1:
			if text := judgePackageComment(p.docs[0].Syntax); text != "" {
				out = append(out, Finding{Path: p.docs[0].Path, Line: 1, Text: text})
			}
		default:
			out = append(out, Finding{Path: p.docs[1].Path, Line: 1, Text: fmt.Sprintf("package %s has a second package comment (the first is in %s); godoc glues them together", dir, p.docs[0].Path)})
		}
	}
	return out
}

// judgePackageComment wants the form godoc expects and enough words to help.
func judgePackageComment(f *ast.File) string {
	text, want := f.Doc.Text(), "Package "+f.Name.Name+" "
	if f.Name.Name == "main" {
		want = "Command "
	}
	if !strings.HasPrefix(text, want) {
		return fmt.Sprintf("the package comment begins with %q", strings.TrimSpace(want))
	}
	if len(text) < packageCommentMin {
		return "the package comment is too short to say what the room is and what it is not"
	}
	return ""
}

// virtualSleeps are the files whose helpers sleep in a bubble that another
// function opened, which a parser cannot see. A name nobody needs is a finding.
var virtualSleeps = map[string]string{
	"conn/rig_real_test.go": "rig.pass sleeps only in the rigs that live in a bubble; the real ones move a clock",
}

// testHabits: a test that is skipped proves nothing, and a test that sleeps is
// slow when it is right and wrong when it is slow. Inside synctest.Test a sleep
// moves virtual time and costs none.
func testHabits(r *Repo) []Finding { return checkTestHabits(r, virtualSleeps) }

func checkTestHabits(r *Repo, exceptions map[string]string) []Finding {
	var out []Finding
	needed := make(map[string]bool)
	helpers := bubbleHelpers(r)
	for _, f := range r.Go {
		if !f.Test && !isTestOnly(f.Dir) {
			continue
		}
		bubbles := bubbleCalls(f, helpers[f.Dir])
		f.uses("time", []string{"Sleep"}, func(sel *ast.SelectorExpr) {
			for _, b := range bubbles {
				if b.Pos() <= sel.Pos() && sel.End() <= b.End() {
					return
				}
			}
			if needed[f.Path] = true; exceptions[f.Path] != "" {
				return
			}
			out = append(out, Finding{Path: f.Path, Line: r.line(sel), Text: "time.Sleep in a test: wait for the event, move an injected clock, or use testing/synctest"})
		})
		f.uses("testing", []string{"Short"}, func(sel *ast.SelectorExpr) {
			out = append(out, Finding{Path: f.Path, Line: r.line(sel), Text: "testing.Short hides a test: make it fast, or make it part of `make chaos`"})
		})
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				switch sel.Sel.Name {
				case "Skip", "Skipf", "SkipNow":
					out = append(out, Finding{Path: f.Path, Line: r.line(sel), Text: "a skipped test proves nothing: let it fail and say which command installs what it needs"})
				}
			}
			return true
		})
	}
	for p, reason := range exceptions {
		if !needed[p] && r.Paths[p] {
			out = append(out, Finding{Path: p, Text: fmt.Sprintf("the exception (%s) is not needed", reason)})
		}
	}
	return out
}

// allocName is the pattern of the last pass of `make test`.
var allocName = regexp.MustCompile(`Alloc`)

// allocationTests: a test in a file that the race detector does not build runs
// in the last pass only, which looks for it by name.
func allocationTests(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.Go {
		if !f.Test || !notUnderRace(f) {
			continue
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") && !allocName.MatchString(fn.Name.Name) {
				out = append(out, Finding{Path: f.Path, Line: r.line(fn), Text: fmt.Sprintf("%s is built without the race detector and has no Alloc in its name, so no pass of `make test` runs it", fn.Name.Name)})
			}
		}
	}
	return out
}

// notUnderRace tells whether f is left out of the pass with the race detector.
func notUnderRace(f *GoFile) bool {
	for _, g := range f.Syntax.Comments {
		for _, c := range g.List {
			if c.Pos() < f.Syntax.Package && strings.HasPrefix(c.Text, "//go:build") && strings.Contains(c.Text, "!race") {
				return true
			}
		}
	}
	return false
}

// bubbleCalls lists the calls in f that run their argument in virtual time:
// synctest.Test, and the functions of its package that call it.
func bubbleCalls(f *GoFile, helpers map[string]bool) []ast.Node {
	var calls []ast.Node
	local := f.localName("testing/synctest")
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.SelectorExpr:
			if x, ok := fun.X.(*ast.Ident); ok && local != "" && x.Name == local && fun.Sel.Name == "Test" {
				calls = append(calls, call)
			}
		case *ast.Ident:
			if helpers[fun.Name] {
				calls = append(calls, call)
			}
		}
		return true
	})
	return calls
}

// bubbleHelpers names, by folder, the test functions that open a bubble for
// their caller, by themselves or by another that does.
func bubbleHelpers(r *Repo) map[string]map[string]bool {
	helpers := make(map[string]map[string]bool)
	for found := true; found; {
		found = false
		for _, f := range r.Go {
			calls := bubbleCalls(f, helpers[f.Dir])
			for _, d := range f.Syntax.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Recv != nil || testName.MatchString(fn.Name.Name) || helpers[f.Dir][fn.Name.Name] {
					continue
				}
				for _, c := range calls {
					if fn.Pos() <= c.Pos() && c.End() <= fn.End() {
						if helpers[f.Dir] == nil {
							helpers[f.Dir] = make(map[string]bool)
						}
						helpers[f.Dir][fn.Name.Name], found = true, true
					}
				}
			}
		}
	}
	return helpers
}

// machinePaths are places that exist on one machine only. The expressions are
// written so that this file does not match itself.
var machinePaths = regexp.MustCompile(`\.\.` + `/shared\b|(^|[^\w./~-])/(` + `work|root|Users|home)/[\w.]+|/tmp/` + `rd\b`)

// machineWords: files speak of this repository and of the world, never of the
// machine somebody happened to sit at.
func machineWords(r *Repo) []Finding {
	var out []Finding
	for _, t := range r.Texts {
		for i, line := range strings.Split(t.Text, "\n") {
			if m := machinePaths.FindString(line); m != "" && !strings.HasSuffix(m, "/ann") { // ann is everybody's example
				out = append(out, Finding{Path: t.Path, Line: i + 1, Text: fmt.Sprintf("%q is a path of one machine; say it relative to the repository, or name the page", strings.TrimSpace(m))})
			}
		}
	}
	return out
}
