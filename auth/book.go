package auth

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
)

const (
	// SubjectRulesMax bounds the rules of one user or one client in a Book: they are
	// judged one after the other.
	SubjectRulesMax = 100
	// EverybodyMax bounds the rules for everybody in a Book. They are indexed by their
	// first levels, but a change makes the index anew: 100,000 take a tenth of a second.
	EverybodyMax = 100_000
	// BookMax bounds the rules of a Book, at about half a KiB each.
	BookMax = 1_000_000
)

// subjectKind is for whom a list of rules is.
type subjectKind uint8

const (
	everybody subjectKind = iota
	ofUsers
	ofClients
)

// Subject is whom a list of rules in a Book is for. The zero Subject is everybody.
type Subject struct {
	kind subjectKind
	name string
}

// Everybody, UserNamed and ClientNamed are the subjects there are.
func Everybody() Subject { return Subject{} }

// UserNamed is a user, whatever client it uses.
func UserNamed(name string) Subject { return Subject{ofUsers, name} }

// ClientNamed is a client id, whoever uses it.
func ClientNamed(id string) Subject { return Subject{ofClients, id} }

// IsUser and IsClient tell what Name names; neither: it is everybody.
func (s Subject) IsUser() bool { return s.kind == ofUsers }

// IsClient is described at IsUser.
func (s Subject) IsClient() bool { return s.kind == ofClients }

// Name is the user or the client.
func (s Subject) Name() string { return s.name }

// String is how denials and listings call it.
func (s Subject) String() string {
	switch s.kind {
	case ofUsers:
		return fmt.Sprintf("user %q", s.name)
	case ofClients:
		return fmt.Sprintf("client %q", s.name)
	}
	return "everybody"
}

// Book is the rules that are records: a list for each client id, for each user and for
// everybody, judged in this order. It is immutable: a change is another Book, which
// shares all but a small part with the one before. A nil Book is empty.
type Book struct {
	clients, users branch
	all            *ruleSet // nil: none
	n              int
}

// branchSize is in how many maps the names of a branch are: a change copies one of them.
const branchSize = 1 << 10

// branch finds the rules of a name.
type branch [branchSize]map[string][]Rule

var branchSeed = maphash.MakeSeed()

func branchAt(name string) uint64 { return maphash.String(branchSeed, name) % branchSize }

func (b *branch) of(name string) []Rule { return b[branchAt(name)][name] }

// Len is how many rules there are.
func (b *Book) Len() int {
	if b == nil {
		return 0
	}
	return b.n
}

// With is b with these rules for a subject, in place of those it had; none removes it.
// The specs say nothing of users and clients. The error is a *RuleError.
func (b *Book) With(who Subject, specs []RuleSpec) (*Book, error) {
	next := &Book{}
	if b != nil {
		*next = *b
	}
	return next, next.put(who, specs, true)
}

// Fill is the Book with all the lists that each calls add with, each subject once.
func Fill(each func(add func(who Subject, specs []RuleSpec) error) error) (*Book, error) {
	b := &Book{}
	err := each(func(who Subject, specs []RuleSpec) error { return b.put(who, specs, false) })
	return b, err
}

// put changes b, which nobody else has; its maps may be shared.
func (b *Book) put(who Subject, specs []RuleSpec, shared bool) error {
	most, br := SubjectRulesMax, &b.users
	switch who.kind {
	case everybody:
		most, br = EverybodyMax, nil
	case ofClients:
		br = &b.clients
	}
	if len(specs) > most {
		return &RuleError{Rule: most, Key: "rules", Reason: fmt.Sprintf("%d rules for %s; at most %d are allowed", len(specs), who, most)}
	}
	had := 0
	if br != nil {
		had = len(br.of(who.name))
	} else if b.all != nil {
		had = len(b.all.rules)
	}
	n := b.n - had + len(specs)
	if n > BookMax && n > b.n {
		return &RuleError{Rule: len(specs) - 1, Key: "rules", Reason: fmt.Sprintf("it would be %d built-in rules in all; at most %d are allowed, use ${username} instead of a rule per user", n, BookMax)}
	}
	rules := make([]Rule, len(specs))
	for i := range specs {
		if err := compileRule(&rules[i], &specs[i], i); err != nil {
			err.Rule = i
			return err
		}
		r := &rules[i]
		r.Source = SourceBuiltin
		if specs[i].ID == "" {
			r.ID = fmt.Sprintf("%s, rule %d", who, i+1)
		}
	}
	b.n = n
	if br == nil {
		if b.all = nil; len(rules) > 0 {
			b.all = setOfRules(rules, specs, func() {})
		}
		return nil
	}
	at := branchAt(who.name)
	m := br[at]
	if shared || m == nil {
		if m = maps.Clone(m); m == nil {
			m = map[string][]Rule{}
		}
		br[at] = m
	}
	if m[who.name] = rules; len(rules) == 0 {
		delete(m, who.name)
	}
	return nil
}

// Rules are the rules of a subject in their order; they are not changed.
func (b *Book) Rules(who Subject) []Rule {
	switch {
	case b == nil:
		return nil
	case who.kind == ofUsers:
		return b.users.of(who.name)
	case who.kind == ofClients:
		return b.clients.of(who.name)
	case b.all == nil:
		return nil
	}
	return b.all.rules
}

// Users and Clients are the names that have rules, sorted.
func (b *Book) Users() []string {
	if b == nil {
		return nil
	}
	return b.users.names()
}

// Clients is described at Users.
func (b *Book) Clients() []string {
	if b == nil {
		return nil
	}
	return b.clients.names()
}

func (b *branch) names() (out []string) {
	for _, m := range b {
		for name := range m {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
