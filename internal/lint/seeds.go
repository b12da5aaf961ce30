package lint

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// lastPass finds the pattern of the pass of `make test` without the race detector.
var lastPass = regexp.MustCompile(`(?m)^UNWATCHED\s*:=\s*(\S+)$`)

// randomSuites: what plays fewer seeds with the race detector plays all of them in the
// last pass, which looks for it by name.
func randomSuites(r *Repo) []Finding {
	var pattern *regexp.Regexp
	for _, t := range r.Texts {
		if m := lastPass.FindStringSubmatch(t.Text); m != nil && t.Path == "Makefile" {
			pattern, _ = regexp.Compile(strings.ReplaceAll(m[1], "$$", "$"))
		}
	}
	var out []Finding
	for _, f := range r.Go {
		kit := f.localName(Module + "/internal/testkit")
		if !f.Test || kit == "" {
			continue
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && callsSeeds(fn, kit) && (pattern == nil || !strings.HasPrefix(fn.Name.Name, "Test") || !pattern.MatchString(fn.Name.Name)) {
				out = append(out, Finding{Path: f.Path, Line: r.line(fn), Text: fmt.Sprintf("%s calls testkit.Seeds and is not in UNWATCHED of the Makefile, so no pass of `make test` plays all of them", fn.Name.Name)})
			}
		}
	}
	return out
}

// callsSeeds tells whether fn asks the kit, by the name it has in that file.
func callsSeeds(fn *ast.FuncDecl, kit string) (found bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.SelectorExpr); ok {
			name, ok := call.X.(*ast.Ident)
			found = found || ok && name.Name == kit && call.Sel.Name == "Seeds"
		}
		return !found
	})
	return found
}
