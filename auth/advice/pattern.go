package advice

import (
	"strings"

	"github.com/redoubtmq/redoubt/auth"
)

// Pattern is a topic name or filter with what is particular to a client and to a moment taken
// out: levels that are its names become placeholders, and levels of digits and of identifiers
// such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301 become +. Wildcards stay. It is what many
// topics of one kind have in common, and not wider than that: a level of words stays.
func Pattern(by *auth.Principal, topic string) string { return shape(by, topic, true) }

// Named is Pattern without the +: only the names of the client are taken out.
func Named(by *auth.Principal, topic string) string { return shape(by, topic, false) }

func shape(by *auth.Principal, topic string, vary bool) string {
	levels := strings.Split(topic, "/")
	for i, l := range levels {
		switch {
		case l == "" || l == "+" || l == "#" || i == 0 && l[0] == '$':
		case l == by.Username && auth.Expandable(by.Username):
			levels[i] = "${username}"
		case l == by.ClientID && auth.Expandable(by.ClientID):
			levels[i] = "${clientid}"
		case vary && i > 0 && Varies(l): // "+/..." would be far wider than what was seen
			levels[i] = "+"
		}
	}
	return strings.Join(levels, "/")
}

// Varies tells whether a level looks like a number, a time or an identifier that a program
// has made.
func Varies(level string) bool {
	digits, hex, dashes, other := 0, 0, 0, 0
	for _, c := range []byte(level) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			hex++
		case c == '-' || c == ':' || c == '.' || c == '_':
			dashes++
		default:
			other++
		}
	}
	return other == 0 && digits > 0 && (hex == 0 || digits+hex >= 8)
}
