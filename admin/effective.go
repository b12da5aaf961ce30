package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/conn"
)

// EffectiveRules are the rules that are about the client of one session, and where they
// come from.
type EffectiveRules struct {
	Client    WhyClient      `json:"client"`
	Superuser bool           `json:"superuser" doc:"An authenticator has said that the client may do everything but what starts with $."`
	Unproven  bool           `json:"unproven" doc:"The client has not been here since the broker started: what its authentication brings is not known until it comes back."`
	Sources   []RuleOrigin   `json:"sources" doc:"Where rules are asked for, in this order (authz.order)."`
	Data      []StandingRule `json:"data" doc:"Rules in the order they are asked. The first that matches decides, and the last denies everything."`
	Meta      Meta           `json:"meta"`
}

// RuleOrigin is a place of authz.order.
type RuleOrigin struct {
	Name   string     `json:"name" doc:"Its name in authz.order; empty: temporary grants of probes."`
	Rules  int        `json:"rules" doc:"Rules there that are about this client."`
	ReadAt *time.Time `json:"read_at,omitempty" doc:"When a back end has said so last; absent where no back end is asked, or none has answered."`
	Age    *int64     `json:"age_seconds,omitempty" doc:"Seconds since then."`
}

// StandingRule is one rule as it stands for the client.
type StandingRule struct {
	No      int      `json:"no" doc:"Its place in the order; the first is 1."`
	Source  string   `json:"source,omitempty" doc:"Where it comes from; absent of the rules that nobody writes."`
	Action  string   `json:"action" enum:"publish,subscribe,all" doc:"What it is about."`
	Topics  []string `json:"topics" doc:"Topic filters with the placeholders filled in; eq FILTER: the subscription to exactly that."`
	QoS     []int    `json:"qos,omitempty" doc:"Only these; absent: any."`
	Retain  *bool    `json:"retain,omitempty" doc:"Only messages with this retain flag; absent: any."`
	When    string   `json:"when,omitempty" doc:"Its condition, which holds for this client unless effect says otherwise."`
	Effect  string   `json:"effect" enum:"decides,never_matches,denies_everything,not_sure" doc:"What it can do about this client."`
	Because string   `json:"because,omitempty" doc:"What is to know of the effect."`
	RuleInfo
}

type effectiveQuery struct {
	ClientID string `query:"clientid" required:"true" minLength:"1" maxLength:"65535" doc:"Client identifier of a session."`
	Whose
	Page  int `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"Page; the first is 1."`
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Rules on a page."`
}

type effectiveAnswer struct{ Body EffectiveRules }

// registerEffective adds the operation that shows the rules of a client.
func registerEffective(api huma.API, o *Options) {
	clients := &clientRoom{Clients: o.Clients}
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/authorization/effective", id: "listEffectiveRules", role: viewer, scope: scopeAuthorization, tag: "Authorization",
		summary: "The rules that are about the client of a session, in the order they are judged", errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, q *effectiveQuery) (*effectiveAnswer, error) {
		c, err := clients.find(ctx, &oneClient{ClientID: q.ClientID, Whose: q.Whose})
		if err != nil {
			return nil, err
		}
		return &effectiveAnswer{effectiveRules(o, c, q)}, nil
	})
}

// effectiveRules walks what is in force for one client. It works on a copy of what the
// session is known by, and asks no loop.
func effectiveRules(o *Options, c *conn.ClientInfo, q *effectiveQuery) EffectiveRules {
	by := c.By
	by.ClientID = c.Key.ClientID
	out := EffectiveRules{
		Client: whyClient(&by, c.Online), Sources: []RuleOrigin{}, Data: []StandingRule{}, Meta: Meta{Page: q.Page, Limit: q.Limit},
		Superuser: by.Claims != nil && by.Claims.Superuser, Unproven: by.Claims.Unsure(),
	}
	policy := o.Policy.Policy()
	for _, name := range policy.Sources() {
		out.Sources = append(out.Sources, originOf(name, &by, o.Clock.Now()))
	}
	first := (q.Page - 1) * q.Limit
	policy.Effective(&by, func(st auth.Standing) bool {
		if i := out.Meta.Count; i >= first && i < first+q.Limit {
			out.Data = append(out.Data, standingRule(i+1, &st))
		}
		out.Meta.Count++
		for i := range out.Sources {
			if out.Sources[i].Name == st.Source {
				out.Sources[i].Rules++
			}
		}
		return true
	})
	out.Meta.HasNext = out.Meta.Count > first+q.Limit
	return out
}

// originOf is a source without its rules.
func originOf(name string, by *auth.Principal, now time.Time) RuleOrigin {
	from := RuleOrigin{Name: name}
	if by.Claims == nil {
		return from
	}
	for _, own := range by.Claims.Rules {
		if at := own.Read.At(); own.Source == name && !at.IsZero() {
			age := int64(max(now.Sub(at), 0) / time.Second)
			from.ReadAt, from.Age = &at, &age
		}
	}
	return from
}

func standingRule(no int, st *auth.Standing) StandingRule {
	r := StandingRule{No: no, Source: st.Source, Topics: []string{}, Retain: st.Rule.Retain(), When: st.Rule.When(), Effect: st.Effect.String(), Because: st.Why, RuleInfo: ruleInfo(st.Rule)}
	for i, t := range st.Rule.Topics() {
		text := st.Filters[i]
		if t.Eq {
			text = "eq " + text
		}
		r.Topics = append(r.Topics, text)
	}
	if len(st.Rule.Topics()) == 0 { // the last one
		r.Topics = append(r.Topics, "#")
	}
	for _, q := range st.Rule.QoS() {
		r.QoS = append(r.QoS, int(q))
	}
	switch publish, subscribe := st.Rule.Actions(); {
	case publish && !subscribe:
		r.Action = "publish"
	case subscribe && !publish:
		r.Action = "subscribe"
	default:
		r.Action = "all"
	}
	return r
}

// EffectiveRules is GET /authorization/effective.
func (c *Client) EffectiveRules(ctx context.Context, r SessionRef, page, limit int) (EffectiveRules, error) {
	f := r.Filter()
	v := url.Values{"page": {strconv.Itoa(page)}, "limit": {strconv.Itoa(limit)}}
	for name, value := range f {
		v.Set(name, value)
	}
	return call[EffectiveRules](ctx, c, http.MethodGet, "/authorization/effective?"+v.Encode(), nil)
}
