package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Source is what authz.order calls the rules that come with a token.
const Source = "claims"

// Bounds of client_attrs.
const (
	AttributesMax     = 32
	attributeNameMax  = 64
	attributeBytesMax = 256
)

// gives is what a token brings beyond who its client is. What cannot be understood refuses
// the token: a rule that is left out may be the one that denies.
func (s *settled) gives(v *verified) (*auth.Claims, *refusal) {
	c := &auth.Claims{TokenID: v.id, Issued: v.issued}
	if !s.Gives.BeyondExpiry {
		c.Until = v.until.Add(s.Demands.Leeway)
	}
	if claim, there := v.set[s.Gives.ACL]; there && s.Gives.ACL != "" {
		specs, err := readACL(claim)
		if err != nil {
			return nil, unfit("has an %s that %v", s.Gives.ACL, err)
		}
		own, err := auth.CompileOwn(Source, specs)
		if err != nil {
			return nil, unfit("has an %s of which %v", s.Gives.ACL, err)
		}
		c.Rules = []auth.Own{own}
	}
	if super, there := v.set["is_superuser"]; there && s.Gives.Superuser {
		is, fits := super.(bool)
		if !fits {
			return nil, unfit("has an is_superuser that is neither true nor false")
		}
		c.Superuser = is
	}
	if attrs, there := v.set["client_attrs"]; there && s.Gives.Attributes {
		var err error
		if c.Attrs, err = readAttributes(attrs); err != nil {
			return nil, unfit("has client_attrs that %v", err)
		}
	}
	return c, nil
}

func readAttributes(v any) (map[string]string, error) {
	o, is := v.(map[string]any)
	if !is {
		return nil, errors.New("are no object")
	}
	if len(o) > AttributesMax {
		return nil, fmt.Errorf("are %d; the most is %d", len(o), AttributesMax)
	}
	out := make(map[string]string, len(o))
	for name, v := range o {
		if name == "" || len(name) > attributeNameMax || strings.ContainsFunc(name, func(r rune) bool {
			return !(r < 128 && base64url(byte(r)))
		}) {
			return nil, fmt.Errorf("have a name other than 1 to %d letters, digits, - and _", attributeNameMax)
		}
		text, is := v.(string)
		if !is || len(text) > attributeBytesMax {
			return nil, fmt.Errorf("have a %s that is no text of at most %d bytes", name, attributeBytesMax)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }) {
			return nil, fmt.Errorf("have a %s with invisible characters", name)
		}
		out[name] = text
	}
	return out, nil
}

// readACL reads both forms that EMQX has for acl. An object of topics (pub, sub, all) is the
// whole of what the client may do: its last rule denies the rest. A list of rules leaves to
// other sources what none of them is about.
func readACL(v any) ([]auth.RuleSpec, error) {
	switch acl := v.(type) {
	case map[string]any:
		return readTopics(acl)
	case []any:
		if len(acl) > auth.OwnMax {
			return nil, fmt.Errorf("has %d rules; the most is %d", len(acl), auth.OwnMax)
		}
		specs := make([]auth.RuleSpec, 0, len(acl))
		for i, r := range acl {
			o, is := r.(map[string]any)
			if !is {
				return nil, fmt.Errorf("has a rule %d that is no object", i+1)
			}
			spec, err := readRule(o)
			if err != nil {
				return nil, fmt.Errorf("has a rule %d whose %w", i+1, err)
			}
			specs = append(specs, spec)
		}
		return specs, nil
	}
	return nil, errors.New("is neither an object of topics nor a list of rules")
}

func readTopics(acl map[string]any) ([]auth.RuleSpec, error) {
	var specs []auth.RuleSpec
	for _, name := range sortedNames(acl) {
		topics, err := topicsOf(acl[name])
		if err != nil {
			return nil, fmt.Errorf("has topics in %s that %w", shown(name), err)
		}
		rule := auth.RuleSpec{ID: "acl." + name, Allow: true, Topics: topics}
		switch name {
		case "pub":
			rule.Publish = true
		case "sub":
			rule.Subscribe = true
		case "all":
			rule.Publish, rule.Subscribe = true, true
		default:
			return nil, fmt.Errorf("has %s, which is none of pub, sub and all", shown(name))
		}
		if len(topics) > 0 {
			specs = append(specs, rule)
		}
	}
	return append(specs, auth.RuleSpec{ID: "acl, the rest", Publish: true, Subscribe: true, Topics: []auth.TopicSpec{{Filter: "#"}}}), nil
}

func sortedNames(o map[string]any) []string {
	names := make([]string, 0, len(o))
	for n := range o {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// topicsOf are topics, or one. "eq TOPIC" is the text itself.
func topicsOf(v any) ([]auth.TopicSpec, error) {
	list, is := v.([]any)
	if !is {
		list = []any{v}
	}
	out := make([]auth.TopicSpec, 0, len(list))
	for _, e := range list {
		t, is := e.(string)
		if !is || t == "" {
			return nil, errors.New("are neither a text nor a list of texts")
		}
		filter, eq := strings.CutPrefix(t, "eq ")
		out = append(out, auth.TopicSpec{Filter: filter, Eq: eq})
	}
	return out, nil
}

// readRule reads one rule of a list. A field that is not known may be what the rule is
// narrow by, so that it is not left out.
func readRule(o map[string]any) (s auth.RuleSpec, err error) {
	for _, name := range sortedNames(o) {
		v := o[name]
		text, _ := v.(string)
		switch name {
		case "permission":
			if s.Allow = text == "allow"; !s.Allow && text != "deny" {
				return s, errors.New("permission is neither allow nor deny")
			}
		case "action":
			switch text {
			case "publish", "pub":
				s.Publish = true
			case "subscribe", "sub":
				s.Subscribe = true
			case "all", "pubsub":
				s.Publish, s.Subscribe = true, true
			default:
				return s, errors.New("action is none of publish, subscribe and all")
			}
		case "topic", "topics":
			topics, err := topicsOf(v)
			if err != nil {
				return s, fmt.Errorf("%s %w", name, err)
			}
			s.Topics = append(s.Topics, topics...)
		case "qos":
			if s.QoS, err = readQoS(v); err != nil {
				return s, err
			}
		case "retain":
			if s.Retain, err = readRetain(v); err != nil {
				return s, err
			}
		case "ipaddr":
			if s.Addresses, err = readNetwork(text); err != nil {
				return s, err
			}
		default:
			return s, fmt.Errorf("%s is no field of a rule that is known here; there are permission, action, topic, topics, qos, retain and ipaddr", shown(name))
		}
	}
	if _, there := o["permission"]; !there {
		return s, errors.New("permission is missing")
	}
	return s, nil
}

// readQoS reads 1, [0, 1] and "0,1".
func readQoS(v any) (out []mqtt.QoS, err error) {
	var list []string
	switch v := v.(type) {
	case json.Number:
		list = []string{v.String()}
	case string:
		list = strings.Split(v, ",")
	case []any:
		for _, e := range v {
			list = append(list, fmt.Sprint(e))
		}
	}
	for _, t := range list {
		n, err := strconv.ParseUint(strings.TrimSpace(t), 10, 2)
		if err != nil || n > 2 {
			return nil, errors.New("qos is none of 0, 1 and 2")
		}
		out = append(out, mqtt.QoS(n))
	}
	if len(out) == 0 {
		return nil, errors.New("qos is none of 0, 1 and 2")
	}
	return out, nil
}

// readRetain reads true, 1, "true" and all; nil is either.
func readRetain(v any) (*bool, error) {
	yes, no := true, false
	switch fmt.Sprint(v) {
	case "true", "1":
		return &yes, nil
	case "false", "0":
		return &no, nil
	case "all":
		return nil, nil
	}
	return nil, errors.New("retain is none of true, false and all")
}

func readNetwork(text string) ([]netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, errors.New("ipaddr is neither an address nor a network")
	}
	return []netip.Prefix{p}, nil
}
