package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// logPage is the page about lines of the log; what is between the marks is made from the code.
const (
	logPage  = "docs/ops/log.md"
	logBegin = "<!-- made from the code: go test ./internal/lint -rewrite -->\n"
	logEnd   = "<!-- end -->\n"
)

// namesOfClients is what a line about one client has, so that whoever reads it, or a SIEM, knows
// whose it is and on which listener.
var namesOfClients = []string{"user", "client_id", "listener"}

// An event is a kind of line of the broker's log.
type event struct {
	Name   string
	Levels []string // as the code says them; empty: it is worked out
	Fields []string // all it may have besides time, level and msg, in the order of the code
	Path   string   // where it was met first
	Line   int
	client bool // it is about one client, which the code says by its kind
}

// eventCalls are the methods that write a line, and which argument is its name.
var eventCalls = map[string]int{
	"Event": 2, "Stranger": 2, "Refused": 2, "Mistaken": 2,
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "LogAttrs": 2, "Log": 2,
}

// eventRooms are what the broker's own log is written from; commands and tools speak to people.
var eventRooms = []string{"admin", "alarm", "audit", "auth", "backend", "broker", "cmd/redoubt", "conn", "delay", "enroll", "harden", "limit", "listener", "metrics", "pki", "retain", "session", "store"}

// events reads the lines of the log off the code: their names, which must be words of ours and no
// variables, and their fields. A field that a helper of the same package or the enclosing
// function adds is one of them.
func events(r *Repo) []*event {
	found := map[string]*event{}
	var order []*event
	for _, f := range r.Go {
		if f.Test || isTestOnly(f.Dir) || !slices.ContainsFunc(eventRooms, func(room string) bool { return f.Dir == room || strings.HasPrefix(f.Dir, room+"/") }) {
			continue
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				at, known := eventCalls[sel.Sel.Name]
				if !known || len(call.Args) <= at {
					return true
				}
				for _, name := range r.said(f, fn, call.Args[at]) {
					e := found[name]
					if e == nil {
						e = &event{Name: name, Path: f.Path, Line: r.line(call)}
						found[name], order = e, append(order, e)
					}
					if level := levelOf(sel.Sel.Name, call); level != "" && !slices.Contains(e.Levels, level) {
						e.Levels = append(e.Levels, level)
					}
					e.client = e.client || sel.Sel.Name == "Mistaken" || sel.Sel.Name == "Event" && mentions(call.Args[3], "ClientID")
					for _, field := range r.fieldsOf(f, fn, call, at) {
						if !slices.Contains(e.Fields, field) {
							e.Fields = append(e.Fields, field)
						}
					}
				}
				return true
			})
		}
	}
	slices.SortFunc(order, func(a, b *event) int { return strings.Compare(a.Name, b.Name) })
	return order
}

// logEvents: lines of the log have names that can be read off the code, and those about one client
// say which. A line that lacks them is found by nobody who looks for that client.
func logEvents(r *Repo) []Finding {
	var out []Finding
	for _, e := range events(r) {
		for _, name := range namesOfClients {
			if e.client && !slices.Contains(e.Fields, name) {
				out = append(out, Finding{Path: e.Path, Line: e.Line, Text: fmt.Sprintf("the line %q is about one client and has no %s", e.Name, name)})
			}
		}
	}
	return out
}

// levelOf is how loud a call is, where it says so itself.
func levelOf(method string, call *ast.CallExpr) string {
	switch method {
	case "Debug", "Info", "Warn", "Error":
		return strings.ToUpper(method)
	}
	for _, a := range call.Args[:2] {
		if sel, ok := a.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Level") {
			return strings.ToUpper(strings.TrimPrefix(sel.Sel.Name, "Level"))
		}
	}
	return ""
}

// said is every text that an expression may be: itself, what a variable of the function is given,
// or what callers in its package hand over.
func (r *Repo) said(f *GoFile, fn *ast.FuncDecl, x ast.Expr) []string {
	if s, ok := text(x); ok {
		return []string{s}
	}
	id, ok := x.(*ast.Ident)
	if !ok {
		return nil
	}
	var out []string
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		as, ok := n.(*ast.AssignStmt)
		if !ok || len(as.Lhs) != len(as.Rhs) {
			return true
		}
		for i := range as.Lhs {
			if to, ok := as.Lhs[i].(*ast.Ident); ok && to.Name == id.Name {
				if s, ok := text(as.Rhs[i]); ok {
					out = append(out, s)
				}
			}
		}
		return true
	})
	place := 0
	for _, p := range fn.Type.Params.List {
		for _, name := range p.Names {
			if name.Name == id.Name {
				out = append(out, r.handed(f, fn.Name.Name, place)...)
			}
			place++
		}
	}
	return out
}

// handed is the texts that callers in the package of f give a function at a place.
func (r *Repo) handed(f *GoFile, name string, place int) []string {
	var out []string
	for _, other := range r.Go {
		if other.Dir != f.Dir || other.Test {
			continue
		}
		ast.Inspect(other.Syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && calleeName(call) == name && place < len(call.Args) {
				if s, ok := text(call.Args[place]); ok {
					out = append(out, s)
				}
			}
			return true
		})
	}
	return out
}

// fieldsOf is the fields that a call gives its line.
func (r *Repo) fieldsOf(f *GoFile, fn *ast.FuncDecl, call *ast.CallExpr, at int) []string {
	var out []string
	rest := call.Args[at+1:]
	switch calleeName(call) {
	case "Debug", "Info", "Warn", "Error", "Log": // keys and values in turn
		for i := 0; i < len(rest); i += 2 {
			if s, ok := text(rest[i]); ok {
				out = append(out, s)
			}
		}
	}
	for _, a := range rest {
		out = append(out, attrsIn(a)...)
		ast.Inspect(a, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CallExpr:
				out = append(out, r.helperFields(f, calleeName(x))...)
			case *ast.Ident: // attrs..., made before
				if x.Name == "attrs" || x.Name == "more" || x.Name == "args" {
					out = append(out, attrsIn(fn.Body)...)
				}
			}
			return true
		})
	}
	return out
}

// helperFields is the fields that a function of the package, which answers some, makes.
func (r *Repo) helperFields(f *GoFile, name string) []string {
	for _, other := range r.Go {
		if other.Dir != f.Dir || other.Test || name == "" {
			continue
		}
		for _, d := range other.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil || fn.Name.Name != name || fn.Type.Results == nil || len(fn.Type.Results.List) != 1 {
				continue
			}
			if list, ok := fn.Type.Results.List[0].Type.(*ast.ArrayType); ok {
				if sel, ok := list.Elt.(*ast.SelectorExpr); ok && sel.Sel.Name == "Attr" {
					return attrsIn(fn.Body)
				}
			}
		}
	}
	return nil
}

// attrsIn is the keys of all slog.String("key", ...) and its kin below n.
func attrsIn(n ast.Node) []string {
	var out []string
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "slog" && sel.Sel.Name != "Log" {
				if s, ok := text(call.Args[0]); ok {
					out = append(out, s)
				}
			}
		}
		return true
	})
	return out
}

func text(x ast.Expr) (string, bool) {
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

func calleeName(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.SelectorExpr:
		return fun.Sel.Name
	case *ast.Ident:
		return fun.Name
	}
	return ""
}

func mentions(x ast.Expr, name string) (yes bool) {
	ast.Inspect(x, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			yes = true
		}
		return true
	})
	return yes
}

// eventTable is the page's part that is made from the code.
func eventTable(all []*event) string {
	var b strings.Builder
	b.WriteString("| Event (`msg`) | Level | Fields that it may have |\n| --- | --- | --- |\n")
	for _, e := range all {
		levels := strings.Join(e.Levels, ", ")
		if levels == "" {
			levels = "by what it is about"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.ReplaceAll(e.Name, "|", "\\|"), levels, strings.Join(e.Fields, ", "))
	}
	return b.String()
}
