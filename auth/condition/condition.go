// Package condition compiles the conditions of rules and of links of a chain: expressions
// of CEL over what is known of a client. An expression is checked when it is compiled, its
// type is bool, and what it costs is bounded then and again each time it is evaluated. It
// reads no clock and no payload, so an answer about a client stays true and can be kept.
// It judges nothing itself: what a failure means is its callers' business, and they fail
// closed.
//
// Rules: Common Expression Language, github.com/google/cel-spec; checklist row P4.2.
package condition

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/redoubtmq/redoubt/auth"
)

const (
	// SourceMax bounds an expression, in bytes.
	SourceMax = 4 << 10
	// CostMax bounds the work of one evaluation, in the units of CEL: about one for each
	// operator, and for each ten bytes that are compared. One takes tens of nanoseconds.
	CostMax = 10_000
	// PatternMax bounds the regular expression of matches(), in bytes. It is RE2, which
	// takes time linear in the text.
	PatternMax = 256
	// textMax is what a name has at most in the estimate that compiling makes. A longer one
	// is bounded by CostMax when it comes.
	textMax = 256
)

// Program is a compiled condition. It is immutable and safe for concurrent use.
type Program struct {
	source  string
	program cel.Program
	blind   bool // it looks at nothing
}

// Compile reads a condition about a client that connects; it may use all of Input.
func Compile(source string) (*Program, error) { return compile(source, connecting) }

// ForRule reads the condition of a rule. It may use what is known of a client as long as
// it is connected: not the port, the protocol, the subject of the certificate and whether
// there was a password.
func ForRule(source string) (*Program, error) { return compile(source, connected) }

func compile(source string, in *environment) (*Program, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("the condition is empty; leave it out, or write for example listener == 'mqtts'")
	}
	if len(source) > SourceMax {
		return nil, fmt.Errorf("the condition has %d bytes; at most %d are allowed", len(source), SourceMax)
	}
	env, err := in.env()
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, fmt.Errorf("is no condition: %s; there are %s", inOneLine(issues), in.names())
	}
	if tree.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("is a %s; a condition is true or false", tree.OutputType())
	}
	if err := checkPatterns(tree); err != nil {
		return nil, err
	}
	cost, err := env.EstimateCost(tree, sizes{})
	if err != nil {
		return nil, fmt.Errorf("what it costs cannot be told: %w", err)
	}
	if cost.Max > CostMax {
		return nil, fmt.Errorf("costs up to %d steps each time; at most %d are allowed. Write several conditions, or one that looks at less", cost.Max, CostMax)
	}
	program, err := env.Program(tree, cel.CostLimit(CostMax), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("is no condition: %w", err)
	}
	return &Program{source: source, program: program, blind: blind(tree)}, nil
}

// inOneLine is what is wrong, without the picture of it.
func inOneLine(issues *cel.Issues) string {
	e := issues.Errors()[0]
	return fmt.Sprintf("%s (line %d, column %d)", e.Message, e.Location.Line(), e.Location.Column()+1)
}

// checkPatterns refuses a regular expression that is not written out: a client could
// choose it.
func checkPatterns(tree *cel.Ast) (err error) {
	ast.PostOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		name, args := call.FunctionName(), call.Args()
		if name != "matches" && name != inNetwork || len(args) == 0 {
			return
		}
		arg := args[len(args)-1]
		text, written := "", false
		if arg.Kind() == ast.LiteralKind {
			text, written = arg.AsLiteral().Value().(string)
		}
		switch {
		case !written:
			err = fmt.Errorf("what %s is given must be written out in the condition", name)
		case name == inNetwork:
			if _, bad := netip.ParsePrefix(text); bad != nil {
				err = fmt.Errorf("in_network: %q is not a network such as 10.0.0.0/8", text)
			}
		case len(text) > PatternMax:
			err = fmt.Errorf("a regular expression has %d bytes; at most %d are allowed", len(text), PatternMax)
		}
	}))
	return err
}

// blind tells whether an expression names nothing that is known of a client.
func blind(tree *cel.Ast) bool {
	is := true
	ast.PostOrderVisit(tree.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		is = is && e.Kind() != ast.IdentKind
	}))
	return is
}

// Constant tells whether the condition is the same for everybody, and what it says then. One
// that fails for everybody holds for a deny rule only, and is not called constant.
func (p *Program) Constant() (holds, is bool) {
	if !p.blind {
		return false, false
	}
	holds, err := p.Eval(Input{})
	return holds, err == nil
}

// String is the condition as written.
func (p *Program) String() string { return p.source }

// Eval answers whether the condition holds. It fails where something the condition needs is
// not known of the client, and where it costs more than CostMax. It allocates, and takes a
// few microseconds.
func (p *Program) Eval(in Input) (bool, error) {
	out, _, err := p.program.Eval(&in)
	if err != nil {
		return false, fmt.Errorf("condition %q: %w", shorten(p.source), err)
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("condition %q is neither true nor false", shorten(p.source))
	}
	return holds, nil
}

// Holds implements auth.Condition.
func (p *Program) Holds(by *auth.Principal) (bool, error) { return p.Eval(Of(by)) }

func shorten(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// within is in_network: an IPv4 address in IPv6 form is the IPv4 address.
func within(address, network ref.Val) ref.Val {
	a, err := netip.ParseAddr(string(address.(types.String)))
	if err != nil {
		return types.NewErr("in_network: not an address")
	}
	n, err := netip.ParsePrefix(string(network.(types.String)))
	if err != nil {
		return types.NewErr("in_network: not a network")
	}
	return types.Bool(n.Contains(a.Unmap().WithZone("")))
}

var _ auth.Condition = (*Program)(nil)
