package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Setting is one effective key for people and for JSON. Secrets are shown by
// reference.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"` // as Origin.String has it

	Text string `json:"-"` // Value as the file has it, on one line
}

// Settings lists every effective key with its origin, in the order of the
// reference page.
func (l *Loaded) Settings() []Setting {
	var out []Setting
	for _, lf := range leaves(l.Config) {
		out = append(out, Setting{Key: lf.key, Value: plain(lf.value), Origin: l.Origin(lf.key).String(), Text: flow(nodeOf(lf.value))})
	}
	return out
}

// YAML is the effective configuration as a file that loads to an equal one,
// wherever it is. With origins, each line ends with where its value came from.
func (l *Loaded) YAML(origins bool) []byte { return YAML(l.Settings(), origins) }

// YAML is Loaded.YAML of settings that came from elsewhere.
func YAML(settings []Setting, origins bool) []byte {
	type line struct{ text, origin string }
	var lines []line
	var at []string // names of the sections that are open
	width := 0
	for _, s := range settings {
		names := strings.Split(s.Key, ".")
		last := len(names) - 1
		same := 0
		for same < last && same < len(at) && at[same] == names[same] {
			same++
		}
		at = names[:last]
		for ; same < last; same++ {
			lines = append(lines, line{text: strings.Repeat("  ", same) + keyText(names[same]) + ":"})
		}
		ln := line{strings.Repeat("  ", last) + keyText(names[last]) + ": " + s.Text, s.Origin}
		if n := len([]rune(ln.text)); n <= 60 {
			width = max(width, n)
		}
		lines = append(lines, ln)
	}
	var b bytes.Buffer
	for _, ln := range lines {
		if origins && ln.origin != "" {
			fmt.Fprintf(&b, "%-*s  # %s\n", width, ln.text, printable(ln.origin))
		} else {
			b.WriteString(ln.text + "\n")
		}
	}
	return b.Bytes()
}

// plainWord is text that nobody could take for anything else.
var plainWord = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`)

func keyText(name string) string { return flow(stringNode(name)) }

func stringNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !plainWord.MatchString(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// nodeOf is a value as the file would have it.
func nodeOf(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case Secret:
		return stringNode(x.Ref)
	case fmt.Stringer: // Size, Duration, Seconds, Count, Date: nothing that needs quotes
		return &yaml.Node{Kind: yaml.ScalarNode, Value: x.String()}
	}
	switch v.Kind() {
	case reflect.String:
		return stringNode(v.String())
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			n.Content = append(n.Content, nodeOf(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, name := range sortedNames(v) {
			n.Content = append(n.Content, stringNode(name), nodeOf(v.MapIndex(reflect.ValueOf(name))))
		}
		return n
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, f := range fieldsOf(v.Type()) {
			n.Content = append(n.Content, stringNode(f.name), nodeOf(v.FieldByIndex(f.index)))
		}
		return n
	default: // int, bool
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
	}
}

// flow writes a node on one line.
func flow(n *yaml.Node) string {
	b, err := yaml.Marshal(n)
	if err != nil {
		panic("BUG: a valid value has no YAML: " + err.Error())
	}
	return strings.TrimSuffix(string(b), "\n")
}

// plain is a value as JSON has it: sizes, durations and dates are the text that
// the file would have.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Count:
		if x != Auto {
			return int(x)
		}
		return x.String()
	case fmt.Stringer:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, plain(v.Index(i)))
		}
		return out
	case reflect.Struct:
		out := object{}
		for _, f := range fieldsOf(v.Type()) {
			out[f.name] = plain(v.FieldByIndex(f.index))
		}
		return out
	default:
		return v.Interface()
	}
}
