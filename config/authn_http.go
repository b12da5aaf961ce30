package config

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// HTTPAuthenticator has a service judge clients.
type HTTPAuthenticator struct {
	When          string      `yaml:"when"`    // a condition; empty: always
	Backend       string      `yaml:"backend"` // key of Config.Backends, of BackendHTTP
	Query         string      `yaml:"query"`   // lookup.HTTP takes it
	Headers       []string    `yaml:"headers"` // NAME=VALUE
	PasswordInURL bool        `yaml:"password_in_url"`
	NoContent     string      `yaml:"no_content"` // NoContentRefuses or NoContentAllows
	Superuser     string      `yaml:"superuser"`  // Ignored or Honoured
	Attributes    string      `yaml:"attributes"` // Ignored or Honoured
	Cache         LookupCache `yaml:"cache"`
}

// What status 204 means.
const (
	NoContentRefuses = "refuse"
	NoContentAllows  = "allow"
)

// BackendHeader is a header of every question to a service.
type BackendHeader struct {
	Name   string `yaml:"name"`
	Value  string `yaml:"value"`
	Secret Secret `yaml:"secret"`
}

// Text is the value, which may be a secret.
func (h *BackendHeader) Text() Secret {
	if h.Secret.Ref != "" {
		return h.Secret
	}
	return Secret{Value: secret.FromString(h.Value)}
}

// ServiceURL is url taken apart: where to connect, the header Host, and what stands before
// the path of every question. The error is the rest of a sentence that begins with it.
func (b *Backend) ServiceURL() (to backend.Server, host, base string, err error) {
	u, err := url.Parse(b.URL)
	wrong := errors.New("is no address of a service. Write https://HOST:PORT/PATH, without a user, a query or a #")
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(b.URL, "#"):
		return to, "", "", wrong
	case u.Scheme != "https" && u.Scheme != "http":
		return to, "", "", errors.New("is neither https nor http")
	}
	base = strings.TrimSuffix(u.EscapedPath(), "/")
	for _, part := range strings.Split(base, "/")[min(1, strings.Count(base, "/")):] {
		if base != "" && (part == "" || part == "." || part == "..") {
			return to, "", "", wrong
		}
	}
	port := u.Port()
	if port == "" {
		if port = "443"; u.Scheme == "http" {
			port = "80"
		}
	}
	to, err = backend.ParseServer(net.JoinHostPort(u.Hostname(), port))
	if err != nil || to.Network != "tcp" || strings.Trim(u.Host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") != "" {
		return to, "", "", wrong
	}
	return to, u.Host, base, nil
}

// encryptedURL tells whether url is of TLS.
func (b *Backend) encryptedURL() bool { return strings.HasPrefix(strings.ToLower(b.URL), "https:") }

// checkService judges what a back end of type http has, and others have not.
func (l *loader) checkService(b *Backend, key string) {
	if b.Type != BackendHTTP {
		if b.URL != "" {
			l.wrong(key+".url", quote(b.URL), "is for type http. Write servers.")
		}
		if len(b.Headers) > 0 {
			l.wrong(key+".headers", "", "are for type http. Remove them.")
		}
		return
	}
	if len(b.Servers) > 0 {
		l.wrong(key+".servers", "", "has no meaning for type http: url says where the service is. Remove it.")
	}
	if b.Database != "" {
		l.wrong(key+".database", quote(b.Database), "has no meaning for type http. Remove it.")
	}
	if b.Username != "" && b.Password.Ref == "" && !l.problems.about(key+".password") {
		l.wrong(key+".username", quote(b.Username), "has no effect without a password.")
	}
	if (strings.Contains(b.Username, ":") || !headerText(b.Username)) && !l.problems.about(key+".username") {
		l.wrong(key+".username", quote(b.Username), "has a colon, or a character that is not ASCII, which no user name in HTTP can have.")
	}
	if !headerText(secretLine(b.Password)) && !l.problems.about(key+".password") {
		l.wrong(key+".password", "", "has a line break or another character in it that no header can have.")
	}
	l.checkServiceURL(b, key)
	l.checkHeaders(b, key)
}

func (l *loader) checkServiceURL(b *Backend, key string) {
	at := key + ".url"
	if l.problems.about(at) {
		return
	}
	if b.URL == "" {
		l.wrong(key, "", `has no url. Write one, such as https://accounts.example.com.`)
		return
	}
	_, _, _, err := b.ServiceURL()
	switch {
	case err != nil:
		l.wrong(at, quote(b.URL), "%v.", err)
	case l.problems.about(key + ".tls.mode"):
	case b.encryptedURL() && b.TLS.Mode == BackendTLSOff:
		l.wrong(key+".tls.mode", quote(b.TLS.Mode), "does not go with https. Remove it.")
	case !b.encryptedURL() && b.TLS.Mode == BackendTLSRequired:
		l.wrong(at, quote(b.URL), "is not encrypted. Write https; for a service of this host tls: {mode: \"off\"} beside it lets it be.")
	}
}

func (l *loader) checkHeaders(b *Backend, key string) {
	at, seen := key+".headers", map[string]bool{}
	if l.problems.about(at) {
		return
	}
	for i := range b.Headers {
		h := &b.Headers[i]
		name := strings.ToLower(h.Name)
		switch {
		case !lookup.HeaderName(h.Name):
			l.wrong(at, quote(h.Name), "is no name of a header, or one that is ours to write.")
		case seen[name]:
			l.wrong(at, quote(h.Name), "is there twice.")
		case name == "authorization" && b.Password.Ref != "":
			l.wrong(at, quote(h.Name), "is written from password already. Remove one of them.")
		case (h.Value == "") == (h.Secret.Ref == ""):
			l.wrong(at, quote(h.Name), "needs one of value and secret.")
		case !headerText(secretLine(h.Text())):
			l.wrong(at, quote(h.Name), "has a line break or another character in its value that no header can have.")
		}
		seen[name] = true
	}
}

// secretLine is a secret without the line break that ends its file.
func secretLine(s Secret) string { return strings.TrimRight(string(s.Value.Reveal()), "\r\n") }

// headerText tells whether a header can have the value: visible ASCII and blanks.
func headerText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// Call is the question. The error is the rest of a sentence that begins with it.
func (a *HTTPAuthenticator) Call() (*lookup.Call, error) {
	c, err := lookup.HTTP(a.Query, a.Headers)
	switch {
	case err != nil:
		return nil, err
	case c.PasswordInURL() && !a.PasswordInURL:
		return nil, errors.New("has ${password} in its address, which servers and proxies write into their logs. Put it into the body of a POST, or say password_in_url: true")
	case !c.Proves():
		return nil, errors.New("has nothing in it that a client has to prove: whoever knows a name would be let in. Write ${password}, ${cert_common_name} or ${cert_subject} into it")
	}
	return c, nil
}

// checkHTTP judges authenticators that ask services.
func (l *loader) checkHTTP(c *Config) {
	for _, name := range sorted(c.Authn.HTTP) {
		a, key := c.Authn.HTTP[name], "authn.http."+name
		l.checkBackendName(c, key, a.Backend)
		if b, exists := c.Backends[a.Backend]; exists && b.Type != BackendHTTP && b.Type != "" {
			l.wrong(key+".backend", quote(a.Backend), "is of type %s. authn.http asks back ends of type http; the others are for authn.lookup.", b.Type)
		}
		if l.problems.about(key+".query") || l.problems.about(key+".headers") {
			continue
		}
		l.checkTwice(c.Backends[a.Backend], &a, key+".headers")
		if a.Query == "" {
			l.wrong(key, "", `has no query. Write POST /auth {"username": "${username}", "password": "${password}"}, say.`)
		} else if _, err := a.Call(); err != nil {
			l.wrong(key+".query", "", "%v.", err)
		}
	}
}

// checkTwice refuses headers of a question that are there already: a service would read one
// or the other.
func (l *loader) checkTwice(b Backend, a *HTTPAuthenticator, at string) {
	seen := map[string]bool{"authorization": b.Password.Ref != ""}
	for i := range b.Headers {
		seen[strings.ToLower(b.Headers[i].Name)] = true
	}
	for _, h := range a.Headers {
		name, _, _ := strings.Cut(h, "=")
		if name = strings.ToLower(name); seen[name] {
			l.wrong(at, quote(h), "is a header that is there already, here or from the back end. Remove one of them.")
		}
		seen[name] = true
	}
}

// rulesCall reads the question of a source of rules.
func rulesCall(text string) (lookup.Query, error) {
	c, err := lookup.HTTP(text, nil)
	if err != nil {
		return nil, err
	}
	if c.Uses(template.Password) {
		return nil, errors.New("has ${password}: rules are read for a client that is let in already, and whose password is forgotten")
	}
	return c, nil
}
