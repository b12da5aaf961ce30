package importer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

type (
	prefix = netip.Prefix
	qos    = mqtt.QoS
)

var emqxDiffers = []string{
	"After the last rule everything is denied, whatever authorization.no_match was (`allow` before EMQX 6).",
	"A deny also reaches topics that start with $ where its filter starts with a wildcard.",
	"A subscription needs a rule that allows all of it. One that a deny rule touches in part is there without what is denied: every delivery\n" +
		"is judged. EMQX judges the text of the filter, once.",
	"A name with + # or /, or that starts with $, stands for no placeholder: an allow rule does not match then, a deny rule denies everything.",
	"Other sources of EMQX, and its order of them, are not here.",
}

// EMQX imports an acl.conf; name is what errors and comments call it.
func EMQX(name string, data []byte) (*Result, error) {
	w := &work{file: name, what: "an acl.conf of EMQX", differs: emqxDiffers}
	if !w.start(data) {
		return nil, w.err()
	}
	if !utf8.Valid(data) {
		w.fail(1, "the file is not UTF-8")
		return nil, w.err()
	}
	s := &scanner{in: string(data), line: 1, left: termsMax}
	for {
		t, source, more, err := s.next()
		var bad *syntaxError
		if errors.As(err, &bad) { // what follows could mean anything
			w.fail(bad.line, "not a term of Erlang: %s", bad.what)
			break
		}
		if !more {
			break
		}
		if err := w.emqxRule(&t, source); err != nil {
			w.fail(t.line, "%s: %v", quote(comment(source)), err)
		}
	}
	return w.finish()
}

// emqxRule adds what one term says: {Permission, Who, Action, Topics} or {Permission, all}.
func (w *work) emqxRule(t *term, source string) error {
	if t.kind != tuple || len(t.items) != 4 && len(t.items) != 2 {
		return errors.New("is no rule; a rule is {allow|deny, Who, Action, Topics} or {allow|deny, all}")
	}
	d := draft{line: t.line, source: source}
	switch verb := &t.items[0]; {
	case verb.is("allow"):
		d.spec.Allow = true
	case !verb.is("deny"):
		return errors.New("begins with neither allow nor deny")
	}
	if len(t.items) == 2 {
		if !t.items[1].is("all") {
			return errors.New("has two parts, of which the second is not all")
		}
		d.everything()
		d.spec.Publish, d.spec.Subscribe = true, true
		w.add(d)
		return nil
	}
	whos, err := whoOf(&t.items[1], !d.spec.Allow, 0)
	if err != nil {
		return err
	}
	actions, err := actionsOf(&t.items[2])
	if err != nil {
		return err
	}
	if err := d.topics(&t.items[3]); err != nil {
		return err
	}
	for _, who := range whos {
		for _, action := range actions {
			one := d
			one.notes = append([]string(nil), d.notes...)
			s := &one.spec
			s.Users, s.Clients, s.UsersMatch, s.ClientsMatch, s.Addresses = who.users, who.clients, who.usersMatch, who.clientsMatch, who.addresses
			s.Publish, s.Subscribe, s.QoS, s.Retain = action.publish, action.subscribe, action.qos, action.retain
			if !s.Allow && s.Subscribe && len(s.QoS) > 0 {
				one.notes = append(one.notes, "more than before: a delivery is denied whatever its QoS")
			}
			w.add(one)
		}
	}
	return nil
}

// everything is the topic all.
func (d *draft) everything() {
	d.spec.Topics = append(d.spec.Topics, auth.TopicSpec{Filter: "#"})
	if d.spec.Allow {
		d.notes = append(d.notes, "less than before: topics that start with $ must be spelled out here; this rule does not reach them")
	}
}

// who is whom a rule is about, in the words of ours: each list that is there must have the
// client. No list is everybody.
type who struct {
	users, clients, usersMatch, clientsMatch []string
	addresses                                []prefix
}

// whosMax bounds what 'and' and 'or' become.
const whosMax = 64

// whoOf is Who as lists of which one must have the client.
func whoOf(t *term, deny bool, depth int) ([]who, error) {
	if t.is("all") {
		return []who{{}}, nil
	}
	if t.kind != tuple || len(t.items) != 2 || t.items[0].kind != atom {
		return nil, errors.New("names nobody we know; there are all, {user, U}, {clientid, C}, {ipaddr, A}, {ipaddrs, [A]}, {'and', [..]} and {'or', [..]}")
	}
	what, value := t.items[0].text, &t.items[1]
	switch what {
	case "user", "username":
		if value.kind == tuple {
			re, err := expression(value, deny)
			return []who{{usersMatch: []string{re}}}, err
		}
		return []who{{users: []string{value.text}}}, nameOf(value)
	case "client", "clientid":
		if value.kind == tuple {
			re, err := expression(value, deny)
			return []who{{clientsMatch: []string{re}}}, err
		}
		return []who{{clients: []string{value.text}}}, nameOf(value)
	case "ipaddr":
		a, err := network(value)
		return []who{{addresses: []prefix{a}}}, err
	case "ipaddrs":
		if value.kind != lists || len(value.items) == 0 {
			return nil, errors.New("{ipaddrs, ..} has no list of networks")
		}
		var one who
		for i := range value.items {
			a, err := network(&value.items[i])
			if err != nil {
				return nil, err
			}
			one.addresses = append(one.addresses, a)
		}
		return []who{one}, nil
	case "and", "or":
		if value.kind != lists || len(value.items) == 0 {
			return nil, fmt.Errorf("'%s' has no list of conditions", what)
		}
		return joined(value.items, what == "and", deny, depth)
	}
	return nil, fmt.Errorf("%s is nothing a rule can be about here by itself; write the rule by hand, with listeners, cert_common_names or when", quote(comment(what)))
}

// joined is a disjunction of conjunctions: what a rule is one of.
func joined(items []term, and, deny bool, depth int) ([]who, error) {
	var out []who
	if and {
		out = []who{{}}
	}
	for i := range items {
		some, err := whoOf(&items[i], deny, depth+1)
		if err != nil {
			return nil, err
		}
		if !and {
			out = append(out, some...)
		} else {
			var all []who
			for _, a := range out {
				for _, b := range some {
					c, err := both(a, b)
					if err != nil {
						return nil, err
					}
					all = append(all, c)
				}
			}
			out = all
		}
		if len(out) > whosMax {
			return nil, fmt.Errorf("'and' and 'or' would become more than %d rules; write it in fewer words", whosMax)
		}
	}
	return out, nil
}

// both is who is a and b.
func both(a, b who) (who, error) {
	named := func(w *who) (user, client, address bool) {
		return len(w.users)+len(w.usersMatch) > 0, len(w.clients)+len(w.clientsMatch) > 0, len(w.addresses) > 0
	}
	au, ac, aa := named(&a)
	bu, bc, ba := named(&b)
	if au && bu || ac && bc || aa && ba {
		return who{}, errors.New("'and' asks two things of the same name or address, which no rule of ours can; write the rule by hand, with when")
	}
	return who{
		append(a.users, b.users...), append(a.clients, b.clients...), append(a.usersMatch, b.usersMatch...),
		append(a.clientsMatch, b.clientsMatch...), append(a.addresses, b.addresses...),
	}, nil
}

func nameOf(t *term) error {
	if t.kind != text || t.text == "" {
		return errors.New("a name is a string, or {re, \"EXPRESSION\"}")
	}
	return nil
}

func network(t *term) (prefix, error) {
	if t.kind != text {
		return prefix{}, errors.New("a network is a string, such as \"10.0.0.0/8\"")
	}
	if a, err := netip.ParseAddr(t.text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(t.text)
	if err != nil {
		return p, fmt.Errorf("%s is neither a network nor an address", quote(comment(t.text)))
	}
	return p.Masked(), nil // as EMQX reads it
}

// action is what a rule is about.
type action struct {
	publish, subscribe bool
	qos                []qos
	retain             *bool
}

// actionsOf is Action. One for publishing and subscribing that asks for the retain flag, which a
// subscription has not, is two.
func actionsOf(t *term) ([]action, error) {
	name, options := t, []term(nil)
	if t.kind == tuple && len(t.items) == 2 && t.items[1].kind == lists {
		name, options = &t.items[0], t.items[1].items
	}
	var a action
	switch {
	case name.is("publish"):
		a.publish = true
	case name.is("subscribe"):
		a.subscribe = true
	case name.is("all"):
		a.publish, a.subscribe = true, true
	default:
		return nil, errors.New("has an action that is none; there are publish, subscribe, all and {publish, [{qos, 1}, {retain, false}]}")
	}
	asked := false
	for i := range options {
		o := &options[i]
		if o.kind != tuple || len(o.items) != 2 {
			return nil, errors.New("has an option that is none; there are {qos, N} and {retain, true|false|all}")
		}
		switch v := &o.items[1]; {
		case o.items[0].is("qos"):
			list := v.items
			if v.kind != lists {
				list = []term{*v}
			}
			if len(list) == 0 || len(a.qos)+len(list) > 3 {
				return nil, errors.New("{qos, ..} names no QoS, or one twice")
			}
			for _, q := range list {
				if q.kind != number || q.n > 2 {
					return nil, errors.New("{qos, ..} is 0, 1 or 2")
				}
				a.qos = append(a.qos, qos(q.n)) //nolint:gosec // 0, 1 or 2
			}
		case o.items[0].is("retain") && !asked && (v.is("true") || v.is("false") || v.is("all")):
			asked = true
			if !v.is("all") {
				is := v.is("true")
				a.retain = &is
			}
		default:
			return nil, errors.New("has an option that is none, or one twice; there are {qos, N} and {retain, true|false|all}")
		}
	}
	if a.retain == nil || !a.subscribe {
		return []action{a}, nil
	}
	second := action{subscribe: true, qos: a.qos}
	if !a.publish {
		return []action{second}, nil // EMQX asks a subscription for no flag either
	}
	a.subscribe = false
	return []action{a, second}, nil
}

// topics reads Topics.
func (d *draft) topics(t *term) error {
	if t.is("all") {
		d.everything()
		return nil
	}
	if t.kind != lists || len(t.items) == 0 {
		return errors.New("has no list of topics")
	}
	for i := range t.items {
		switch v := &t.items[i]; {
		case v.is("all"):
			d.everything()
		case v.kind == tuple && len(v.items) == 2 && v.items[0].is("eq") && v.items[1].kind == text:
			if err := d.topic(v.items[1].text, true); err != nil {
				return err
			}
		case v.kind == text:
			filter, eq := strings.CutPrefix(v.text, "eq ")
			if err := d.topic(filter, eq); err != nil {
				return err
			}
		default:
			return errors.New("has a topic that is neither a string nor {eq, \"TOPIC\"}")
		}
	}
	d.denied()
	return nil
}

func (d *draft) topic(filter string, eq bool) error {
	if eq && (strings.Contains(filter, "${") || strings.Contains(filter, "%u") || strings.Contains(filter, "%c")) {
		return fmt.Errorf("%s: whether a placeholder means something inside eq depends on the version of EMQX; write it without eq", quote(comment(filter)))
	}
	if strings.Contains(filter, "$${") {
		return fmt.Errorf("%s: $${ is plain text in EMQX and cannot be said here", quote(comment(filter)))
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		switch {
		case l == "%u":
			levels[i] = "${username}"
		case l == "%c":
			levels[i] = "${clientid}"
		case strings.Contains(l, "%u") || strings.Contains(l, "%c"):
			return fmt.Errorf("%s: %%u and %%c must be the only text of a level", quote(comment(filter)))
		default:
			continue
		}
		d.notes = append(d.notes, l+" as EMQX 4 has it; to EMQX 5 it is plain text")
	}
	d.spec.Topics = append(d.spec.Topics, auth.TopicSpec{Filter: strings.Join(levels, "/"), Eq: eq})
	return nil
}
