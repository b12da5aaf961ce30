package scram

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Bounds of what a client sends, before anything is made of it. A name may triple in
// length by escaping.
const (
	MessageBytesMax = 2048
	NameBytesMax    = 256
	NonceBytesMax   = 256
)

// clientFirst is client-first-message.
type clientFirst struct {
	header string // gs2-header, which client-final-message repeats
	bare   string // what is authenticated of it
	name   string
	nonce  string
}

// clientFinal is client-final-message.
type clientFinal struct {
	header string // decoded
	nonce  string
	proof  []byte
	bare   string // without the proof
}

// parseFirst reads client-first-message. wrong says what is wrong with it and shows
// nothing of it.
func parseFirst(data []byte) (f *clientFirst, wrong string) {
	s, wrong := text(data)
	if wrong != "" {
		return nil, wrong
	}
	flag, rest, _ := strings.Cut(s, ",")
	authzid, bare, ok := strings.Cut(rest, ",")
	switch {
	case !ok:
		return nil, "is cut off"
	case strings.HasPrefix(flag, "p="):
		return nil, "asks for channel binding, which is not offered"
	case flag != "n" && flag != "y": // y: the client could bind, and saw no method with -PLUS, which is so
		return nil, "does not begin with n or y"
	case authzid != "" && !strings.HasPrefix(authzid, "a="):
		return nil, "has something else where an authorization identity belongs"
	}
	f = &clientFirst{header: s[:len(s)-len(bare)], bare: bare}
	attrs := strings.Split(bare, ",")
	if strings.HasPrefix(attrs[0], "m=") {
		return nil, "demands an extension that is not known"
	}
	if len(attrs) < 2 || !strings.HasPrefix(attrs[0], "n=") || !strings.HasPrefix(attrs[1], "r=") {
		return nil, "wants a user name and a nonce"
	}
	if f.name, ok = unescape(attrs[0][2:]); !ok || f.name == "" || len(f.name) > NameBytesMax {
		return nil, "has a user name that cannot be"
	}
	if f.nonce = attrs[1][2:]; !printable(f.nonce) || f.nonce == "" || len(f.nonce) > NonceBytesMax {
		return nil, "has a nonce that cannot be"
	}
	if wrong := extensions(attrs[2:]); wrong != "" {
		return nil, wrong
	}
	if authzid != "" {
		if as, ok := unescape(authzid[2:]); !ok || as != f.name {
			return nil, "asks to act as somebody else"
		}
	}
	return f, ""
}

// parseFinal reads client-final-message with a proof of size bytes.
func parseFinal(data []byte, size int) (f *clientFinal, wrong string) {
	s, wrong := text(data)
	if wrong != "" {
		return nil, wrong
	}
	attrs := strings.Split(s, ",")
	last := len(attrs) - 1
	if last < 2 || !strings.HasPrefix(attrs[0], "c=") || !strings.HasPrefix(attrs[1], "r=") || !strings.HasPrefix(attrs[last], "p=") {
		return nil, "wants a channel binding, a nonce and, last, a proof"
	}
	if wrong := extensions(attrs[2:last]); wrong != "" {
		return nil, wrong
	}
	header, ok := unbase64(attrs[0][2:])
	if !ok {
		return nil, "has a channel binding that is not base64"
	}
	proof, ok := unbase64(attrs[last][2:])
	if !ok || len(proof) != size {
		return nil, "has a proof that cannot be one"
	}
	return &clientFinal{header: string(header), nonce: attrs[1][2:], proof: proof, bare: s[:len(s)-len(attrs[last])-1]}, ""
}

// text is data as text, if it can be.
func text(data []byte) (s, wrong string) {
	switch {
	case len(data) == 0:
		return "", "is empty"
	case len(data) > MessageBytesMax:
		return "", "is too long"
	case !utf8.Valid(data):
		return "", "is not UTF-8"
	}
	s = string(data)
	if strings.IndexByte(s, 0) >= 0 {
		return "", "holds a NUL"
	}
	return s, ""
}

// extensions are attributes that may be ignored [RFC 5802 §5.1], but for m, which must
// not, and for those that have a place of their own.
func extensions(attrs []string) (wrong string) {
	for _, a := range attrs {
		letter := len(a) > 2 && a[1] == '=' && (a[0] >= 'a' && a[0] <= 'z' || a[0] >= 'A' && a[0] <= 'Z')
		switch {
		case !letter:
			return "has an attribute that is none"
		case a[0] == 'm':
			return "demands an extension that is not known"
		case strings.IndexByte("anrcpsive", a[0]) >= 0:
			return "has an attribute twice, or in the wrong place"
		}
	}
	return ""
}

// unescape reads a saslname: =2C is a comma and =3D an equals sign.
func unescape(s string) (name string, ok bool) {
	if strings.IndexByte(s, '=') < 0 {
		return s, true
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "=")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), true
		case strings.HasPrefix(rest, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(rest, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		s = rest[2:]
	}
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return true
}

func unbase64(s string) (b []byte, ok bool) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return b, err == nil
}
