package jwt

import "github.com/redoubtmq/redoubt/auth"

// What a signed token says and what a service answers about a client have the same form and
// the same dangers. These read it for package auth/lookup.

// Object reads a JSON object strictly: UTF-8, no name twice, nothing behind it, no deeper than
// six levels. Numbers are json.Number. The error is the rest of a sentence.
func Object(b []byte) (map[string]any, error) { return object(b) }

// Rules reads rules in either form that EMQX has for acl, as Object answers them. The error
// is the rest of a sentence that begins with what they are in.
func Rules(v any) ([]auth.RuleSpec, error) { return readACL(v) }

// Attributes reads client_attrs: at most AttributesMax short texts. The error is the rest of
// a sentence that begins with their name.
func Attributes(v any) (map[string]string, error) { return readAttributes(v) }
