package harden

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// What the running process says of its settings is text, as a file would have it.

// nameIn splits a key of something with a name: listeners.mqtts.bind is mqtts and bind. rest is
// empty for other keys.
func nameIn(key, section string) (name, rest string) {
	if tail, ok := strings.CutPrefix(key, section); ok {
		name, rest, _ = strings.Cut(tail, ".")
	}
	return name, rest
}

// plainText is a value without the quotes it may have.
func plainText(text string) string {
	if plainWord(text) || strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") { // a list or a section is none
		return text
	}
	var s string
	if yaml.Unmarshal([]byte(text), &s) != nil {
		return text
	}
	return s
}

// plainWord tells what YAML leaves as it is, which are most values: a word, a number, an address.
func plainWord(text string) bool {
	switch text {
	case "", "null", "Null", "NULL":
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '/' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// listOf reads a list; what is none is nothing.
func listOf(text string) []string {
	var all []string
	if yaml.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	return all
}
