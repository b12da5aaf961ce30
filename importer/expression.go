package importer

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
)

// A regular expression of EMQX is one of PCRE, looks for a part of the name and sees
// bytes; ours is one of RE2, must match the whole name and sees characters. What could
// differ is refused: it might allow a name more, or deny one less.

// expression reads {re, "EXPRESSION"}.
func expression(t *term, deny bool) (string, error) {
	if len(t.items) != 2 || !t.items[0].is("re") || t.items[1].kind != text || t.items[1].text == "" {
		return "", errors.New("a name is a string, or {re, \"EXPRESSION\"}")
	}
	given := t.items[1].text
	refuse := func(why string) (string, error) {
		return "", fmt.Errorf("the expression %s %s; write the rule by hand, with users_match or clients_match", quote(comment(given)), why)
	}
	for _, c := range []byte(given) {
		if c < ' ' || c > '~' {
			return refuse(`has characters other than plain ASCII (in Erlang a backslash of an expression is written twice)`)
		}
	}
	re, err := syntax.Parse(given, syntax.Perl)
	if err != nil {
		return refuse("is none of RE2: " + err.Error())
	}
	if has(strings.ReplaceAll(given, "(?:", "("), "(?", `\Q`, `\C`) {
		return refuse("has options, which PCRE and RE2 do not have in common")
	}
	if has(given, `\b`, `\B`, `\W`, `\S`, `\v`, `\p`, `\P`) || (deny || has(given, "[^")) && has(given, `\w`, `\s`, "[:") {
		return refuse(`has a class that does not have the same characters in PCRE`)
	}
	if !alike(re, false) {
		return refuse("counts characters where EMQX counts bytes (. or a class with others than ASCII, not followed by * or +)")
	}
	body := given
	if ends(re) > 0 {
		// $ of PCRE is also before a line feed that ends the name.
		last := re.Op == syntax.OpEndText || re.Op == syntax.OpConcat && re.Sub[len(re.Sub)-1].Op == syntax.OpEndText
		switch {
		case !deny:
		case !last || ends(re) > 1 || !strings.HasSuffix(given, "$"):
			return refuse("has a $ that is not at its end")
		default:
			body = strings.TrimSuffix(given, "$") + `\n?\z`
		}
	}
	return `(?s:.*)(?:` + body + `)(?s:.*)`, nil
}

func has(s string, any ...string) bool {
	for _, a := range any {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}

// alike tells whether an expression matches the same names when it sees characters as when it
// sees bytes. repeated is inside * or +, where any number of either will do.
func alike(re *syntax.Regexp, repeated bool) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return repeated
	case syntax.OpCharClass:
		return repeated || len(re.Rune) == 0 || re.Rune[len(re.Rune)-1] <= 0x7f
	case syntax.OpStar, syntax.OpPlus:
		sub := re.Sub[0]
		for sub.Op == syntax.OpCapture {
			sub = sub.Sub[0]
		}
		one := sub.Op == syntax.OpAnyChar || sub.Op == syntax.OpAnyCharNotNL || sub.Op == syntax.OpCharClass
		return alike(sub, one)
	}
	for _, sub := range re.Sub {
		if !alike(sub, false) {
			return false
		}
	}
	return true
}

// ends counts the $ of an expression.
func ends(re *syntax.Regexp) (n int) {
	if re.Op == syntax.OpEndText && re.Flags&syntax.WasDollar != 0 {
		n++
	}
	for _, sub := range re.Sub {
		n += ends(sub)
	}
	return n
}
