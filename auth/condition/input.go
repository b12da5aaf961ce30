package condition

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/interpreter"

	"github.com/redoubtmq/redoubt/auth"
)

// Input is what is known of a client. What is empty is not known, and a condition that
// looks at it fails; has_username and the like ask first.
type Input struct {
	Username   string
	ClientID   string
	Peer       netip.Addr
	PeerPort   uint16
	Listener   string
	Protocol   byte // level: 3, 4 or 5; 0: not known
	CommonName string
	Subject    string            // of the certificate
	Attrs      map[string]string // client_attrs; nil: none
	Password   bool              // there was one
}

// Of is what a rule may look at.
func Of(by *auth.Principal) Input {
	in := Input{Username: by.Username, ClientID: by.ClientID, Peer: by.Addr, Listener: by.Listener}
	if by.Claims != nil {
		in.CommonName, in.Attrs = by.Claims.CommonName, by.Claims.Attrs
	}
	return in
}

// OfRequest is what a link of a chain may look at.
func OfRequest(req *auth.Request) Input {
	in := Input{
		ClientID: req.ClientID, Peer: req.Addr, PeerPort: req.Port, Listener: req.Listener, Protocol: req.Version,
		CommonName: req.Certificate.CommonName, Subject: req.Certificate.Subject, Password: req.HasPassword && !req.Password.Empty(),
	}
	if req.HasUsername {
		in.Username = req.Username
	}
	return in
}

// When is a compiled condition of a link, as a chain asks it.
func (p *Program) When(req *auth.Request) (bool, error) { return p.Eval(OfRequest(req)) }

// variable is one name of the language.
type variable struct {
	name    string
	typ     *cel.Type
	late    bool // known while the client connects only
	resolve func(*Input) (any, bool)
}

func text(name string, late bool, of func(*Input) string) variable {
	return variable{name, cel.StringType, late, func(in *Input) (any, bool) { v := of(in); return v, v != "" }}
}

func truth(name string, late bool, of func(*Input) bool) variable {
	return variable{name, cel.BoolType, late, func(in *Input) (any, bool) { return of(in), true }}
}

var variables = []variable{
	text("username", false, func(in *Input) string { return in.Username }),
	text("clientid", false, func(in *Input) string { return in.ClientID }),
	text("peerhost", false, func(in *Input) string {
		if !in.Peer.IsValid() {
			return ""
		}
		return in.Peer.Unmap().WithZone("").String()
	}),
	text("listener", false, func(in *Input) string { return in.Listener }),
	text("cert_common_name", false, func(in *Input) string { return in.CommonName }),
	{"client_attrs", cel.MapType(cel.StringType, cel.StringType), false, func(in *Input) (any, bool) {
		if in.Attrs == nil {
			return map[string]string{}, true
		}
		return in.Attrs, true
	}},
	truth("has_username", false, func(in *Input) bool { return in.Username != "" }),
	truth("has_certificate", false, func(in *Input) bool { return in.CommonName != "" || in.Subject != "" }),
	text("cert_subject", true, func(in *Input) string { return in.Subject }),
	truth("has_password", true, func(in *Input) bool { return in.Password }),
	{"peerport", cel.IntType, true, func(in *Input) (any, bool) { return int64(in.PeerPort), in.PeerPort != 0 }},
	{"protocol_version", cel.IntType, true, func(in *Input) (any, bool) { return int64(in.Protocol), in.Protocol != 0 }},
}

var byName = func() map[string]*variable {
	m := map[string]*variable{}
	for i := range variables {
		m[variables[i].name] = &variables[i]
	}
	return m
}()

// ResolveName implements the activation of package interpreter: the evaluator asks for what
// the expression names, and for nothing else.
func (in *Input) ResolveName(name string) (any, bool) {
	v := byName[name]
	if v == nil {
		return nil, false
	}
	return v.resolve(in)
}

// Parent implements the same.
func (in *Input) Parent() interpreter.Activation { return nil }

// inNetwork is the function that package condition adds.
const inNetwork = "in_network"

// environment is the names a condition may use. It is made when the first is compiled.
type environment struct {
	late bool
	env  func() (*cel.Env, error)
}

var (
	connecting = environmentOf(true)
	connected  = environmentOf(false)
)

func environmentOf(late bool) *environment {
	e := &environment{late: late}
	e.env = sync.OnceValues(func() (*cel.Env, error) {
		options := []cel.EnvOption{
			cel.StdLib(),
			cel.ClearMacros(),
			// Loops are over lists that are written out, and attributes.
			cel.Macros(cel.HasMacro, cel.AllMacro, cel.ExistsMacro),
			cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(1)),
			cel.ParserExpressionSizeLimit(SourceMax),
			cel.ParserRecursionLimit(50),
			cel.Function(inNetwork, cel.Overload("in_network_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(within))),
		}
		for _, v := range variables {
			if late || !v.late {
				options = append(options, cel.Variable(v.name, v.typ))
			}
		}
		return cel.NewCustomEnv(options...)
	})
	return e
}

// names lists what there is.
func (e *environment) names() string {
	var out []string
	for _, v := range variables {
		if e.late || !v.late {
			out = append(out, v.name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// sizes tells the estimate how long the texts are.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	if p := n.Path(); len(p) == 1 && p[0] == "client_attrs" {
		return &checker.SizeEstimate{Min: 0, Max: 64}
	}
	return &checker.SizeEstimate{Min: 0, Max: textMax}
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
