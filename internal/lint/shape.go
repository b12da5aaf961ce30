package lint

import (
	"fmt"
	"go/ast"
	"strings"
)

// linesMax is where a file has a second subject. Most are 80 to 300 lines.
const linesMax = 600

// fieldsMax is where a struct is asking to be two.
const fieldsMax = 20

// exception lets one named thing be larger, with the reason. An exception nobody
// needs any more is a finding, so that the list only ever tells the truth.
type exception struct {
	Max    int
	Reason string
}

// longFiles are the files that may pass linesMax.
var longFiles = map[string]exception{}

// wideStructs are the structs that may pass fieldsMax, by folder and name.
var wideStructs = map[string]exception{}

// writtenByHand keeps what was built out of the repository: a program that was once added
// stays in its history for ever.
func writtenByHand(r *Repo) []Finding {
	var out []Finding
	for _, p := range r.Large {
		out = append(out, Finding{Path: p, Text: "more than 1 MiB, so nobody wrote it; what is built belongs into bin/ (make build)"})
	}
	return out
}

// fileSize: a file has one subject.
func fileSize(r *Repo) []Finding { return checkFileSize(r, longFiles) }

func checkFileSize(r *Repo, exceptions map[string]exception) []Finding {
	var out []Finding
	seen := make(map[string]int)
	for _, f := range r.Go {
		seen[f.Path] = f.Lines
		limit := linesMax
		if e, ok := exceptions[f.Path]; ok {
			limit = e.Max
		}
		if f.Lines > limit {
			out = append(out, Finding{Path: f.Path, Text: fmt.Sprintf("%d lines, limit %d: look for the second subject and give it a file, or name the exception and its reason in internal/lint/shape.go", f.Lines, limit)})
		}
	}
	for p, e := range exceptions {
		if seen[p] <= linesMax {
			out = append(out, Finding{Path: p, Text: fmt.Sprintf("the exception (%s) is not needed: %d lines", e.Reason, seen[p])})
		}
	}
	return out
}

// structSize: a struct is one thing.
func structSize(r *Repo) []Finding { return checkStructSize(r, wideStructs) }

func checkStructSize(r *Repo, exceptions map[string]exception) []Finding {
	var out []Finding
	seen := make(map[string]int)
	for _, f := range r.Go {
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			name, count := f.Dir+"."+spec.Name.Name, countFields(st)
			seen[name] = count
			limit := fieldsMax
			if e, ok := exceptions[name]; ok {
				limit = e.Max
			}
			if count > limit {
				out = append(out, Finding{Path: f.Path, Line: r.line(spec), Text: fmt.Sprintf("struct %s has %d fields, limit %d: group them by who owns them, or name the exception and its reason in internal/lint/shape.go", spec.Name.Name, count, limit)})
			}
			return true
		})
	}
	for name, e := range exceptions {
		if seen[name] <= fieldsMax {
			out = append(out, Finding{Path: name, Text: fmt.Sprintf("the exception (%s) is not needed: %d fields", e.Reason, seen[name])})
		}
	}
	return out
}

// countFields counts names; an embedded type is one.
func countFields(st *ast.StructType) int {
	n := 0
	for _, f := range st.Fields.List {
		n += max(1, len(f.Names))
	}
	return n
}

// mutexes: a mutex field is called mu and says what it guards.
func mutexes(r *Repo) []Finding {
	var out []Finding
	for _, f := range r.Go {
		local := f.localName("sync")
		if local == "" {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			st, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range st.Fields.List {
				if text := judgeMutex(field, local); text != "" {
					out = append(out, Finding{Path: f.Path, Line: r.line(field), Text: text})
				}
			}
			return true
		})
	}
	return out
}

// judgeMutex says what is wrong with a field if it is a mutex.
func judgeMutex(field *ast.Field, local string) string {
	sel, ok := field.Type.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := sel.X.(*ast.Ident); !ok || x.Name != local || (sel.Sel.Name != "Mutex" && sel.Sel.Name != "RWMutex") {
		return ""
	}
	if len(field.Names) != 1 || field.Names[0].Name != "mu" {
		return "a mutex is a field called mu, so that a reader finds every lock by one word; a struct with two locks is two structs"
	}
	if strings.TrimSpace(field.Comment.Text()+field.Doc.Text()) == "" {
		return "a mutex says in a comment what it guards (`mu sync.Mutex // guards all below`)"
	}
	return ""
}
