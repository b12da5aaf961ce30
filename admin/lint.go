package admin

import (
	"context"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/advice"
)

// RuleFinding is one thing that is odd about one rule.
type RuleFinding struct {
	Severity string `json:"severity" enum:"error,warning,note" doc:"error: the rule does not do what is written there, or gives everything to everybody; warning: seldom meant; note: worth knowing."`
	Code     string `json:"code" doc:"The kind, such as shadowed or too_broad."`
	Where    string `json:"where" doc:"File and line, or the source."`
	Rule     string `json:"rule,omitempty" doc:"Name of the rule, or its number."`
	Text     string `json:"text,omitempty" doc:"The rule on one line."`
	What     string `json:"what" doc:"What is odd about it."`
	Remedy   string `json:"remedy,omitempty" doc:"What to do."`
}

// RuleFindings is everything that was found.
type RuleFindings struct {
	Data     []RuleFinding `json:"data" doc:"In the order of the rules."`
	More     int           `json:"more" doc:"Findings beyond the first thousand."`
	Rules    int           `json:"rules" doc:"Rules that were looked at."`
	Errors   int           `json:"errors" doc:"Findings that are errors."`
	Warnings int           `json:"warnings" doc:"Findings that are warnings."`
	Stopped  bool          `json:"stopped" doc:"There are so many rules that not all were compared with those before them."`
}

// FindingsOf is a report in the words of the API.
func FindingsOf(r advice.Report) RuleFindings {
	out := RuleFindings{Data: []RuleFinding{}, More: r.More, Rules: r.Rules, Errors: r.Errors, Warnings: r.Warnings, Stopped: r.Stopped}
	for _, f := range r.Findings {
		out.Data = append(out.Data, RuleFinding{f.Severity.String(), f.Code, f.Where, f.Rule, f.Text, f.What, f.Remedy})
	}
	return out
}

// listsMax bounds the users and clients whose built-in rules are looked at by one question.
const listsMax = 10_000

type (
	lintQuery struct {
		ClientID string `query:"clientid" maxLength:"65535" doc:"Client identifier of a session: only the rules that are about it, those of back ends included. Left out: the rules file and the built-in rules."`
		Whose
	}
	lintAnswer struct{ Body RuleFindings }
)

func registerLint(api huma.API, o *Options) {
	clients := &clientRoom{Clients: o.Clients}
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/authorization/lint", id: "lintRules", role: viewer, scope: scopeAuthorization, tag: "Authorization",
		summary: "What is odd about the rules in force: never reached, too broad, mistyped", errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, q *lintQuery) (*lintAnswer, error) {
		check := advice.New(adviceOptions(o))
		if q.ClientID == "" {
			lintAll(o, check)
			out := FindingsOf(check.Report())
			if note := notInOrder(o); note != "" && o.Rules != nil && o.Rules.Book().Len() > 0 {
				out.Warnings++
				out.Data = append(out.Data, RuleFinding{Severity: "warning", Code: "not_asked", Where: "authz.order", What: note, Remedy: "add builtin to authz.order, or delete those rules (redoubt acl list)"})
			}
			return &lintAnswer{out}, nil
		}
		c, err := clients.find(ctx, &oneClient{ClientID: q.ClientID, Whose: q.Whose})
		if err != nil {
			return nil, err
		}
		o.Policy.Policy().Effective(&c.By, func(st auth.Standing) bool {
			if len(st.Filters) > 0 {
				check.Standing(&st)
			}
			return true
		})
		return &lintAnswer{FindingsOf(check.Report())}, nil
	})
}

// adviceOptions are what is known of the broker.
func adviceOptions(o *Options) (opt advice.Options) {
	if o.Limits != nil {
		opt.TopicLevels = int(o.Limits.Limits().TopicLevels)
	}
	s := o.Status.Status()
	for _, l := range s.Listeners {
		opt.Listeners = append(opt.Listeners, l.Name)
	}
	for _, l := range s.Stopped {
		opt.Listeners = append(opt.Listeners, l.Name)
	}
	return opt
}

// lintAll looks at the rules that are the same for all in their order, and at the built-in
// ones of users and clients as they stand among those.
func lintAll(o *Options, check *advice.Checker) {
	policy := o.Policy.Policy()
	own := func() {
		if o.Rules == nil {
			return
		}
		book, left := o.Rules.Book(), listsMax
		for _, names := range []struct {
			of   func(string) auth.Subject
			list []string
		}{{auth.ClientNamed, book.Clients()}, {auth.UserNamed, book.Users()}} {
			for _, name := range names.list {
				if left--; left < 0 {
					check.Stop()
					return
				}
				check.AddList(names.of(name), book.Rules(names.of(name)))
			}
		}
	}
	for _, r := range policy.Rules() {
		if r.Source == auth.SourceBuiltin && own != nil {
			own()
			own = nil
		}
		if r.Source != "" || r.File != "" { // neither a temporary grant nor the last rule
			check.Add(r)
		}
	}
	if own != nil {
		own()
	}
}

// Lint is GET /authorization/lint; a ClientID that is empty: of all rules.
func (c *Client) Lint(ctx context.Context, r SessionRef) (RuleFindings, error) {
	v := url.Values{}
	if r.ClientID != "" {
		v = r.Filter().values()
	}
	return call[RuleFindings](ctx, c, http.MethodGet, "/authorization/lint?"+v.Encode(), nil)
}
