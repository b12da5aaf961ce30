package auth

import "strings"

// ShownName is a user name for a log line. Some clients bring a token in its place (jwt with
// from: username, or by mistake), and who reads a log should not come in with it.
func ShownName(name string) string {
	if len(name) >= 16 && (strings.HasPrefix(name, "ey") || strings.HasPrefix(name, "ew")) && strings.Contains(name, ".") { // base64url of {" and so on, or of { and a line break
		return "[a token]"
	}
	return name
}
