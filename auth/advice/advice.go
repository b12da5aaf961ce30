// Package advice reads rules that are valid and says what is odd about them: rules that are
// never reached, that give more than is usually meant, or that look like the rules of another
// broker. It decides nothing, and says "never" only where it knows: conditions and
// placeholders that could make a difference are told as a doubt.
//
// Rules: checklist row P4.2; docs/ops/rules.md.
package advice

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/auth"
)

// Severity is how bad it is.
type Severity uint8

// The severities, from the worst.
const (
	Error   Severity = iota // it does not do what is written there
	Warning                 // it does, and that is seldom meant
	Note                    // worth knowing
)

// String is the word of the API.
func (s Severity) String() string { return [...]string{"error", "warning", "note"}[s] }

// Finding is one thing about one rule.
type Finding struct {
	Severity Severity
	Code     string // the kind: shadowed, too_broad, ...
	Where    string // file:line, or the source
	Rule     string // its id
	Text     string // the rule on one line
	What     string // what is odd
	Remedy   string
}

const (
	// FindingsMax bounds what is listed; the rest is counted.
	FindingsMax = 1000
	// comparisonsMax bounds the pairs of filters that are compared, at half a
	// microsecond each at the most.
	comparisonsMax = 500_000
)

// Options say what is known of the broker.
type Options struct {
	TopicLevels int      // limits.topic_levels; 0: not known
	Listeners   []string // names; nil: not known
	Comparisons int      // pairs of filters that are compared at most; 0: 500,000
}

// Report is everything that was found.
type Report struct {
	Findings []Finding
	More     int // that are not listed
	Rules    int // that were looked at
	Errors   int // of all
	Warnings int
	// Stopped: there are so many rules that not all were compared with those before them.
	Stopped bool
}

// Checker looks at lists of rules, one after the other.
type Checker struct {
	opt    Options
	report Report
	left   int // comparisons
	before index
}

// New is a checker that has seen no rule.
func New(opt Options) *Checker {
	return &Checker{opt: opt, left: cmp.Or(opt.Comparisons, comparisonsMax), before: index{}}
}

// Report is what was found so far.
func (c *Checker) Report() Report {
	c.report.Stopped = c.left <= 0
	return c.report
}

// Stop says that not all rules were looked at.
func (c *Checker) Stop() { c.left = 0 }

// Add looks at the next rule of the list that everybody is judged by.
func (c *Checker) Add(r *auth.Rule) {
	c.look(r, auth.Everybody(), c.before)
	c.before.add(r)
}

// AddList looks at the rules that a user or a client has of its own, which come after those
// of Add so far, and before nothing that is looked at later.
func (c *Checker) AddList(of auth.Subject, rules []auth.Rule) {
	own := index{}
	for i := range rules {
		c.look(&rules[i], of, c.before, own)
		own.add(&rules[i])
	}
}

// Standing looks at a rule as it stands for one client, which is told of in its order.
func (c *Checker) Standing(st *auth.Standing) {
	c.report.Rules++
	switch st.Effect {
	case auth.NeverMatches:
		c.find(Warning, "never_matches", st.Rule, "it grants this client nothing: "+st.Why, "if it should, look at what the client's authentication brings (redoubt authn test)")
		return
	case auth.DeniesAll:
		c.find(Error, "denies_everything", st.Rule, "it denies this client everything that no rule before it allows: "+st.Why, "give the client the name that it looks at, or have the rule look at something else")
		return
	case auth.NotSure:
		return
	}
	c.reached(st.Rule, []index{c.before}, func(earlier *auth.Rule, i int) auth.Cover { return earlier.ShadowsFor(st.Rule, i) })
	c.broad(st.Rule, auth.ClientNamed(""))
	c.spelling(st.Rule)
	c.before.add(st.Rule)
}

func (c *Checker) look(r *auth.Rule, of auth.Subject, before ...index) {
	c.report.Rules++
	c.reached(r, before, func(earlier *auth.Rule, i int) auth.Cover { return earlier.Shadows(r, i, of) })
	c.broad(r, of)
	c.spelling(r)
	c.condition(r)
	c.listeners(r)
}

func (c *Checker) find(s Severity, code string, r *auth.Rule, what, remedy string) {
	switch s {
	case Error:
		c.report.Errors++
	case Warning:
		c.report.Warnings++
	}
	if len(c.report.Findings) == FindingsMax {
		c.report.More++
		return
	}
	c.report.Findings = append(c.report.Findings, Finding{s, code, r.Where(), r.ID, r.Text, what, remedy})
}

// index finds the rules that could cover a filter, by the literal levels they begin with.
type index map[string][]*auth.Rule

func stem(levels []string) string { return strings.Join(levels, "\x00") + "\x00" }

func (x index) add(r *auth.Rule) {
	for i := range r.Filters() {
		key := ""
		if levels := r.Stem(i); len(levels) > 0 {
			key = stem(levels)
		}
		if list := x[key]; len(list) == 0 || list[len(list)-1] != r {
			x[key] = append(list, r)
		}
	}
}

// candidates calls fn for the rules that could cover filter number i, until it says stop.
func (x index) candidates(r *auth.Rule, i int, fn func(*auth.Rule) (stop bool)) {
	levels := r.Stem(i)
	for n := 0; n <= len(levels); n++ {
		key := ""
		if n > 0 {
			key = stem(levels[:n])
		}
		for _, earlier := range x[key] {
			if fn(earlier) {
				return
			}
		}
	}
}

// reached says which filters of a rule decide nothing, because rules before it decide
// whatever they could.
func (c *Checker) reached(r *auth.Rule, before []index, covers func(*auth.Rule, int) auth.Cover) {
	filters := r.Filters()
	by := make([]*auth.Rule, len(filters))
	how := make([]auth.Cover, len(filters))
	never := 0
	for i := range filters {
		for _, x := range before {
			x.candidates(r, i, func(earlier *auth.Rule) bool {
				if c.left--; c.left <= 0 {
					return true
				}
				if got := covers(earlier, i); got > how[i] {
					by[i], how[i] = earlier, got
				}
				return how[i] == auth.SureCover
			})
		}
		if how[i] == auth.SureCover {
			never++
		}
	}
	if never == len(filters) && never > 0 {
		c.shadowed(r, by[0], "it is never reached")
		return
	}
	for i, f := range filters {
		switch how[i] {
		case auth.SureCover:
			c.shadowed(r, by[i], fmt.Sprintf("its filter %q is never reached", f))
		case auth.PerhapsCover:
			c.find(Note, "perhaps_shadowed", r, fmt.Sprintf("its filter %q may never be reached: %s decides it before, but for what its condition leaves and for topics with $, so that this cannot be told", f, name(by[i])), "ask for a case: redoubt acl test")
		}
	}
}

func (c *Checker) shadowed(r, by *auth.Rule, what string) {
	what += ": " + name(by) + " decides it before"
	if r.Allows() == by.Allows() {
		c.find(Warning, "redundant", r, what+", with the same answer", "remove it")
		return
	}
	verb := map[bool]string{true: "allows", false: "denies"}[by.Allows()]
	c.find(Error, "shadowed", r, what+", and "+verb+" it", "put it before that rule, or make that one narrower")
}

func name(r *auth.Rule) string { return fmt.Sprintf("%s (%s)", r.Where(), r.ID) }
