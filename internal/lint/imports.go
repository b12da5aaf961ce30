package lint

import (
	"fmt"
	"strings"
)

// importDirection: imports only point down the house.
func importDirection(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.Go {
		for imp, spec := range f.imports() {
			if text := judgeImport(f, imp); text != "" {
				out = append(out, Finding{Path: f.Path, Line: r.line(spec), Text: text})
			}
		}
	}
	return out
}

// judgeImport says what is wrong with one import, "" if nothing is. Tests may
// reach further: they are judged only for folders nobody imports.
func judgeImport(f *GoFile, imp string) string {
	if imp == "C" {
		return "cgo: the broker is one static binary, and memory safety is why it is written in Go"
	}
	to, ours := strings.CutPrefix(imp, Module+"/")
	if !ours {
		return judgeForeign(f, imp)
	}
	for d, why := range testOnly {
		if within(to, d) && !f.Test && !within(f.Dir, d) {
			return fmt.Sprintf("only _test.go files import %s: %s", d, why)
		}
	}
	if isProgram(to) && f.Dir != to {
		return fmt.Sprintf("nobody imports %s: it is a program", to)
	}
	if f.Test || isTestOnly(f.Dir) || isProgram(f.Dir) {
		return ""
	}
	from, ok := roomOf(f.Dir)
	if !ok {
		return fmt.Sprintf("folder %s is not in the house plan (internal/lint/rooms.go): write two sentences in docs/adr/ and add it", f.Dir)
	}
	target, ok := roomOf(to)
	if !ok {
		return fmt.Sprintf("folder %s is not in the house plan (internal/lint/rooms.go): write two sentences in docs/adr/ and add it", to)
	}
	if only, ok := readers[target.Dir]; ok && from.Dir != target.Dir && !within(f.Dir, only...) {
		return fmt.Sprintf("only %s read %s: %s", strings.Join(only, ", "), target.Dir, target.Why)
	}
	switch {
	case from.Dir == target.Dir || target.Floor < from.Floor:
		return ""
	case target.Floor == from.Floor:
		return fmt.Sprintf("%s and %s are on one floor and do not know each other (cmd introduces them). %s", from.Dir, target.Dir, from.Why)
	}
	return fmt.Sprintf("%s is above %s, and imports only point down. %s. Declare a small interface here and let cmd pass it in", target.Dir, from.Dir, from.Why)
}

// stdlibOnly are rooms that use nothing but the standard library.
var stdlibOnly = []string{"mqtt", "topic"}

// pure are packages (not what is below them) that do no I/O.
var pure = []string{"session", "auth", "limit", "topic", "mqtt"}

// ioPackages are how Go code reaches the world.
var ioPackages = []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "io/ioutil", "path/filepath", "database/sql", "golang.org/x/sys", "plugin"}

// judgeForeign judges an import from outside this module.
func judgeForeign(f *GoFile, imp string) string {
	if f.Test {
		return ""
	}
	first, _, _ := strings.Cut(imp, "/")
	if strings.Contains(first, ".") && within(f.Dir, stdlibOnly...) {
		return fmt.Sprintf("%s uses the standard library only, so that anybody can take it, read it and fuzz it alone", f.Dir)
	}
	for _, dir := range pure {
		if f.Dir != dir {
			continue
		}
		for _, banned := range ioPackages {
			if imp == banned || (strings.Contains(banned, ".") && strings.HasPrefix(imp, banned+"/")) {
				return fmt.Sprintf("%s does no I/O: it takes values and answers values. What calls out lives above it, or in auth/<backend>", dir)
			}
		}
	}
	return ""
}

// knownDependencies: every module we build on has a sentence in docs/adr/ on
// what we would lose without it.
func knownDependencies(r *Repo) []Finding {
	var adr strings.Builder
	for _, t := range r.Texts {
		if strings.HasPrefix(t.Path, "docs/adr/") {
			adr.WriteString(t.Text)
		}
	}
	var out []Finding
	for _, f := range r.Go {
		for imp, spec := range f.imports() {
			first, _, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(imp, Module) {
				continue
			}
			if !namesModuleOf(adr.String(), imp) {
				out = append(out, Finding{Path: f.Path, Line: r.line(spec), Text: fmt.Sprintf("no page in docs/adr/ names %s: a dependency needs a sentence on what we would lose without it", imp)})
			}
		}
	}
	return out
}

// namesModuleOf tells whether text names imp or one of its parents, in
// backquotes, as a module.
func namesModuleOf(text, imp string) bool {
	for p := imp; strings.Contains(p, "/"); p = p[:strings.LastIndex(p, "/")] {
		if strings.Contains(text, "`"+p+"`") {
			return true
		}
	}
	return false
}
