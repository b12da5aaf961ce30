package auth

import (
	"fmt"
	"net/netip"
	"regexp"
)

// Condition is a condition of a rule, compiled; auth/condition makes them. It is asked
// at most once for each judgement that the rest of the rule fits, and the answer is kept
// with the verdict: it must depend on nothing but the client.
type Condition interface {
	// Holds fails where something the condition looks at is not known of the client. A
	// deny rule then denies, and an allow rule does not match.
	Holds(by *Principal) (bool, error)
	// String is the condition as written.
	String() string
}

const (
	// PatternsMax bounds the regular expressions of one rule, because each is tried.
	PatternsMax = 16
	// PatternBytesMax bounds one. RE2 takes time linear in expression and name.
	PatternBytesMax = 256
)

// whoIs is whom a rule is about. What is nil is any.
type whoIs struct {
	users, clients             map[string]struct{}
	usersMatch, clientsMatch   []*regexp.Regexp
	addresses                  []netip.Prefix
	listeners, certCommonNames map[string]struct{}
	when                       Condition
}

// compileWho reads whom a rule is about.
func compileWho(r *Rule, s *RuleSpec) *RuleError {
	w := &whoIs{users: setOf(s.Users), clients: setOf(s.Clients), listeners: setOf(s.Listeners), certCommonNames: setOf(s.CommonNames), when: s.When}
	for _, l := range []struct {
		key, what string
		names     []string
	}{
		{"users", "an empty name matches nobody; remove it, or leave users out to mean everybody", s.Users},
		{"clients", "an empty client id matches nobody; remove it, or leave clients out to mean every client", s.Clients},
		{"listeners", "an empty name is no listener; remove it, or leave listeners out to mean all", s.Listeners},
		{"cert_common_names", "an empty name is in no certificate; remove it, or leave the list out", s.CommonNames},
	} {
		for j, name := range l.names {
			if name == "" {
				return &RuleError{Key: l.key, Item: j, Reason: l.what}
			}
		}
	}
	for j, a := range s.Addresses {
		p, err := plainPrefix(a)
		if err != nil {
			return &RuleError{Key: "addresses", Item: j, Value: a.String(), Reason: err.Error()}
		}
		w.addresses = append(w.addresses, p)
	}
	var err *RuleError
	if w.usersMatch, err = compileMatches("users_match", s.UsersMatch); err != nil {
		return err
	}
	if w.clientsMatch, err = compileMatches("clients_match", s.ClientsMatch); err != nil {
		return err
	}
	if len(s.Users)+len(s.Clients)+len(s.UsersMatch)+len(s.ClientsMatch)+len(s.Addresses)+len(s.Listeners)+len(s.CommonNames) > 0 || s.When != nil {
		r.who = w
	}
	return nil
}

// compileMatches makes expressions that a whole name must match.
func compileMatches(key string, list []string) (out []*regexp.Regexp, _ *RuleError) {
	if len(list) > PatternsMax {
		return nil, &RuleError{Key: key, Item: PatternsMax, Reason: fmt.Sprintf("%d expressions; at most %d are allowed, join several with |", len(list), PatternsMax)}
	}
	for j, text := range list {
		if text == "" || len(text) > PatternBytesMax {
			return nil, &RuleError{Key: key, Item: j, Reason: fmt.Sprintf("has %d bytes; write 1 to %d", len(text), PatternBytesMax)}
		}
		if _, err := regexp.Compile(text); err != nil { // by itself: a lone ")" would end the group below
			return nil, &RuleError{Key: key, Item: j, Value: shorten(text), Reason: "is not a regular expression (RE2): " + err.Error()}
		}
		re, err := regexp.Compile(`\A(?:` + text + `)\z`)
		if err != nil {
			return nil, &RuleError{Key: key, Item: j, Value: shorten(text), Reason: "is not a regular expression (RE2): " + err.Error()}
		}
		out = append(out, re)
	}
	return out, nil
}

// among tells whether a name is in a list or matches an expression; with neither, any is.
func among(name string, list map[string]struct{}, matches []*regexp.Regexp) bool {
	if list == nil && matches == nil {
		return true
	}
	if name == "" {
		return false
	}
	if _, ok := list[name]; ok {
		return true
	}
	for _, re := range matches {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}

// concerns tells whether the rule is about this client, but for what holds asks.
func (r *Rule) concerns(s *subject) bool {
	w := r.who
	if w == nil {
		return true
	}
	by := s.by
	if !among(by.Username, w.users, w.usersMatch) || !among(by.ClientID, w.clients, w.clientsMatch) {
		return false
	}
	if w.listeners != nil {
		if _, ok := w.listeners[by.Listener]; !ok {
			return false
		}
	}
	return w.addresses == nil || within(by.Addr, w.addresses)
}

// within tells whether an address is in one of the networks. An IPv4 client on a
// dual-stack socket, or one on a link-local address with a zone, is the same client.
func within(addr netip.Addr, networks []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range networks {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// holds asks for the certificate and the condition of a rule that is about the client and
// the topic. It fails closed.
func (r *Rule) holds(s *subject) bool {
	w := r.who
	if w == nil || w.certCommonNames == nil && w.when == nil {
		return true
	}
	if s.by.Claims.Unsure() {
		s.unsure = true
		return !r.allow
	}
	if w.certCommonNames != nil {
		if _, ok := w.certCommonNames[s.by.commonName()]; !ok {
			return false
		}
	}
	if w.when == nil {
		return true
	}
	ok, err := w.when.Holds(s.by)
	if err != nil {
		return !r.allow
	}
	return ok
}
