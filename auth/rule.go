package auth

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Rule is one compiled rule of a policy, as the operator is shown it. It is
// immutable.
type Rule struct {
	File string // where it was read, "" for the built-in last rule
	Line int
	ID   string // given in the file, or its number
	Text string // the rule on one line, shortened if it lists many things

	allow, publish, subscribe bool
	users                     map[string]struct{} // nil: any, or the policy's index knows
	clients                   map[string]struct{} // nil: any
	addresses                 []netip.Prefix      // nil: any
	qos                       uint8               // bit per QoS; 0: any
	retain                    retainIs
	byUser, byClient          bool // some topic holds ${username}, ${clientid}
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

// Where is file:line, or "built in".
func (r *Rule) Where() string {
	if r.File == "" {
		return "built in"
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

// concerns tells whether the rule is about this client; the users of a policy's
// rules are sorted out by its index before.
func (r *Rule) concerns(by *Principal) bool {
	if r.users != nil {
		if _, ok := r.users[by.Username]; !ok {
			return false
		}
	}
	if r.clients != nil {
		if _, ok := r.clients[by.ClientID]; !ok {
			return false
		}
	}
	if r.addresses == nil {
		return true
	}
	// An IPv4 client on a dual-stack socket, or one on a link-local address with a
	// zone, is the same client.
	addr := by.Addr.Unmap().WithZone("")
	for _, p := range r.addresses {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// takesQoS tells whether the rule's QoS qualifier lets q through.
func (r *Rule) takesQoS(q mqtt.QoS) bool { return r.qos == 0 || q < 8 && r.qos&(1<<q) != 0 }

// takesRetain tells whether the rule's retain qualifier lets the flag through.
func (r *Rule) takesRetain(retain bool) bool {
	return r.retain == retainAny || (r.retain == retainTrue) == retain
}

// unreadable tells whether some placeholder of the rule never expands for this
// client. What a deny rule then protects cannot be known, so it denies; an allow
// rule simply does not match.
func (r *Rule) unreadable(s *subject) bool {
	return r.byUser && !s.userOK || r.byClient && !s.clientOK
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
	some(&b, "addresses", s.Addresses, netip.Prefix.String)
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
