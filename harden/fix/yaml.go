package fix

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setYAML sets a key in the text of a configuration, and leaves every other byte as it is:
// comments, order and spaces are somebody's. value is a scalar, or a list in one line. Where
// that cannot be done with certainty it answers an error, and a person has to.
func setYAML(text, key, value string) (string, error) {
	out, err := editYAML(text, key, value)
	if err != nil {
		return "", err
	}
	if err := onlyDiffers(text, out, key, value); err != nil {
		return "", err
	}
	return out, nil
}

var errForm = errors.New("the file is written in a form that is not edited here")

func parse(text string) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	if doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	return doc.Content[0], nil
}

// child finds a key of a mapping.
func child(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

func editYAML(text, key, value string) (string, error) {
	root, err := parse(text)
	if err != nil {
		return "", err
	}
	if strings.Contains(text, "\r") || strings.Contains("\n"+text, "\n...") || strings.Contains("\n"+text, "\n%") {
		return "", errForm
	}
	names := strings.Split(key, ".")
	at, above := root, (*yaml.Node)(nil)
	for i, name := range names {
		if at.Kind != yaml.MappingNode || at.Anchor != "" || at.Style&yaml.FlowStyle != 0 && i < len(names) {
			if at.Style&yaml.FlowStyle != 0 && at.Kind == yaml.MappingNode {
				if k, v := child(at, name); k != nil && i == len(names)-1 {
					return replaceNode(text, v, value)
				} else if v != nil {
					above, at = k, v
					continue
				}
			}
			return "", errForm
		}
		k, v := child(at, name)
		switch {
		case k == nil:
			return insertYAML(text, at, above, names[i:], value)
		case i == len(names)-1:
			return replaceNode(text, v, value)
		case v.Kind == yaml.ScalarNode && v.Tag == "!!null" && v.Value == "":
			return insertYAML(text, &yaml.Node{Kind: yaml.MappingNode}, k, names[i+1:], value)
		}
		above, at = k, v
	}
	return "", errForm
}

// replaceNode writes another value in the place of one that stands on one line.
func replaceNode(text string, n *yaml.Node, value string) (string, error) {
	all := lines(text)
	if n.Line < 1 || n.Line > len(all) || n.Anchor != "" || n.Kind == yaml.AliasNode {
		return "", errForm
	}
	line := all[n.Line-1]
	if n.Column < 1 || n.Column > len(line) {
		return "", errForm
	}
	rest := line[n.Column-1:]
	length := 0
	switch {
	case n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value != "" && strings.HasPrefix(rest, n.Value):
		length = len(n.Value)
	case n.Kind == yaml.ScalarNode && n.Style == yaml.DoubleQuotedStyle && strings.HasPrefix(rest, `"`+n.Value+`"`):
		length = len(n.Value) + 2
	case n.Kind == yaml.ScalarNode && n.Style == yaml.SingleQuotedStyle && strings.HasPrefix(rest, "'"+n.Value+"'"):
		length = len(n.Value) + 2
	case n.Kind == yaml.SequenceNode && n.Style&yaml.FlowStyle != 0 && strings.HasPrefix(rest, "["):
		if length = strings.IndexByte(rest, ']') + 1; length == 0 || strings.ContainsAny(rest[1:length], "[{#\\") {
			return "", errForm
		}
	default:
		return "", errForm
	}
	all[n.Line-1] = line[:n.Column-1] + value + rest[length:]
	return strings.Join(all, ""), nil
}

// insertYAML puts keys that are missing below the first key of a mapping, or at the end of
// the file. above is the key whose value the mapping is.
func insertYAML(text string, m, above *yaml.Node, names []string, value string) (string, error) {
	all := lines(text)
	if n := len(all); n > 0 && !strings.HasSuffix(all[n-1], "\n") {
		all[n-1] += "\n"
	}
	at, indent := len(all), 0
	switch {
	case above == nil && len(m.Content) > 0:
		indent = m.Content[0].Column - 1
	case above != nil && len(m.Content) > 0:
		if m.Content[0].Line <= above.Line {
			return "", errForm
		}
		at, indent = above.Line, m.Content[0].Column-1
	case above != nil:
		at, indent = above.Line, above.Column+1
	}
	var add strings.Builder
	for i, name := range names {
		add.WriteString(strings.Repeat(" ", indent+2*i) + name + ":")
		if i == len(names)-1 {
			add.WriteString(" " + value)
		}
		add.WriteString("\n")
	}
	return strings.Join(all[:at], "") + add.String() + strings.Join(all[at:], ""), nil
}

// onlyDiffers makes sure that one key has changed and nothing else has.
func onlyDiffers(was, now, key, value string) error {
	a, err := flat(was)
	if err != nil {
		return err
	}
	b, err := flat(now)
	if err != nil {
		return err
	}
	want, err := flat("x: " + value)
	if err != nil {
		return err
	}
	isKey := func(k string) bool { return k == key || strings.HasPrefix(k, key+"[") }
	for k, v := range b {
		switch {
		case isKey(k):
			if want["x"+strings.TrimPrefix(k, key)] != v {
				return fmt.Errorf("%s would be %s", k, v)
			}
		case a[k] != v && !(v == "map" && strings.HasPrefix(key, k+".")):
			return fmt.Errorf("%s would change, too", k)
		}
	}
	for k := range a {
		if _, ok := b[k]; !ok && !isKey(k) {
			return fmt.Errorf("%s would be lost", k)
		}
	}
	if _, ok := b[key]; !ok {
		return fmt.Errorf("%s would not be set", key)
	}
	return nil
}

// flat is every value of a document by its path.
func flat(text string) (map[string]string, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	var walk func(path string, n *yaml.Node) error
	walk = func(path string, n *yaml.Node) error {
		switch n.Kind {
		case yaml.MappingNode:
			out[path] = "map"
			for i := 0; i+1 < len(n.Content); i += 2 {
				below := n.Content[i].Value
				if path != "" {
					below = path + "." + below
				}
				if _, twice := out[below]; twice {
					return errForm
				}
				if err := walk(below, n.Content[i+1]); err != nil {
					return err
				}
			}
		case yaml.SequenceNode:
			out[path] = fmt.Sprintf("list of %d", len(n.Content))
			for i, c := range n.Content {
				if err := walk(fmt.Sprintf("%s[%d]", path, i), c); err != nil {
					return err
				}
			}
		case yaml.ScalarNode:
			out[path] = n.Tag + " " + n.Value
		default:
			return errForm // an alias stands for something elsewhere
		}
		return nil
	}
	return out, walk("", root)
}
