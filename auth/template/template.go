// Package template is how questions to back ends name what is different from client to
// client: ${username} and its like. A text is read once, when the configuration is; what
// comes out keeps the operator's words and the client's values apart, so that a value
// can never become a word. How a value is written where it goes (bound, an argument of
// its own, escaped) is the caller's choice for each protocol; nothing here glues a value
// into SQL.
//
// Rules: a name that is not known, a placeholder where the value would not be a value,
// and text that could not be meant are refused with the remedy. A value that a client
// does not have is empty, never the text of the placeholder.
package template

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// The names, beside client_attrs.NAME.
const (
	Username   = "username"
	ClientID   = "clientid"
	Password   = "password"
	PeerHost   = "peerhost"
	PeerPort   = "peerport"
	CommonName = "cert_common_name"
	Subject    = "cert_subject"
	Listener   = "listener"
	attrs      = "client_attrs."
)

var names = []string{Username, ClientID, Password, PeerHost, PeerPort, CommonName, Subject, Listener}

// Values are those of one client. What it has not is empty.
type Values struct {
	Username, ClientID, PeerHost, PeerPort, CommonName, Subject, Listener string
	Password                                                              secret.Value
	Attrs                                                                 map[string]string
}

// OfRequest are the values of a client that has proved nothing yet.
func OfRequest(r *auth.Request) *Values {
	v := &Values{Username: r.Username, ClientID: r.ClientID, CommonName: r.Certificate.CommonName, Subject: r.Certificate.Subject, Listener: r.Listener, Password: r.Password}
	if r.Port != 0 {
		v.PeerPort = strconv.Itoa(int(r.Port))
	}
	if r.Addr.IsValid() {
		v.PeerHost = r.Addr.Unmap().WithZone("").String()
	}
	return v
}

// OfPrincipal are the values of one that has.
func OfPrincipal(p *auth.Principal) *Values {
	v := &Values{Username: p.Username, ClientID: p.ClientID, Listener: p.Listener}
	if p.Addr.IsValid() {
		v.PeerHost = p.Addr.Unmap().WithZone("").String()
	}
	if p.Claims != nil {
		v.CommonName, v.Attrs = p.Claims.CommonName, p.Claims.Attrs
	}
	return v
}

// Get is the value of a name that Parse has accepted. Whoever sends a password to the
// back end reads Values.Password; here it is revealed for the few texts that say so.
func (v *Values) Get(name string) string {
	switch name {
	case Username:
		return v.Username
	case ClientID:
		return v.ClientID
	case Password:
		return string(v.Password.Reveal())
	case PeerHost:
		return v.PeerHost
	case PeerPort:
		return v.PeerPort
	case CommonName:
		return v.CommonName
	case Subject:
		return v.Subject
	case Listener:
		return v.Listener
	}
	return v.Attrs[strings.TrimPrefix(name, attrs)]
}

// Text is a text with placeholders. It is immutable.
type Text struct{ parts []part }

// part is a piece of the operator's text, or a placeholder.
type part struct{ literal, name string }

// TextMax bounds a text, in bytes.
const TextMax = 4 << 10

// Parse reads a text. The error is the rest of a sentence that begins with the text.
func Parse(text string) (*Text, error) {
	if len(text) > TextMax {
		return nil, fmt.Errorf("is longer than %d bytes", TextMax)
	}
	t := &Text{}
	for text != "" {
		at := strings.Index(text, "${")
		if at < 0 {
			t.parts = append(t.parts, part{literal: text})
			break
		}
		if at > 0 {
			t.parts = append(t.parts, part{literal: text[:at]})
		}
		name, rest, err := placeholder(text[at:])
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part{name: name})
		text = rest
	}
	return t, nil
}

// placeholder reads the one that text begins with.
func placeholder(text string) (name, rest string, err error) {
	end := strings.IndexByte(text, '}')
	if end < 0 {
		return "", "", errors.New("has ${ without a }. Write ${username}, say")
	}
	name = text[len("${"):end]
	if slices.Contains(names, name) {
		return name, text[end+1:], nil
	}
	if attr, ok := strings.CutPrefix(name, attrs); ok && ValidAttr(attr) {
		return name, text[end+1:], nil
	}
	return "", "", fmt.Errorf("has ${%s}, which is no placeholder. There are ${%s} and ${client_attrs.NAME}", printable(name), strings.Join(names, "}, ${"))
}

// ValidAttr tells whether a client attribute can have the name: letters, digits and _,
// at most 64.
func ValidAttr(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// printable keeps a piece of a text short enough for a message.
func printable(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// Uses tells whether the placeholder occurs.
func (t *Text) Uses(name string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.name == name })
}

// Literal tells whether there is no placeholder at all, and what it says then.
func (t *Text) Literal() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].name == "":
		return t.parts[0].literal, true
	}
	return "", false
}

// Known tells whether the client has at least one of the values; without any, the text
// would be about nobody.
func (t *Text) Known(v *Values) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.name != "" && v.Get(p.name) != "" })
}

// Render fills the text; escape is applied to each value, and to nothing of the
// operator's. nil: values go in as they are, which is right only where the whole text is
// one argument.
func (t *Text) Render(v *Values, escape func(string) string) string {
	var b strings.Builder
	for _, p := range t.parts {
		switch {
		case p.name == "":
			b.WriteString(p.literal)
		case escape == nil:
			b.WriteString(v.Get(p.name))
		default:
			b.WriteString(escape(v.Get(p.name)))
		}
	}
	return b.String()
}

// Words reads a command of words between spaces, each of which stays one whatever the
// values are: a client's space or line break ends no word.
func Words(text string) ([]*Text, error) {
	var out []*Text
	for _, w := range strings.Fields(text) {
		if strings.ContainsAny(w, `"'\`) {
			return nil, errors.New("has quotes, which have no meaning here: every word is an argument of its own, whatever a value has in it. Remove them")
		}
		t, err := Parse(w)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, errors.New("is empty")
	}
	return out, nil
}
