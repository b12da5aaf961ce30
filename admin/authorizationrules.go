package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/acl"
)

// BuiltinRule is one built-in rule, in EMQX's shape.
type BuiltinRule struct {
	Permission string `json:"permission" enum:"allow,deny" doc:"What the rule answers."`
	Action     string `json:"action" enum:"publish,subscribe,all" doc:"What it is about."`
	Topic      string `json:"topic" minLength:"1" maxLength:"1027" doc:"Topic filter, with placeholders such as ${username}; eq FILTER: the subscription to exactly that."`
	QoS        []int  `json:"qos,omitempty" maxItems:"3" doc:"Quality of service: of the message, or asked for by the subscription. Empty: any."`
	Retain     string `json:"retain,omitempty" enum:"true,false,all" doc:"Retain flag of the message, for a rule about publish only."`
}

// SubjectRules are the rules of one user, one client or everybody, in their order.
type SubjectRules struct {
	Username string        `json:"username,omitempty" doc:"User they are for."`
	ClientID string        `json:"clientid,omitempty" doc:"Client identifier they are for."`
	Rules    []BuiltinRule `json:"rules" maxItems:"100000" doc:"Rules, in the order they are judged; the first that matches decides."`
	Already  []int         `json:"already,omitempty" doc:"Of an answer to PATCH: for each rule to add that was there, its number. It was not added again. Ignored in a question."`
	Note     string        `json:"note,omitempty" doc:"Of an answer: why the rules have no effect at the moment. Ignored in a question."`
}

// SubjectRulesPage is one page of users or clients with rules.
type SubjectRulesPage struct {
	Data []SubjectRules `json:"data" doc:"Sorted by name."`
	Meta Meta           `json:"meta"`
}

// RulesEdit changes the rules of one subject: it adds some, or deletes one.
type RulesEdit struct {
	Username string        `json:"username,omitempty" maxLength:"1024" doc:"User they are for; without it and clientid they are for everybody."`
	ClientID string        `json:"clientid,omitempty" maxLength:"1024" doc:"Client identifier they are for."`
	Add      []BuiltinRule `json:"add,omitempty" maxItems:"1000" doc:"Rules to add, behind those there are."`
	First    bool          `json:"first,omitempty" doc:"Add them before those there are."`
	Delete   int           `json:"delete,omitempty" minimum:"0" maximum:"100000" doc:"Number of a rule to delete; the first is 1."`
}

const (
	builtinRulesPath = "/authorization/sources/built_in_database/rules"
	rulesUsers       = "users"
	rulesClients     = "clients"
)

type (
	rulesPageQuery struct {
		Page  int    `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"Page; the first is 1."`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Entries on a page."`
		Like  string `query:"like" maxLength:"256" doc:"Only names that hold this text."`
	}
	rulesOf struct {
		Name string `path:"name" minLength:"1" maxLength:"1024" doc:"User name or client identifier."`
	}
	putRules struct {
		Name string `path:"name" minLength:"1" maxLength:"1024" doc:"User name or client identifier."`
		Body SubjectRules
	}
	putRulesOfAll  struct{ Body SubjectRules }
	addRules       struct{ Body []SubjectRules }
	editRules      struct{ Body RulesEdit }
	subjectAnswer  struct{ Body SubjectRules }
	subjectsAnswer struct{ Body SubjectRulesPage }
)

// ruleRoom answers what is about built-in rules.
type ruleRoom struct {
	store *acl.Store
	o     *Options
}

func registerBuiltinRules(api huma.API, o *Options) {
	r := &ruleRoom{o.Rules, o}
	const tag, base = "Authorization", prefix + builtinRulesPath
	at := func(method, path, id, summary string, errs ...int) endpoint {
		e := endpoint{method: method, path: base + path, id: id, role: administrator, scope: scopeAuthorization, tag: tag, summary: summary, errors: errs}
		if method == http.MethodGet {
			e.role = viewer
		} else if method != http.MethodPatch {
			e.status = http.StatusNoContent
		}
		return e
	}
	for _, of := range []struct {
		kind, what, id string
		who            func(string) auth.Subject
		names          func(*auth.Book) []string
	}{{rulesUsers, "user", "User", auth.UserNamed, (*auth.Book).Users}, {rulesClients, "client", "Client", auth.ClientNamed, (*auth.Book).Clients}} {
		register(api, at(http.MethodGet, "/"+of.kind, "list"+of.id+"Rules", "Built-in rules by "+of.what), func(_ context.Context, q *rulesPageQuery) (*subjectsAnswer, error) {
			return r.page(q, of.names, of.who), nil
		})
		register(api, at(http.MethodPost, "/"+of.kind, "add"+of.id+"Rules", "Give several "+of.kind+" rules, in place of those they have"), func(ctx context.Context, in *addRules) (*empty, error) {
			for i := range in.Body {
				s := &in.Body[i]
				name := s.Username
				if of.kind == rulesClients {
					name = s.ClientID
				}
				if err := r.put(ctx, of.who(name), s.Rules); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		register(api, at(http.MethodGet, "/"+of.kind+"/{name...}", "get"+of.id+"Rules", "Built-in rules of one "+of.what, http.StatusNotFound), func(_ context.Context, in *rulesOf) (*subjectAnswer, error) {
			return r.get(of.who(in.Name))
		})
		register(api, at(http.MethodPut, "/"+of.kind+"/{name...}", "set"+of.id+"Rules", "Give one "+of.what+" rules, in place of those it has"), func(ctx context.Context, in *putRules) (*empty, error) {
			return nil, r.put(ctx, of.who(in.Name), in.Body.Rules)
		})
		register(api, at(http.MethodDelete, "/"+of.kind+"/{name...}", "delete"+of.id+"Rules", "Delete the built-in rules of one "+of.what, http.StatusNotFound), func(ctx context.Context, in *rulesOf) (*empty, error) {
			if _, err := r.get(of.who(in.Name)); err != nil {
				return nil, err
			}
			return nil, r.put(ctx, of.who(in.Name), nil)
		})
	}
	register(api, at(http.MethodGet, "/all", "getRulesOfAll", "Built-in rules for everybody"), func(context.Context, *none) (*subjectAnswer, error) {
		return &subjectAnswer{r.rules(auth.Everybody())}, nil
	})
	register(api, at(http.MethodPost, "/all", "setRulesOfAll", "Give everybody rules, in place of those there are"), func(ctx context.Context, in *putRulesOfAll) (*empty, error) {
		return nil, r.put(ctx, auth.Everybody(), in.Body.Rules)
	})
	register(api, at(http.MethodDelete, "/all", "deleteRulesOfAll", "Delete the built-in rules for everybody"), func(ctx context.Context, _ *none) (*empty, error) {
		return nil, r.put(ctx, auth.Everybody(), nil)
	})
	register(api, at(http.MethodPatch, "", "editRules", "Add built-in rules, or delete one", http.StatusNotFound), func(ctx context.Context, in *editRules) (*subjectAnswer, error) {
		return r.edit(ctx, &in.Body)
	})
}

func (r *ruleRoom) rules(who auth.Subject) SubjectRules {
	s := SubjectRules{Rules: []BuiltinRule{}, Note: notInOrder(r.o)}
	if who.IsUser() {
		s.Username = who.Name()
	} else if who.IsClient() {
		s.ClientID = who.Name()
	}
	for _, e := range r.store.List(who) {
		s.Rules = append(s.Rules, BuiltinRule(e))
	}
	return s
}

// notInOrder says that built-in rules have no effect; empty: they have.
func notInOrder(o *Options) string {
	if slices.Contains(o.Policy.Policy().Sources(), auth.SourceBuiltin) {
		return ""
	}
	return "built-in rules have no effect: authz.order has no builtin"
}

func (r *ruleRoom) get(who auth.Subject) (*subjectAnswer, error) {
	s := r.rules(who)
	if len(s.Rules) == 0 {
		return nil, newProblem(http.StatusNotFound, "there are no built-in rules for "+clipped(who.String()))
	}
	return &subjectAnswer{s}, nil
}

func (r *ruleRoom) page(q *rulesPageQuery, names func(*auth.Book) []string, who func(string) auth.Subject) *subjectsAnswer {
	page := SubjectRulesPage{Data: []SubjectRules{}, Meta: Meta{Page: q.Page, Limit: q.Limit}}
	first := (q.Page - 1) * q.Limit
	for _, name := range names(r.store.Book()) {
		if !strings.Contains(name, q.Like) {
			continue
		}
		if i := page.Meta.Count; i >= first && i < first+q.Limit {
			page.Data = append(page.Data, r.rules(who(name)))
		}
		page.Meta.Count++
	}
	page.Meta.HasNext = page.Meta.Count > first+q.Limit
	return &subjectsAnswer{page}
}

func ruleEntries(rules []BuiltinRule) []acl.Entry {
	out := make([]acl.Entry, len(rules))
	for i := range rules {
		out[i] = acl.Entry(rules[i])
	}
	return out
}

func (r *ruleRoom) put(ctx context.Context, who auth.Subject, rules []BuiltinRule) error {
	return r.change(ctx, who, func([]acl.Entry) ([]acl.Entry, error) { return ruleEntries(rules), nil })
}

// change writes down who changes what, before it is in force.
func (r *ruleRoom) change(ctx context.Context, who auth.Subject, edit func([]acl.Entry) ([]acl.Entry, error)) error {
	if who != auth.Everybody() {
		if err := acl.CheckName(who.Name()); err != nil {
			return newProblem(http.StatusUnprocessableEntity, err.Error())
		}
	}
	had, has := 0, 0
	err := r.store.Change(who, func(old []acl.Entry) ([]acl.Entry, error) {
		next, err := edit(old)
		had, has = len(old), len(next)
		return next, err
	}, func() {
		r.o.Log.LogAttrs(ctx, loudly(r.o), "built-in rules changed by an operator", append(actor(ctx),
			slog.String("for", clipped(who.String())), slog.Int("rules_before", had), slog.Int("rules", has))...)
	})
	var keep *acl.KeepError
	switch {
	case err == nil || errors.Is(err, errNothingNew):
		return err
	case errors.Is(err, acl.ErrUnknown):
		return newProblem(http.StatusNotFound, err.Error())
	case errors.As(err, &keep): // the log takes nothing now
		return newProblem(http.StatusServiceUnavailable, err.Error())
	}
	return newProblem(http.StatusUnprocessableEntity, err.Error())
}

func (r *ruleRoom) edit(ctx context.Context, in *RulesEdit) (*subjectAnswer, error) {
	who := auth.Everybody()
	switch {
	case in.Username != "" && in.ClientID != "":
		return nil, newProblem(http.StatusUnprocessableEntity, "username and clientid are both given; rules are for one of them")
	case in.Username != "":
		who = auth.UserNamed(in.Username)
	case in.ClientID != "":
		who = auth.ClientNamed(in.ClientID)
	}
	if len(in.Add) == 0 && in.Delete == 0 {
		return nil, newProblem(http.StatusUnprocessableEntity, "there is nothing to add or delete")
	}
	var there []acl.Entry // of those to add
	err := r.change(ctx, who, func(list []acl.Entry) ([]acl.Entry, error) {
		if in.Delete > len(list) {
			return nil, fmt.Errorf("rule %d for %s %w: there are %d", in.Delete, clipped(who.String()), acl.ErrUnknown, len(list))
		}
		if in.Delete > 0 {
			list = slices.Delete(list, in.Delete-1, in.Delete)
		}
		var add []acl.Entry
		for _, e := range ruleEntries(in.Add) {
			n := slices.IndexFunc(list, e.Same)
			switch {
			case n < 0 && !slices.ContainsFunc(add, e.Same):
				add = append(add, e)
			case n >= len(in.Add) && in.First: // that is another order, which is not made by the way
				return nil, fmt.Errorf("it is already there: rule %d for %s; delete that one, and add it first then", n+1, clipped(who.String()))
			default:
				there = append(there, e)
			}
		}
		if len(add) == 0 && in.Delete == 0 {
			return nil, errNothingNew
		}
		if in.First {
			return append(add, list...), nil
		}
		return append(list, add...), nil
	})
	if err != nil && !errors.Is(err, errNothingNew) {
		return nil, err
	}
	out := r.rules(who)
	for _, e := range there {
		n := slices.IndexFunc(out.Rules, func(b BuiltinRule) bool { return e.Same(acl.Entry(b)) })
		out.Already = append(out.Already, n+1)
	}
	return &subjectAnswer{out}, nil
}

// errNothingNew ends a change that would change nothing.
var errNothingNew = errors.New("nothing new")

// EditRules is PATCH on the built-in rules.
func (c *Client) EditRules(ctx context.Context, e *RulesEdit) (SubjectRules, error) {
	return call[SubjectRules](ctx, c, http.MethodPatch, builtinRulesPath, e)
}

// ClearRules deletes the built-in rules of a subject.
func (c *Client) ClearRules(ctx context.Context, username, clientID string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, rulesPath(username, clientID), nil)
	return err
}

// BuiltinRules are those of one subject.
func (c *Client) BuiltinRules(ctx context.Context, username, clientID string) (SubjectRules, error) {
	return call[SubjectRules](ctx, c, http.MethodGet, rulesPath(username, clientID), nil)
}

func rulesPath(username, clientID string) string {
	switch {
	case username != "":
		return builtinRulesPath + "/" + rulesUsers + "/" + segment(username)
	case clientID != "":
		return builtinRulesPath + "/" + rulesClients + "/" + segment(clientID)
	}
	return builtinRulesPath + "/all"
}

// EachBuiltinRules calls fn for clients, users and everybody with rules, in the order they
// are judged.
func (c *Client) EachBuiltinRules(ctx context.Context, fn func(*SubjectRules) error) error {
	for _, kind := range []string{rulesClients, rulesUsers} {
		for n := 1; ; n++ {
			v := url.Values{"page": {strconv.Itoa(n)}, "limit": {"100"}}
			page, err := call[SubjectRulesPage](ctx, c, http.MethodGet, builtinRulesPath+"/"+kind+"?"+v.Encode(), nil)
			if err != nil {
				return err
			}
			for i := range page.Data {
				if err := fn(&page.Data[i]); err != nil {
					return err
				}
			}
			if !page.Meta.HasNext {
				break
			}
		}
	}
	all, err := c.BuiltinRules(ctx, "", "")
	if err != nil || len(all.Rules) == 0 {
		return err
	}
	return fn(&all)
}
