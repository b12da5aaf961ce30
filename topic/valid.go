// Package topic knows what a topic name and a topic filter are, and which filter
// matches which name. Every function is a pure function of its arguments: no
// state, no allocation, no recursion and no regular expression, so that a hostile
// name or filter costs time linear in its length and nothing else (A030, A034).
// Indexes over many filters belong to package router, limits on length and depth
// to the callers.
//
// Rules: MQTT 5.0 §4.7 topic names and topic filters, §4.8.2 shared subscriptions.
package topic

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// BytesMax is the longest topic name or filter that MQTT can carry, in bytes of
// its UTF-8 form [MQTT-4.7.3-3]. Operators set a smaller limit; this one is the
// length field of the wire format.
const BytesMax = 65535

// What a name or a filter can be refused for. They are plain values, so that
// refusing costs no allocation; the caller knows which packet it was and puts the
// reason code on the wire.
var (
	ErrEmpty        = errors.New("topic has no characters [MQTT-4.7.3-1]")
	ErrTooLong      = errors.New("topic is longer than 65,535 bytes [MQTT-4.7.3-3]")
	ErrNull         = errors.New("topic holds the null character [MQTT-4.7.3-2]")
	ErrUTF8         = errors.New("topic is not well-formed UTF-8 [MQTT-1.5.4-1]")
	ErrNameWildcard = errors.New("topic name holds a wildcard character [MQTT-4.7.0-1]")
	ErrMultiLevel   = errors.New("'#' must fill the last level of a topic filter [MQTT-4.7.1-1]")
	ErrSingleLevel  = errors.New("'+' must fill a whole level of a topic filter [MQTT-4.7.1-2]")
	ErrShareName    = errors.New("share name must have at least one character and none of '/', '+', '#' [MQTT-4.8.2-1] [MQTT-4.8.2-2]")
	ErrShareFilter  = errors.New("share name must be followed by '/' and a topic filter [MQTT-4.8.2-2]")
	ErrShareNested  = errors.New("topic filter of a shared subscription is itself a shared subscription")
)

// ValidName says why b cannot be published to, or nil. The characters are not
// normalised in any way [MQTT-4.7.3-4].
func ValidName(b []byte) error {
	switch {
	case len(b) == 0:
		return ErrEmpty
	case len(b) > BytesMax:
		return ErrTooLong
	}
	for _, c := range b {
		switch c {
		case '+', '#':
			return ErrNameWildcard
		case 0:
			return ErrNull
		}
	}
	if !utf8.Valid(b) {
		return ErrUTF8
	}
	return nil
}

// ValidFilter says why s cannot be subscribed with, or nil. A filter that starts
// with "$share/" is judged as any other; ParseShare knows the rules for those.
func ValidFilter(s string) error {
	switch {
	case s == "":
		return ErrEmpty
	case len(s) > BytesMax:
		return ErrTooLong
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '#':
			if i != len(s)-1 || i > 0 && s[i-1] != '/' {
				return ErrMultiLevel
			}
		case '+':
			if i > 0 && s[i-1] != '/' || i < len(s)-1 && s[i+1] != '/' {
				return ErrSingleLevel
			}
		case 0:
			return ErrNull
		}
	}
	if !utf8.ValidString(s) {
		return ErrUTF8
	}
	return nil
}

// Levels counts the levels of a name or a filter: one more than its '/'
// characters, because empty levels count.
func Levels[T ~string | ~[]byte](t T) int {
	n := 1
	for i := range len(t) {
		if t[i] == '/' {
			n++
		}
	}
	return n
}

// HasWildcard tells whether filter holds '+' or '#'.
func HasWildcard(filter string) bool {
	return strings.ContainsAny(filter, "+#")
}
