package rules

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The file is read as nodes and not into structs: only nodes have lines and
// columns, and aliases in them stay what they are instead of multiplying.

// document answers the one mapping of the file.
func (r *reader) document(data []byte) *yaml.Node {
	d := yaml.NewDecoder(resting{bytes.NewReader(data), r.rest})
	var doc yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		r.fail(nil, "", "the file is empty, and an empty file is more often an accident than a policy; to deny everything write `version: 1` and `rules: []`")
		return nil
	}
	if err != nil {
		r.syntax(err)
		return nil
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		r.fail(&second, "", "a second YAML document starts here; one file is one document")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
		return nil
	}
	if len(doc.Content) != 1 {
		r.fail(nil, "", "the file holds no mapping; to deny everything write `version: 1` and `rules: []`")
		return nil
	}
	return doc.Content[0]
}

// resting is a text that the parser takes in small bites, with rests in between.
type resting struct {
	io.Reader
	rest func()
}

// Read implements io.Reader.
func (r resting) Read(p []byte) (int, error) {
	r.rest()
	return r.Reader.Read(p)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntax reports what the YAML parser says. It counts lines from 0 in some of its
// messages, so the line is near and not exact.
func (r *reader) syntax(err error) {
	text, n := strings.TrimPrefix(err.Error(), "yaml: "), (*yaml.Node)(nil)
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		n = &yaml.Node{Line: line}
		text = strings.TrimPrefix(err.Error(), m[0])
	}
	if len(text) > 200 {
		text = text[:200]
	}
	r.fail(n, "", "is not YAML, near here: %s (topic filters stand in quotes: \"devices/${username}/#\")", text)
}

// plain refuses what could make a node mean something that is not written there.
func (r *reader) plain(n *yaml.Node, key string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		r.fail(n, key, "*%s is an alias; write the value itself", n.Value)
	case n.Anchor != "":
		r.fail(n, key, "&%s is an anchor; remove it, aliases are not used in rules", n.Anchor)
	default:
		return true
	}
	return false
}

// fields answers the values of a mapping by key.
func (r *reader) fields(n *yaml.Node, key string, known ...string) map[string]*yaml.Node {
	if !r.plain(n, key) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		what := "is"
		if key == "" {
			what = "the file is"
		}
		r.fail(n, key, "%s %s; write a mapping with the keys %s", what, kindOf(n), strings.Join(known, ", "))
		return nil
	}
	prefix := ""
	if key != "" {
		prefix = key + "."
	}
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case !r.plain(k, key):
		case k.Kind != yaml.ScalarNode || !slices.Contains(known, k.Value):
			r.fail(k, prefix+shown(k.Value), "unknown key%s; known are %s", meant(k.Value, known), strings.Join(known, ", "))
		case out[k.Value] != nil:
			r.fail(k, prefix+k.Value, "given twice; the first is in line %d", out[k.Value].Line)
		default:
			out[k.Value] = v
		}
	}
	return out
}

// list answers the items of a sequence; a missing one is empty.
func (r *reader) list(n *yaml.Node, key string) []*yaml.Node {
	if n == nil || !r.plain(n, key) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, key, "is %s; write a list: [...]", kindOf(n))
		return nil
	}
	return n.Content
}

// text answers a string.
func (r *reader) text(n *yaml.Node, key string) string {
	if !r.plain(n, key) {
		return ""
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		r.fail(n, key, "is %s; write a text", kindOf(n))
	case n.ShortTag() == "!!null":
		r.fail(n, key, `is empty; write a text, and one that starts with # in quotes: "#"`)
	case n.ShortTag() != "!!str":
		r.fail(n, key, "%s is %s; to mean a text put it in quotes: %q", shown(n.Value), kindOf(n), n.Value)
	default:
		return n.Value
	}
	return ""
}

// flag answers a boolean.
func (r *reader) flag(n *yaml.Node, key string) bool {
	if r.plain(n, key) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
			return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
		}
		r.fail(n, key, "%s is %s; write true or false", shown(n.Value), kindOf(n))
	}
	return false
}

// number answers an integer from low to high.
func (r *reader) number(n *yaml.Node, key string, low, high int) int {
	if r.plain(n, key) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
			if i, err := strconv.Atoi(n.Value); err == nil && i >= low && i <= high && n.Value == strconv.Itoa(i) {
				return i
			}
		}
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
			r.fail(n, key, "%s is %s; write a number, without quotes", shown(n.Value), kindOf(n))
			return low
		}
		want := "a number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high)
		if low == high {
			want = strconv.Itoa(low)
		}
		r.fail(n, key, "%s is out of range; write %s", shown(n.Value), want)
	}
	return low
}

// word answers one of the known words.
func (r *reader) word(n *yaml.Node, key string, known ...string) string {
	if !r.plain(n, key) {
		return ""
	}
	if n.Kind == yaml.ScalarNode && slices.Contains(known, n.Value) {
		return n.Value
	}
	r.fail(n, key, "%s is not known%s; write one of %s", shown(n.Value), meant(n.Value, known), strings.Join(known, ", "))
	return ""
}

// kindOf is what a node is, in words.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!str":
		return "a text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a time"
	}
	return "of another type"
}
