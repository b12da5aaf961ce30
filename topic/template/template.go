// Package template fills in topics that an operator writes for many clients:
// mountpoints, automatic subscriptions, the destinations of rewriting. A template
// is text with ${clientid}, ${username} or ${listener} in it.
//
// What stands for a placeholder is chosen by a client, so it is text and nothing
// else: a value that could be more than a part of one level, or nothing at all,
// makes the whole template fail, and the caller refuses what it was needed for
// (A094). It grants nothing: whoever uses the result judges it (A114).
//
// Rules: MQTT 5.0 §4.7 topic names and topic filters. Authorization rules have
// placeholders too; package auth reads those, with the same idea of a value.
package template

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/topic"
)

// Values are what placeholders stand for. An empty one stands for nothing, and a
// template that needs it fails.
type Values struct {
	ClientID string // of CONNECT, or assigned
	Username string // proven; empty where a client has none
	Listener string // name in the configuration
}

// Template is text that was understood. It is a value that many may use at once.
// The zero Template is the empty text.
type Template struct {
	text  string
	parts []part
}

// part is literal text and then, unless it is the last, something to fill in.
type part struct {
	before string
	hole   hole
	group  int // of holeGroup
}

type hole uint8

const (
	holeNone hole = iota // only in the last part
	holeClientID
	holeUsername
	holeListener
	holeGroup
)

// placeholders are what may stand between ${ and }.
var placeholders = map[string]hole{"clientid": holeClientID, "username": holeUsername, "listener": holeListener}

// GroupsMax is how many groups of a regular expression a template can name.
const GroupsMax = 9

// What a template cannot be filled in for. They are plain values, so that refusing
// a client costs no allocation.
var (
	ErrEmpty   = errors.New("a placeholder stands for nothing here: the client has no such name")
	ErrValue   = errors.New("a placeholder stands for a name that holds one of + # / or the null character, or starts with $")
	ErrTooLong = errors.New("the result is longer than 65,535 bytes [MQTT-4.7.3-3]")
)

// Parse reads a template. $ has no other meaning than in a placeholder. The error
// is a clause about the text.
func Parse(text string) (Template, error) { return parse(text, -1) }

// ParseGroups reads a template that may also name the groups of a regular
// expression that has so many, as $1 to $9.
func ParseGroups(text string, groups int) (Template, error) { return parse(text, groups) }

func parse(text string, groups int) (Template, error) {
	t := Template{text: strings.Clone(text)}
	rest, from := t.text, 0
	inLevel := false // a placeholder stands in the level being read
	for i := 0; i < len(rest); {
		if rest[i] == '/' {
			inLevel = false
		}
		if rest[i] != '$' || i+1 == len(rest) {
			i++
			continue
		}
		p := part{before: rest[from:i]}
		switch c := rest[i+1]; {
		case c == '{':
			name, _, closed := strings.Cut(rest[i+2:], "}")
			if !closed {
				return Template{}, errors.New("holds ${ without its }")
			}
			if p.hole = placeholders[name]; p.hole == holeNone {
				return Template{}, fmt.Errorf("holds the placeholder ${%s}; there are ${clientid}, ${username} and ${listener}", name)
			}
			if inLevel {
				// alice + b-c and alice-b + c would meet in ${username}-${clientid}.
				return Template{}, errors.New("holds two placeholders in one level, in which two clients could meet. Put a / between them")
			}
			inLevel = true
			i += len("${}") + len(name)
		case groups >= 0 && '0' <= c && c <= '9':
			if c == '0' || i+2 < len(rest) && '0' <= rest[i+2] && rest[i+2] <= '9' {
				return Template{}, fmt.Errorf("holds a group of another form than $1 to $%d", GroupsMax)
			}
			p.hole, p.group = holeGroup, int(c-'0')
			if p.group > groups {
				return Template{}, fmt.Errorf("holds $%d, and the regular expression has %s", p.group, countGroups(groups))
			}
			i += 2
		default:
			i++
			continue
		}
		t.parts = append(t.parts, p)
		from = i
	}
	t.parts = append(t.parts, part{before: rest[from:]})
	return t, nil
}

func countGroups(n int) string {
	switch n {
	case 0:
		return "no groups"
	case 1:
		return "one group"
	}
	return fmt.Sprintf("%d groups", n)
}

// String is the text of the template.
func (t *Template) String() string { return t.text }

// Empty tells whether the template is the empty text.
func (t *Template) Empty() bool { return t.text == "" }

// Begins is the text that every result begins with.
func (t *Template) Begins() string {
	if len(t.parts) == 0 {
		return ""
	}
	return t.parts[0].before
}

// Append appends the template with its placeholders filled in. The error is one of
// the three of this package; dst is then as it was. Whether the result is a valid
// topic is the caller's question: ParseMountpoint and ParseFilter answer it once
// for all values.
func (t *Template) Append(dst []byte, v Values) ([]byte, error) {
	return t.AppendGroups(dst, v, nil, nil)
}

// AppendGroups is Append for a template of ParseGroups. at are the bounds of the
// groups in src, as regexp.Regexp.FindSubmatchIndex answers them; a group that took
// no part in the match is empty.
func (t *Template) AppendGroups(dst []byte, v Values, src []byte, at []int) ([]byte, error) {
	out := dst
	for i := range t.parts {
		p := &t.parts[i]
		out = append(out, p.before...)
		var value string
		switch p.hole {
		case holeNone:
			continue
		case holeGroup:
			if from := at[2*p.group]; from >= 0 {
				out = append(out, src[from:at[2*p.group+1]]...)
			}
			continue
		case holeClientID:
			value = v.ClientID
		case holeUsername:
			value = v.Username
		case holeListener:
			value = v.Listener
		}
		if value == "" {
			return dst, ErrEmpty
		}
		if value[0] == '$' || strings.ContainsAny(value, "+#/\x00") {
			return dst, ErrValue
		}
		out = append(out, value...)
	}
	if len(out)-len(dst) > topic.BytesMax {
		return dst, ErrTooLong
	}
	return out, nil
}

// sample is the template as it is for somebody with short names.
func (t *Template) sample() string {
	b, err := t.Append(nil, Values{ClientID: "c", Username: "u", Listener: "l"})
	if err != nil {
		return "" // too long, which is no topic either
	}
	return string(b)
}

// ParseMountpoint reads the text that stands before every topic of a client: empty,
// or whole levels without wildcards. With any values the result is what a valid
// topic can begin with. One that begins with $ is refused: it would put ordinary
// clients where the broker speaks, and their topics out of reach of '#'
// [MQTT-4.7.2-1].
func ParseMountpoint(text string) (Template, error) {
	t, err := Parse(text)
	if err != nil || text == "" {
		return t, err
	}
	s := t.sample()
	switch {
	case strings.ContainsAny(text, "+#"):
		return Template{}, errors.New("holds a wildcard. A mountpoint is a place and not a pattern")
	case !strings.HasSuffix(text, "/"):
		return Template{}, errors.New("does not end with /, so the first level of every topic would be longer instead of lower")
	case s == "" || s[0] == '$':
		return Template{}, errors.New("begins with $, where only the broker publishes")
	}
	if err := topic.ValidName([]byte(s)); err != nil {
		return Template{}, err
	}
	return t, nil
}

// ParseFilter reads a topic filter to subscribe with, $share/ and $exclusive/
// before it allowed. With any values the result is a valid filter, or too long.
func ParseFilter(text string) (Template, error) {
	t, err := Parse(text)
	if err != nil {
		return Template{}, err
	}
	s := t.sample()
	if _, _, shared, err := topic.ParseShare(s); shared {
		return t, err
	}
	if _, exclusive, err := topic.ParseExclusive(s); exclusive {
		return t, err
	}
	return t, topic.ValidFilter(s)
}
