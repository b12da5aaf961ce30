package advice

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/redoubtmq/redoubt/auth"
)

// constant is a condition that knows whether it looks at anything.
type constant interface {
	Constant() (holds, is bool)
}

func (c *Checker) condition(r *auth.Rule) {
	k, can := r.Condition().(constant)
	if !can {
		return
	}
	holds, is := k.Constant()
	switch {
	case !is:
	case holds:
		c.find(Note, "constant_condition", r, "its condition looks at nothing and is always true", "remove when")
	case r.Allows():
		c.find(Warning, "constant_condition", r, "its condition looks at nothing and is never true: it allows nothing", "remove the rule, or write what it should look at")
	default:
		c.find(Error, "constant_condition", r, "its condition looks at nothing and is never true: it denies nothing", "remove the rule, or write what it should look at")
	}
}

func (c *Checker) listeners(r *auth.Rule) {
	names := r.Listeners()
	if c.opt.Listeners == nil || len(names) == 0 {
		return
	}
	slices.Sort(names)
	gone := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(c.opt.Listeners, n) })
	switch {
	case len(gone) == 0:
	case len(gone) == len(names) && !r.Allows():
		c.find(Error, "unknown_listener", r, fmt.Sprintf("it denies nothing: there is no listener %s", strings.Join(gone, ", ")), "write the name that the listener has under listeners")
	default:
		c.find(Warning, "unknown_listener", r, fmt.Sprintf("there is no listener %s", strings.Join(gone, ", ")), "write the name that the listener has under listeners, or remove it from the rule")
	}
}

// broad says what gives more than is usually meant.
func (c *Checker) broad(r *auth.Rule, of auth.Subject) {
	if !r.Allows() {
		return
	}
	publish, subscribe := r.Actions()
	everybody := r.Anybody() && !of.IsUser() && !of.IsClient()
	for i, f := range r.Topics() {
		all := f.Filter == "#" || f.Filter == "+/#"
		held, client := r.Placeheld(i)
		wild := strings.ContainsAny(f.Filter, "+#") && !f.Eq
		switch {
		case all && everybody:
			c.find(Error, "too_broad", r, fmt.Sprintf("everybody may %s on every topic that does not start with $ (%q)", actions(publish, subscribe), f.Filter), `write what each needs, such as "devices/${username}/#", or name users`)
		case all:
			c.find(Warning, "too_broad", r, fmt.Sprintf("every topic that does not start with $ (%q)", f.Filter), "write the topics that are needed; redoubt acl show CLIENT lists what somebody may do")
		case everybody && publish && wild && !held:
			c.find(Warning, "too_broad", r, fmt.Sprintf("everybody may publish on all topics of %q, and so in the name of everybody else", f.Filter), "give each a level of its own with ${username}, or name users")
		case everybody && subscribe && !held && (strings.HasPrefix(f.Filter, "+") || strings.HasPrefix(f.Filter, "#")):
			c.find(Warning, "too_broad", r, fmt.Sprintf("everybody may read %q, whoever it is from", f.Filter), "spell the first level out, or name users")
		case everybody && client:
			c.find(Note, "chosen_by_client", r, fmt.Sprintf("%q is for whoever chooses that client identifier, if authentication does not bind it to the user", f.Filter), "use ${username}, or name users beside")
		}
	}
}

func actions(publish, subscribe bool) string {
	switch {
	case publish && subscribe:
		return "publish and subscribe"
	case publish:
		return "publish"
	}
	return "subscribe"
}

// foreign are placeholders of other brokers and slips of the pen, which are ordinary text here.
var foreign = regexp.MustCompile(`%[ucUC](?:$|[^a-zA-Z])|\$\(|%\{|(?:^|[^$])\{(?:user|username|clientid|client_id|client)\}|\$(?:user|username|clientid|client_id)\b`)

// spaced tells whether a name has spaces around it, or characters that nobody sees.
func spaced(name string) bool {
	return strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return unicode.In(r, unicode.Cf, unicode.Cc, unicode.Zl, unicode.Zp) })
}

// names says which names of a rule look like others.
func (c *Checker) names(r *auth.Rule) {
	all := r.Names()
	for _, key := range []string{"users", "clients", "cert_common_names"} {
		for _, name := range all[key] {
			if spaced(name) {
				c.find(Warning, "spaces", r, fmt.Sprintf("%q of %s has spaces around it, or characters that nobody sees, which are part of the name", name, key), "remove them, unless the name really has them")
			}
		}
	}
}

// spelling says what looks like something else.
func (c *Checker) spelling(r *auth.Rule) {
	c.names(r)
	for _, t := range r.Topics() {
		levels := strings.Split(t.Filter, "/")
		if text := foreign.FindString(t.Filter); text != "" {
			c.find(Error, "foreign_placeholder", r, fmt.Sprintf("%q holds %q, which is ordinary text here", t.Filter, strings.TrimSpace(text)), "there are "+auth.Placeholders)
		}
		switch {
		case slices.Contains(levels, "*"), slices.Contains(levels, "**"), slices.Contains(levels, ">"):
			c.find(Error, "star", r, fmt.Sprintf("%q holds a level that is a wildcard elsewhere, and ordinary text here", t.Filter), "+ stands for one level, # for all that follow")
		case strings.Contains(t.Filter, "*"):
			c.find(Warning, "star", r, fmt.Sprintf("%q holds a *, which is ordinary text here", t.Filter), "a wildcard stands for a whole level: + for one, # for all that follow")
		}
		if slices.ContainsFunc(levels, spaced) {
			c.find(Warning, "spaces", r, fmt.Sprintf("%q has a level with spaces around it, or with characters that nobody sees, which are part of the topic", t.Filter), "remove them")
		}
		switch {
		case len(levels) > 1 && levels[0] == "" && levels[1] != "#":
			c.find(Warning, "leading_slash", r, fmt.Sprintf("%q begins with /, which is an empty first level: %q is another topic", t.Filter, strings.TrimPrefix(t.Filter, "/")), "remove the / unless clients write it")
		case slices.Contains(levels[1:], ""):
			c.find(Note, "empty_level", r, fmt.Sprintf("%q has an empty level", t.Filter), "remove the / that is too much unless clients write it")
		}
		least := len(levels)
		if levels[len(levels)-1] == "#" {
			least--
		}
		if c.opt.TopicLevels > 0 && least > c.opt.TopicLevels && levels[0] != "$share" {
			c.find(Warning, "too_deep", r, fmt.Sprintf("%q matches nothing: it has %d levels, and limits.topic_levels is %d", t.Filter, least, c.opt.TopicLevels), "make it shorter, or raise limits.topic_levels")
		}
	}
}
