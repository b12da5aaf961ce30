package auth

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Rule is one compiled rule of a policy, as the operator is shown it. It is
// immutable.
type Rule struct {
	File   string // where it was read, "" if it was not read from a file
	Line   int
	ID     string // given in the file, or its number
	Text   string // the rule on one line, shortened if it lists many things
	Source string // of authz.order; "" in a policy that has one source only

	allow, publish, subscribe bool
	qos                       uint8 // bit per QoS; 0: any
	retain                    retainIs
	needs                     needs  // placeholders of its topics
	who                       *whoIs // nil: anybody
	topics                    []pattern
}

// retainIs is the retain qualifier of a rule.
type retainIs uint8

const (
	retainAny retainIs = iota
	retainFalse
	retainTrue
)

// Allows tells an allow rule from a deny rule.
func (r *Rule) Allows() bool { return r.allow }

// Where is file:line, the name of a source without files, or, of a rule that nobody writes, its
// ID: "default" is the last rule of every policy.
func (r *Rule) Where() string {
	if r.File == "" {
		return cmp.Or(r.Source, r.ID)
	}
	return r.File + ":" + strconv.Itoa(r.Line)
}

// Filters lists the topic filters as they were written.
func (r *Rule) Filters() []string {
	out := make([]string, len(r.topics))
	for i := range r.topics {
		out[i] = r.topics[i].text
	}
	return out
}

// takesQoS tells whether the rule's QoS qualifier lets q through.
func (r *Rule) takesQoS(q mqtt.QoS) bool { return r.qos == 0 || q < 8 && r.qos&(1<<q) != 0 }

// takesRetain tells whether the rule's retain qualifier lets the flag through.
func (r *Rule) takesRetain(retain bool) bool {
	return r.retain == retainAny || (r.retain == retainTrue) == retain
}

// describe writes the rule on one line in the words of the rules file.
func describe(s *RuleSpec) string {
	var b strings.Builder
	verb := "deny"
	if s.Allow {
		verb = "allow"
	}
	action := "all"
	if !s.Subscribe {
		action = Publish.String()
	} else if !s.Publish {
		action = Subscribe.String()
	}
	b.WriteString(verb + ": " + action)
	some(&b, "users", s.Users, strconv.Quote)
	some(&b, "clients", s.Clients, strconv.Quote)
	some(&b, "users_match", s.UsersMatch, strconv.Quote)
	some(&b, "clients_match", s.ClientsMatch, strconv.Quote)
	some(&b, "addresses", s.Addresses, netip.Prefix.String)
	some(&b, "listeners", s.Listeners, strconv.Quote)
	some(&b, "cert_common_names", s.CommonNames, strconv.Quote)
	some(&b, "topics", s.Topics, func(t TopicSpec) string {
		if t.Eq {
			return "{eq: " + strconv.Quote(t.Filter) + "}"
		}
		return strconv.Quote(t.Filter)
	})
	some(&b, "qos", s.QoS, func(q mqtt.QoS) string { return strconv.Itoa(int(q)) })
	if s.Retain != nil {
		fmt.Fprintf(&b, ", retain: %t", *s.Retain)
	}
	if s.When != nil {
		b.WriteString(", when: " + strconv.Quote(shorten(s.When.String())))
	}
	return b.String()
}

// describedMax is how many entries of a list a rule's Text shows. The line goes
// into a log record for each denial.
const describedMax = 4

func some[T any](b *strings.Builder, key string, list []T, show func(T) string) {
	if len(list) == 0 {
		return
	}
	b.WriteString(", " + key + ": [")
	for i, v := range list {
		if i == describedMax {
			fmt.Fprintf(b, ", and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(show(v))
	}
	b.WriteString("]")
}

// Topics lists the topic filters with how they are compared.
func (r *Rule) Topics() []TopicSpec {
	out := make([]TopicSpec, len(r.topics))
	for i := range r.topics {
		out[i] = TopicSpec{Filter: r.topics[i].text, Eq: r.topics[i].eq}
	}
	return out
}

// Actions tells what the rule is about.
func (r *Rule) Actions() (publish, subscribe bool) { return r.publish, r.subscribe }

// QoS lists the QoS the rule is about; nil: any.
func (r *Rule) QoS() (out []mqtt.QoS) {
	for q := range mqtt.QoS(3) {
		if r.qos&(1<<q) != 0 {
			out = append(out, q)
		}
	}
	return out
}

// Retain is the retain flag the rule is about; nil: any.
func (r *Rule) Retain() *bool {
	if r.retain == retainAny {
		return nil
	}
	b := r.retain == retainTrue
	return &b
}
