package lint

import (
	"fmt"
	"go/ast"
)

// guardedRooms run goroutines in which the bytes of peers are worked on.
var guardedRooms = []string{"conn", "enroll", "auth/builtin", "admin", "store/readers", "listener", "auth/jwt", "backend"}

// guards are the names by which these rooms turn a bug into the end of what set it off.
var guards = map[string]bool{"guard": true, "rescue": true, "survive": true, "recover": true}

// guardDepth is how many calls within the room may lie between a go statement and the
// guard: a loop that guards each of its steps is one further down.
const guardDepth = 3

// unguarded are goroutines of these rooms that need none, by the function that starts
// them, and why. One that nobody needs any more is a finding.
var unguarded = map[string]string{
	"conn.Portable.Close":      "it waits for the others",
	"conn.Server.Shutdown":     "it waits for the loops",
	"enroll.Server.Serve":      "net/http guards each connection, and serve each request",
	"admin.serve":              "net/http guards each connection, and guard.go each request",
	"admin.Server.Serve":       "it ends probes of an operator when their time is over",
	"backend/ldap.within":      "it closes a connection",
	"backend/mongodb.conn.run": "it ends the wait for a connection",
	"backend/redis.conn.say":   "it ends the wait for a connection",
	"backend/web.conn.say":     "it ends the wait for a connection",
}

const guardWhy = "a goroutine in which a peer's bytes are worked on is guarded against a bug of ours, or one client takes all others down with it: run the work by one of guard, rescue and survive of the room (conn/rescue.go)"

// peerGoroutines: what a peer sets off never ends the process.
func peerGoroutines(r *Repo) []Finding { return checkPeerGoroutines(r, unguarded) }

func checkPeerGoroutines(r *Repo, exceptions map[string]string) []Finding {
	bodies := make(map[called][]*ast.BlockStmt)
	for _, f := range r.Go {
		if f.Test {
			continue
		}
		for _, d := range f.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				key := called{f.Dir, fn.Name.Name, fn.Recv != nil}
				bodies[key] = append(bodies[key], fn.Body)
			}
		}
	}
	needed := make(map[string]bool)
	var out []Finding
	for _, f := range r.Go {
		if f.Test || !within(f.Dir, guardedRooms...) {
			continue
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			by := starterName(f.Dir, fn)
			for _, started := range goroutines(fn.Body) {
				if guarded(bodies, f.Dir, started, guardDepth) {
					continue
				}
				if needed[by] = true; exceptions[by] == "" {
					out = append(out, Finding{Path: f.Path, Line: r.line(started), Text: guardWhy})
				}
			}
		}
	}
	for by, why := range exceptions {
		if !needed[by] && r.Paths["internal/lint/guards.go"] { // a sample has not all of them
			out = append(out, Finding{Path: "internal/lint/guards.go", Text: fmt.Sprintf("the exception of %s (%s) is not needed", by, why)})
		}
	}
	return out
}

// starterName is how exceptions call a function: folder, receiver's type, name.
func starterName(dir string, fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return dir + "." + fn.Name.Name
	}
	of := fn.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return dir + "." + id.Name + "." + fn.Name.Name
	}
	return dir + "." + fn.Name.Name
}

// goroutines are what body starts on goroutines of their own: by a go statement, by a
// method Go, by time.AfterFunc and context.AfterFunc.
func goroutines(body *ast.BlockStmt) (out []ast.Expr) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, n.Call.Fun)
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			switch {
			case !ok:
			case sel.Sel.Name == "Go" && len(n.Args) == 1, sel.Sel.Name == "AfterFunc" && len(n.Args) == 2:
				out = append(out, n.Args[len(n.Args)-1])
			}
		}
		return true
	})
	return out
}

// called is what a call may mean, as far as names tell.
type called struct {
	dir, name string
	method    bool
}

// guarded tells whether what e calls comes to a guard, in the room dir and within depth
// calls.
func guarded(bodies map[called][]*ast.BlockStmt, dir string, e ast.Node, depth int) (ok bool) {
	look := func(f ast.Expr) {
		c := called{dir: dir}
		switch f := f.(type) {
		case *ast.Ident:
			c.name = f.Name
		case *ast.SelectorExpr:
			c.name, c.method = f.Sel.Name, true
		}
		if guards[c.name] {
			ok = true
		}
		if depth == 0 {
			return
		}
		for _, b := range bodies[c] {
			ok = ok || guarded(bodies, dir, b, depth-1)
		}
	}
	if f, is := e.(ast.Expr); is {
		look(f) // go f()
	}
	ast.Inspect(e, func(n ast.Node) bool {
		if call, is := n.(*ast.CallExpr); is && !ok {
			look(call.Fun)
		}
		return !ok
	})
	return ok
}
