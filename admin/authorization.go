package admin

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/mqtt"
)

// AccessQuery asks what the rules in force say.
type AccessQuery struct {
	Username  string `json:"username,omitempty" maxLength:"65535" doc:"Proven user name."`
	ClientID  string `json:"clientid,omitempty" maxLength:"65535" doc:"Client identifier."`
	IPAddress string `json:"ip_address,omitempty" maxLength:"64" doc:"Address of the client."`
	Action    string `json:"action" enum:"publish,subscribe,receive" doc:"receive: the delivery of one message to a subscriber."`
	Topic     string `json:"topic" minLength:"1" maxLength:"65535" doc:"Topic name; for subscribe a topic filter."`
	QoS       int    `json:"qos,omitempty" minimum:"0" maximum:"2" doc:"Quality of service."`
	Retain    bool   `json:"retain,omitempty" doc:"Retain flag, for publish."`
}

// AccessVerdict is the answer and the rule that gave it.
type AccessVerdict struct {
	Result string   `json:"result" enum:"allow,deny,unknown" doc:"What the rules say. unknown: a source that is read when a client connects might decide, and is not asked here; rule is what decides without it."`
	Partly bool     `json:"partly" doc:"The subscription is allowed, and a deny rule inside it is enforced at each delivery."`
	Rule   RuleInfo `json:"rule" doc:"The rule that decided."`
	Note   string   `json:"note,omitempty" doc:"What the rule alone does not tell."`
}

// Allow tells whether the answer is allow.
func (v *AccessVerdict) Allow() bool { return v.Result == "allow" }

// RuleInfo is one rule of the policy in force.
type RuleInfo struct {
	ID    string `json:"id" doc:"Name of the rule, or its number."`
	Allow bool   `json:"allow" doc:"Whether it allows or denies."`
	Text  string `json:"text" doc:"The rule on one line."`
	File  string `json:"file" doc:"File it was read from; empty where it is from none."`
	Line  int    `json:"line" doc:"Line in that file."`
	Where string `json:"where" doc:"File and line as one text; else the source in authz.order, or default for the last rule of every policy."`
}

// Place is where a rule is, and its ID if that says more.
func (r *RuleInfo) Place() string { return placeOf(r.Where, r.ID) }

func placeOf(where, id string) string {
	if where == id || id == "" {
		return where
	}
	return where + " (" + id + ")"
}

// RuleList is every rule, in the order they are judged.
type RuleList struct {
	Data    []RuleInfo `json:"data" doc:"Rules in the order they are judged; the first that matches decides. Only those that are the same for all clients."`
	Own     int        `json:"own" doc:"Built-in rules for single users and clients, which are not among them."`
	Sources []string   `json:"sources" doc:"Sources of authz.order that are asked for each client when it connects; their rules are not among them, either."`
}

type (
	checkAccess  struct{ Body AccessQuery }
	accessAnswer struct{ Body AccessVerdict }
	rulesAnswer  struct{ Body RuleList }
)

func registerAuthorization(api huma.API, o *Options) {
	const tag, path = "Authorization", prefix + "/authorization"
	register(api, endpoint{
		method: http.MethodPost, path: path + "/check", id: "checkAccess", role: viewer, scope: scopeAuthorization, tag: tag,
		summary: "Ask the rules in force, without doing anything",
	}, func(_ context.Context, in *checkAccess) (*accessAnswer, error) {
		v, err := check(o.Policy.Policy(), &in.Body)
		if err != nil {
			return nil, err
		}
		return &accessAnswer{*v}, nil
	})
	register(api, endpoint{
		method: http.MethodGet, path: path + "/rules", id: "listRules", role: viewer, scope: scopeAuthorization, tag: tag,
		summary: "The rules in force, in the order they are judged",
	}, func(context.Context, *none) (*rulesAnswer, error) {
		out := &rulesAnswer{RuleList{Data: []RuleInfo{}, Sources: o.Policy.Policy().PerClient()}}
		if o.Rules != nil && notInOrder(o) == "" {
			book := o.Rules.Book()
			out.Body.Own = book.Len() - len(book.Rules(auth.Everybody()))
		}
		for _, r := range o.Policy.Policy().Rules() {
			out.Body.Data = append(out.Body.Data, ruleInfo(r))
		}
		return out, nil
	})
}

func check(p *auth.Policy, q *AccessQuery) (*AccessVerdict, error) {
	by := auth.Principal{Identity: q.Username, Username: q.Username, ClientID: q.ClientID}
	if q.IPAddress != "" {
		addr, err := netip.ParseAddr(q.IPAddress)
		if err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, "ip_address is not an address such as 192.0.2.1 or 2001:db8::1")
		}
		by.Addr = addr
	}
	e := rules.Explain(p, rules.Query{By: by, Verb: rules.Verb(q.Action), Topic: q.Topic, QoS: mqtt.QoS(q.QoS), Retain: q.Retain})
	v := &AccessVerdict{Result: "deny", Partly: e.Partly, Note: e.Note, Rule: RuleInfo{ID: e.Rule, Text: e.Text, Where: e.Where}}
	if e.Allow {
		v.Result = "allow"
	}
	if len(e.Unasked) > 0 {
		v.Result, v.Note = "unknown", unaskedNote(e.Unasked)
	}
	// Explain names the rule; File and Line are looked up by where it stands.
	for _, r := range p.Rules() {
		if r.ID == e.Rule && r.Where() == e.Where && r.Text == e.Text {
			v.Rule = ruleInfo(r)
			break
		}
	}
	return v, nil
}

// unaskedNote says who could have known.
func unaskedNote(sources []string) string {
	what := "source " + sources[0] + " is"
	if len(sources) > 1 {
		what = "sources " + strings.Join(sources, ", ") + " are"
	}
	return what + " read at CONNECT and not asked here: use redoubt why CLIENT publish|subscribe TOPIC, or redoubt authn test"
}

func ruleInfo(r *auth.Rule) RuleInfo {
	return RuleInfo{ID: r.ID, Allow: r.Allows(), Text: r.Text, File: r.File, Line: r.Line, Where: r.Where()}
}
