package rules

import (
	"net/netip"

	"go.yaml.in/yaml/v3"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/condition"
	"github.com/redoubtmq/redoubt/mqtt"
)

// file is a rules file as read: what to compile, where it stands, what to try.
type file struct {
	specs []auth.RuleSpec
	nodes []ruleNode // beside specs
	tests []test
}

// ruleNode is where a rule stands in the file.
type ruleNode struct {
	whole *yaml.Node
	keys  map[string]*yaml.Node
}

var ruleKeys = []string{"id", "allow", "deny", "topics", "users", "clients", "users_match", "clients_match", "addresses", "listeners", "cert_common_names", "qos", "retain", "when"}

var actions = []string{"publish", "subscribe", "all"}

func (r *reader) readFile(doc *yaml.Node) *file {
	f := &file{}
	top := r.fields(doc, "", "version", "rules", "tests")
	if top == nil {
		return f
	}
	if v := top["version"]; v == nil {
		r.fail(doc, "version", "is missing; write version: 1")
	} else {
		r.number(v, "version", 1, 1)
	}
	if top["rules"] == nil {
		r.fail(doc, "rules", "is missing; to deny everything write rules: []")
	}
	ids := map[string]int{}
	list := r.list(top["rules"], "rules")
	f.specs, f.nodes = make([]auth.RuleSpec, 0, len(list)), make([]ruleNode, 0, len(list))
	for i, n := range list {
		r.rest()
		r.readRule(f, n, r.item("rules", i), ids)
	}
	tests := r.list(top["tests"], "tests")
	if len(tests) > TestsMax {
		r.fail(tests[TestsMax], "tests", "%d tests; at most %d are allowed", len(tests), TestsMax)
		return f
	}
	for i, n := range tests {
		r.rest()
		r.readTest(f, n, r.item("tests", i))
	}
	return f
}

func (r *reader) readRule(f *file, n *yaml.Node, key string, ids map[string]int) {
	k := r.fields(n, key, ruleKeys...)
	if k == nil {
		return
	}
	s := auth.RuleSpec{File: r.file, Line: n.Line}
	r.readVerb(&s, n, k, key)
	if id := k["id"]; id != nil {
		s.ID = r.text(id, key+".id")
		if first, twice := ids[s.ID]; twice {
			r.fail(id, key+".id", "%s is the id of the rule in line %d already; give each its own", shown(s.ID), first)
		} else if len(s.ID) > 64 || s.ID == "" {
			r.fail(id, key+".id", "has %d bytes; write 1 to 64", len(s.ID))
		}
		ids[s.ID] = n.Line
	}
	if k["topics"] == nil {
		r.fail(n, key+".topics", `is missing; write the topic filters, ["#"] for all`)
	}
	r.each(k, key, "topics", func(item *yaml.Node, at string) {
		s.Topics = append(s.Topics, r.topic(item, at))
	})
	r.each(k, key, "users", func(item *yaml.Node, at string) { s.Users = append(s.Users, r.text(item, at)) })
	r.each(k, key, "clients", func(item *yaml.Node, at string) { s.Clients = append(s.Clients, r.text(item, at)) })
	r.each(k, key, "users_match", func(item *yaml.Node, at string) { s.UsersMatch = append(s.UsersMatch, r.text(item, at)) })
	r.each(k, key, "clients_match", func(item *yaml.Node, at string) { s.ClientsMatch = append(s.ClientsMatch, r.text(item, at)) })
	r.each(k, key, "listeners", func(item *yaml.Node, at string) { s.Listeners = append(s.Listeners, r.text(item, at)) })
	r.each(k, key, "cert_common_names", func(item *yaml.Node, at string) { s.CommonNames = append(s.CommonNames, r.text(item, at)) })
	r.each(k, key, "addresses", func(item *yaml.Node, at string) { s.Addresses = append(s.Addresses, r.network(item, at)) })
	r.each(k, key, "qos", func(item *yaml.Node, at string) { s.QoS = append(s.QoS, mqtt.QoS(r.number(item, at, 0, 2))) })
	if v := k["retain"]; v != nil {
		b := r.flag(v, key+".retain")
		s.Retain = &b
	}
	if v := k["when"]; v != nil {
		r.condition(&s, v, key+".when")
	}
	f.specs = append(f.specs, s)
	f.nodes = append(f.nodes, ruleNode{n, k})
}

// condition compiles the condition of a rule.
func (r *reader) condition(s *auth.RuleSpec, n *yaml.Node, key string) {
	text := r.text(n, key)
	if text == "" {
		return
	}
	c, err := condition.ForRule(text)
	if err != nil {
		r.fail(n, key, "%s %v", shown(text), err)
		return
	}
	s.When = c
}

// readVerb reads allow or deny, of which a rule has exactly one.
func (r *reader) readVerb(s *auth.RuleSpec, n *yaml.Node, k map[string]*yaml.Node, key string) {
	allow, deny := k["allow"], k["deny"]
	if (allow == nil) == (deny == nil) {
		r.fail(n, key, "has both or neither of allow and deny; write one of them, with publish, subscribe or all")
		return
	}
	verb, at := "deny", deny
	if allow != nil {
		verb, at, s.Allow = "allow", allow, true
	}
	action := r.word(at, key+"."+verb, actions...)
	s.Publish = action == "publish" || action == "all"
	s.Subscribe = action == "subscribe" || action == "all"
}

// each reads a list that, if it is there, is not empty: a rule with users: [] could
// mean nobody or everybody.
func (r *reader) each(k map[string]*yaml.Node, key, name string, read func(item *yaml.Node, at string)) {
	n := k[name]
	if n == nil {
		return
	}
	items := r.list(n, key+"."+name)
	if n.Kind == yaml.SequenceNode && len(items) == 0 {
		r.fail(n, key+"."+name, "is an empty list; leave the key out, or fill the list")
	}
	for i, item := range items {
		read(item, r.item(key+"."+name, i))
	}
}

// topic reads "a/#" or {eq: "a/#"}.
func (r *reader) topic(n *yaml.Node, key string) auth.TopicSpec {
	if n.Kind != yaml.MappingNode {
		return auth.TopicSpec{Filter: r.text(n, key)}
	}
	k := r.fields(n, key, "eq")
	if k == nil || k["eq"] == nil {
		r.fail(n, key, `has no eq; write {eq: "FILTER"}, or the filter alone`)
		return auth.TopicSpec{}
	}
	return auth.TopicSpec{Filter: r.text(k["eq"], key+".eq"), Eq: true}
}

// network reads a CIDR network or a single address.
func (r *reader) network(n *yaml.Node, key string) netip.Prefix {
	text := r.text(n, key)
	if text == "" {
		return netip.Prefix{}
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		r.fail(n, key, "%s is neither a network nor an address; write for example 10.0.0.0/8 or 2001:db8::1", shown(text))
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}
