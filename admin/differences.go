package admin

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/audit"
)

// Candidates are the rules of authz.report_only.
type Candidates interface {
	// Candidate is how they are, and at most most kinds of what they would change.
	Candidate(most int) (CandidateState, audit.Compared)
	// ForgetDifferences begins to count anew.
	ForgetDifferences()
}

// CandidateState says which rules are tried.
type CandidateState struct {
	File string `json:"file" doc:"Rules file that is tried (authz.report_only.rules_file); empty: none is."`
	Why  string `json:"why,omitempty" doc:"Why it is not tried although it is configured."`
}

// DifferenceReport is what rules that are only tried would have decided otherwise.
type DifferenceReport struct {
	CandidateState
	Since  time.Time        `json:"since,omitzero" doc:"Since when it is counted: the start, the reload that brought other rules, or the last time it was forgotten."`
	Deny   uint64           `json:"would_deny" doc:"Judgements that allow, and would deny; also subscriptions of which some deliveries would be denied."`
	Allow  uint64           `json:"would_allow" doc:"Judgements that deny, and would allow."`
	Failed uint64           `json:"failed" doc:"Judgements that could not be made because of a bug; they have no effect."`
	Left   uint64           `json:"not_listed" doc:"Judgements that differ and are only counted: an identity has 16 kinds in the list, and there are 1,024 identities."`
	Kinds  int              `json:"kinds" doc:"Kinds of differences there are."`
	Data   []DifferenceInfo `json:"data" doc:"Kinds of differences, those that happen most often first."`
}

// DifferenceInfo is one kind of difference of one identity.
type DifferenceInfo struct {
	Would     string    `json:"would" enum:"deny,deny_partly,allow" doc:"What the other rules would do. deny_partly: the subscription stays, and some of its deliveries do not."`
	Identity  string    `json:"identity"`
	ClientID  string    `json:"clientid" doc:"Of the last time."`
	Action    string    `json:"action" enum:"publish,subscribe,receive"`
	Topic     string    `json:"topic" doc:"What the topics have in common: names of the client as placeholders, numbers and identifiers as +."`
	Example   string    `json:"example" doc:"The last of these topics."`
	Times     uint64    `json:"times" doc:"Judgements, and not messages: what is remembered of a client is not judged again."`
	First     time.Time `json:"first_at"`
	Last      time.Time `json:"last_at"`
	Rule      RuleInfo  `json:"rule" doc:"The rule in force that decided."`
	Candidate RuleInfo  `json:"candidate" doc:"The rule that would have."`
}

type (
	differencesQuery struct {
		Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Kinds at most."`
	}
	differencesAnswer struct{ Body DifferenceReport }
)

func registerDifferences(api huma.API, o *Options) {
	const tag, path = "Authorization", prefix + "/authorization/differences"
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "listDifferences", role: viewer, scope: scopeAuthorization, tag: tag,
		summary: "What the rules of authz.report_only would have decided otherwise",
	}, func(_ context.Context, q *differencesQuery) (*differencesAnswer, error) {
		return &differencesAnswer{differenceReport(o.Candidates.Candidate(q.Limit))}, nil
	})
	register(api, endpoint{
		method: http.MethodDelete, path: path, id: "forgetDifferences", role: administrator, scope: scopeAuthorization, tag: tag,
		summary: "Begin to count differences anew", status: http.StatusNoContent,
	}, func(ctx context.Context, _ *none) (*empty, error) {
		o.Candidates.ForgetDifferences()
		o.Log.LogAttrs(ctx, slog.LevelInfo, "differences of authz.report_only forgotten by an operator", actor(ctx)...)
		return nil, nil
	})
}

func differenceReport(s CandidateState, c audit.Compared) DifferenceReport {
	out := DifferenceReport{CandidateState: s, Since: c.Since.UTC(), Deny: c.Deny, Allow: c.Allow, Failed: c.Failed, Left: c.Left, Kinds: c.Kinds, Data: []DifferenceInfo{}}
	for i := range c.List {
		d := &c.List[i]
		would := "allow"
		switch {
		case d.Partly:
			would = "deny_partly"
		case d.Deny:
			would = "deny"
		}
		out.Data = append(out.Data, DifferenceInfo{
			Would: would, Identity: d.Identity, ClientID: d.ClientID, Action: d.Event, Topic: d.Topic, Example: d.Example, Times: d.Times, First: d.First.UTC(), Last: d.Last.UTC(),
			Rule: ruled(&d.Rule, d.Deny), Candidate: ruled(&d.Candidate, !d.Deny || d.Partly),
		})
	}
	return out
}

func ruled(r *audit.Ruled, allow bool) RuleInfo {
	return RuleInfo{ID: r.ID, Allow: allow, Text: r.Text, File: r.File, Line: r.Line, Where: r.Where}
}

// Differences is GET /authorization/differences.
func (c *Client) Differences(ctx context.Context, limit int) (DifferenceReport, error) {
	return call[DifferenceReport](ctx, c, http.MethodGet, "/authorization/differences?limit="+strconv.Itoa(limit), nil)
}

// ForgetDifferences is DELETE /authorization/differences.
func (c *Client) ForgetDifferences(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/authorization/differences", nil)
	return err
}
