package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// isNull tells whether nothing was written.
func isNull(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// hasKey tells whether a mapping names a key, whatever its value.
func hasKey(n *yaml.Node, name string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return true
		}
	}
	return false
}

// describe says what a node is, as one would to somebody who knows no YAML.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	case "!!null":
		return "nothing"
	case "!!str":
		return "text"
	default:
		return "a value of another type"
	}
}

// describe says what may be written for the row, with an article.
func (r *Row) describe() string {
	switch r.Kind {
	case KindEnum, KindEnums:
		return r.Range()
	case KindSecret:
		return "file:PATH or credential:NAME"
	case KindBinds:
		return "address:port"
	case KindOrigins:
		return r.Form
	case KindNetworks:
		return "a network, such as 10.0.0.0/8"
	case KindAccess:
		return `a rule, such as "allow 10.0.0.0/8"`
	case KindHosts:
		return "a host name, such as broker.example.com"
	case KindNameList, KindName:
		return "a name"
	case KindPaths:
		return "a path"
	case KindDate:
		return "a date, such as 2027-03-31"
	case KindString, KindTexts:
		return r.Form
	default:
		return "a " + string(r.Kind)
	}
}

// listWords is a list for people, with an example if there is one.
func (r *Row) listWords() string {
	if example := r.listExample(); example != "" {
		return "a list (" + example + ")"
	}
	return `a list, written ["...", "..."],`
}

// listExample shows how a list is written.
func (r *Row) listExample() string {
	switch {
	case r.Kind == KindBinds:
		return `["127.0.0.1:8883"]`
	case r.Kind == KindOrigins:
		return `["https://app.example.com"]`
	case r.Kind == KindNetworks:
		return `["10.0.0.0/8"]`
	case r.Kind == KindAccess:
		return `["allow 10.0.0.0/8", "deny all"]`
	case r.Kind == KindHosts:
		return "[broker.example.com]"
	case r.Kind == KindNameList:
		return "[builtin]"
	case r.Kind == KindPaths:
		return "[/etc/redoubt/devices-ca.pem]"
	case r.Kind == KindTexts:
		return r.Note
	case r.Default != "":
		return r.Default
	default:
		return "[a, b]"
	}
}

// defaultText is the default for people: what an empty one means, if it does.
func (r *Row) defaultText() string {
	switch {
	case r.Need || r.Default == "":
		return "none"
	case (r.Default == `""` || r.Default == "[]" && r.Kind == KindItems && !r.hasExample()) && r.Note != "":
		return strings.ReplaceAll(r.Note, "`", "")
	default:
		return r.Default
	}
}

// orDefault is a clause about the default, if there is one.
func (r *Row) orDefault(format string) string {
	if r.Need || r.Default == "" {
		return ""
	}
	return fmt.Sprintf(format, r.defaultText())
}
