package cli

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is what -L says at once: mqtt(s)://[username[:password]@]host[:port]/topic.
type target struct {
	tls, quic              bool
	host                   string
	port                   uint16 // 0: the scheme's
	username, password     string
	hasUsername, hasSecret bool
	topic                  string
}

// parseTarget reads a URL as mosquitto does: the topic is what follows the first
// slash, character by character, because '#' and '?' have no other meaning in a
// topic. User name and password may be percent-encoded.
func parseTarget(s string) (target, error) {
	var t target
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return t, usage("the URL %q has no scheme: mqtts://[user[:password]@]host[:port]/topic", s)
	}
	switch scheme {
	case "mqtts":
		t.tls = true
	case "quic":
		t.tls, t.quic = true, true
	case "mqtt":
	default:
		return t, usage("the scheme %q is not one of mqtts (TLS), mqtt (plaintext) and quic", scheme)
	}
	authority, topic, _ := strings.Cut(rest, "/")
	t.topic = topic
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		var err error
		user, secret, hasSecret := strings.Cut(authority[:at], ":")
		if t.username, err = url.PathUnescape(user); err != nil {
			return t, usage("the user name in the URL is not percent-encoded as it should be")
		}
		if t.password, err = url.PathUnescape(secret); err != nil {
			return t, usage("the password in the URL is not percent-encoded as it should be")
		}
		t.hasUsername, t.hasSecret = true, hasSecret
		authority = authority[at+1:]
	}
	t.host = authority
	if host, port, err := net.SplitHostPort(authority); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return t, usage("%q in the URL is not a port from 1 to 65535", port)
		}
		t.host, t.port = host, uint16(n)
	}
	t.host = strings.TrimSuffix(strings.TrimPrefix(t.host, "["), "]")
	if t.host == "" {
		return t, usage("the URL names no host")
	}
	return t, nil
}
