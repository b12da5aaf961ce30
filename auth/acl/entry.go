package acl

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Entry is one built-in rule, in EMQX's words.
type Entry struct {
	Permission string `json:"permission"`       // allow | deny
	Action     string `json:"action"`           // publish | subscribe | all
	Topic      string `json:"topic"`            // a topic filter; "eq FILTER": the subscription to it
	QoS        []int  `json:"qos,omitempty"`    // empty: any
	Retain     string `json:"retain,omitempty"` // true | false; "" and all: any
}

// eqPrefix is how EMQX writes a filter that is compared as text.
const eqPrefix = "eq "

// spec is the entry as package auth compiles it.
func (e *Entry) spec() (s auth.RuleSpec, err error) {
	switch e.Permission {
	case "allow":
		s.Allow = true
	case "deny":
	default:
		return s, fmt.Errorf("permission %q: write allow or deny", clipped(e.Permission))
	}
	switch e.Action {
	case "publish":
		s.Publish = true
	case "subscribe":
		s.Subscribe = true
	case "all":
		s.Publish, s.Subscribe = true, true
	default:
		return s, fmt.Errorf("action %q: write publish, subscribe or all", clipped(e.Action))
	}
	filter, eq := strings.CutPrefix(e.Topic, eqPrefix)
	s.Topics = []auth.TopicSpec{{Filter: filter, Eq: eq}}
	if len(e.QoS) > 3 {
		return s, fmt.Errorf("qos: %d values; there are 0, 1 and 2", len(e.QoS))
	}
	for _, q := range e.QoS {
		if q < 0 || q > 2 {
			return s, fmt.Errorf("qos %d: it is 0, 1 or 2", q)
		}
		s.QoS = append(s.QoS, mqtt.QoS(q))
	}
	switch e.Retain {
	case "", "all":
	case "true", "false":
		retain := e.Retain == "true"
		s.Retain = &retain
	default:
		return s, fmt.Errorf("retain %q: write true, false or all", clipped(e.Retain))
	}
	return s, nil
}

// entryOf is a rule of a Book as an entry.
func entryOf(r *auth.Rule) Entry {
	e := Entry{Permission: "deny", Action: "all"}
	if r.Allows() {
		e.Permission = "allow"
	}
	if publish, subscribe := r.Actions(); !subscribe {
		e.Action = "publish"
	} else if !publish {
		e.Action = "subscribe"
	}
	t := r.Topics()[0]
	if e.Topic = t.Filter; t.Eq {
		e.Topic = eqPrefix + t.Filter
	}
	for _, q := range r.QoS() {
		e.QoS = append(e.QoS, int(q))
	}
	if retain := r.Retain(); retain != nil {
		e.Retain = fmt.Sprint(*retain)
	}
	return e
}

// Same tells whether two entries are one rule, however they are written.
func (e Entry) Same(o Entry) bool {
	plain := func(e Entry) Entry {
		e.QoS = slices.Compact(slices.Sorted(slices.Values(e.QoS)))
		if e.Retain == "all" {
			e.Retain = ""
		}
		return e
	}
	a, b := plain(e), plain(o)
	return a.Permission == b.Permission && a.Action == b.Action && a.Topic == b.Topic && a.Retain == b.Retain && slices.Equal(a.QoS, b.QoS)
}

func specsOf(entries []Entry) ([]auth.RuleSpec, error) {
	specs := make([]auth.RuleSpec, len(entries))
	for i := range entries {
		var err error
		if specs[i], err = entries[i].spec(); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return specs, nil
}

// NameMax bounds the name of a user or client that has rules, in bytes.
const NameMax = 1024

// CheckName refuses what cannot be the name of a user or client with rules.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case len(name) > NameMax:
		return fmt.Errorf("the name has %d bytes; at most %d are allowed", len(name), NameMax)
	case !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("the name %q is no MQTT text: it is not UTF-8, or holds a zero", clipped(name))
	}
	return nil
}

func clipped(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
