package rules

import (
	"fmt"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Verb is what a Query asks about.
type Verb string

// The verbs. Receive is the judgement of one delivery to a subscriber.
const (
	Publish   Verb = "publish"
	Subscribe Verb = "subscribe"
	Receive   Verb = "receive"
)

// Query is one question to a policy, as `redoubt acl test` and the tests of a rules
// file put it.
type Query struct {
	By     auth.Principal
	Verb   Verb
	Topic  string // a name; for Subscribe a filter
	QoS    mqtt.QoS
	Retain bool // Publish only
}

// Explanation is the answer and why.
type Explanation struct {
	Allow bool `json:"allow"`
	// Partly: the subscription is granted, but a deny rule overlaps it and is
	// enforced at each delivery.
	Partly bool   `json:"partly"`
	Rule   string `json:"rule"`  // the rule's id
	Text   string `json:"text"`  // the rule on one line
	Where  string `json:"where"` // as auth.Rule.Where has it
	Note   string `json:"note"`  // what the rule alone does not tell; may be empty
	// Unasked are sources that are asked when a client connects, and might have decided
	// before the rule. Then Allow and Rule are the answer without them.
	Unasked []string `json:"unasked,omitempty"`
}

// String is the answer on one line.
func (e Explanation) String() string {
	s := "deny"
	switch {
	case e.Allow && e.Partly:
		s = "allow, with every delivery checked"
	case e.Allow:
		s = "allow"
	}
	if e.Where == e.Rule {
		s += fmt.Sprintf(" by %s (%s)", e.Where, e.Text)
	} else {
		s += fmt.Sprintf(" by %s (%s: %s)", e.Where, e.Rule, e.Text)
	}
	if e.Note != "" {
		s += "; " + e.Note
	}
	return s
}

// Explain puts q to p and names the rule that decided.
func Explain(p *auth.Policy, q Query) Explanation {
	var d auth.Decision
	switch q.Verb {
	case Publish:
		d = p.Decide(&q.By, auth.Access{Action: auth.Publish, Topic: []byte(q.Topic), QoS: q.QoS, Retain: q.Retain})
	case Receive:
		d = p.DecideDelivery(&q.By, []byte(q.Topic))
	default:
		d = p.DecideSubscribe(&q.By, q.Topic, q.QoS)
	}
	e := Explanation{Allow: d.Allow, Partly: d.Check, Rule: d.Rule.ID, Text: d.Rule.Text, Where: d.Rule.Where()}
	if !d.Allow {
		e.Note = note(q)
	}
	if notATopic(q) == "" { // else nobody allows it
		e.Unasked = p.Unasked(&q.By, d)
	}
	return e
}

// notATopic says what is wrong with the topic itself, or "".
func notATopic(q Query) string {
	if q.Verb != Subscribe {
		if err := topic.ValidName([]byte(q.Topic)); err != nil {
			return fmt.Sprintf("%s is not a topic name: %v", shown(q.Topic), err)
		}
		return ""
	}
	err := topic.ValidFilter(q.Topic)
	if err == nil {
		_, _, _, err = topic.ParseShare(q.Topic)
	}
	if err != nil {
		return fmt.Sprintf("%s is not a topic filter: %v", shown(q.Topic), err)
	}
	return ""
}

// note says what often lies behind a denial.
func note(q Query) string {
	if text := notATopic(q); text != "" {
		return text
	}
	switch {
	case q.By.Username != "" && !auth.Expandable(q.By.Username):
		return "${username} stands for nothing here: the user name holds + # or /, or starts with $"
	case q.By.ClientID != "" && !auth.Expandable(q.By.ClientID):
		return "${clientid} stands for nothing here: the client id holds + # or /, or starts with $"
	}
	return ""
}
