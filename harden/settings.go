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
	var s string
	if yaml.Unmarshal([]byte(text), &s) != nil {
		return text
	}
	return s
}

// listOf reads a list; what is none is nothing.
func listOf(text string) []string {
	var all []string
	if yaml.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	return all
}
