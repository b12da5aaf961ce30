package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth"
)

// Chains tries the chains in force on somebody who does not exist.
type Chains interface {
	// Canaries answers for each listener what auth.Chain.Canary says of its chain.
	Canaries() []ChainCanaries
}

// ChainCanaries is what a chain in force did with stand-ins in the places of its authenticators.
type ChainCanaries struct {
	Listener       string
	Authenticators []string // in the order they are asked
	Cases          []auth.Canary
}

// CanaryReport is one chain's.
type CanaryReport struct {
	Listener       string       `json:"listener" doc:"Name of the listener whose chain was asked."`
	Authenticators []string     `json:"authenticators" doc:"Those of the chain, in the order they are asked."`
	Cases          []CanaryCase `json:"cases" doc:"What the chain has done, one fault at a time."`
}

// CanaryCase is one fault.
type CanaryCase struct {
	Down    string   `json:"down,omitempty" doc:"The authenticator that could not tell; those before it did not know the client, those behind it would have let him in."`
	Knows   string   `json:"knows,omitempty" doc:"The authenticator that let him in, which shows that an answer counts; with neither, nobody knew him."`
	Forced  bool     `json:"forced" doc:"The conditions of all were taken as met; false: they were judged as they are."`
	Reached bool     `json:"reached" doc:"The fault came to pass: the one that could not tell was asked."`
	Asked   []string `json:"asked" doc:"Who was asked, in that order."`
	Result  string   `json:"result" enum:"allow,deny,unavailable,ignore,continue" doc:"What the client would have been answered; ignore: nothing."`
	Reason  int      `json:"reason_code" doc:"Reason code of MQTT 5.0 of the CONNACK."`
	Answers int      `json:"answers" doc:"How often it was answered."`
}

type (
	canaryList struct {
		Data []CanaryReport `json:"data"`
	}
	canariesAnswer struct{ Body canaryList }
)

func registerCanaries(api huma.API, chains Chains) {
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/probe/chains", id: "tryChains", role: administrator, scope: scopeUsers, tag: "Probes",
		summary: "Try each chain in force on a client who does not exist, with stand-ins that do not know him or cannot tell in the places of its authenticators",
	}, func(context.Context, *struct{}) (*canariesAnswer, error) {
		out := canaryList{Data: []CanaryReport{}}
		for _, c := range chains.Canaries() {
			r := CanaryReport{Listener: c.Listener, Authenticators: append([]string{}, c.Authenticators...), Cases: []CanaryCase{}}
			for i := range c.Cases {
				k := &c.Cases[i]
				r.Cases = append(r.Cases, CanaryCase{Down: k.Down, Knows: k.Knows, Forced: k.Forced, Reached: k.Reached(), Asked: append([]string{}, k.Asked...),
					Result: k.Outcome.String(), Reason: int(k.Reason), Answers: k.Answers})
			}
			out.Data = append(out.Data, r)
		}
		return &canariesAnswer{out}, nil
	})
}

// Canaries is GET /probe/chains.
func (c *Client) Canaries(ctx context.Context) ([]CanaryReport, error) {
	l, err := call[canaryList](ctx, c, http.MethodGet, "/probe/chains", nil)
	return l.Data, err
}
