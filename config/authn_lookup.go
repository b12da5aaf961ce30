package config

import (
	"errors"

	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/auth/template"
)

// Lookup is an authenticator that compares passwords with what a back end has.
type Lookup struct {
	When    string      `yaml:"when"`    // a condition; empty: always
	Backend string      `yaml:"backend"` // key of Config.Backends
	Query   string      `yaml:"query"`   // LookupQuery takes it
	Method  string      `yaml:"method"`  // LookupHashes or LookupBinds
	Hash    LookupHash  `yaml:"hash"`
	Cache   LookupCache `yaml:"cache"`
}

// Who compares a password.
const (
	LookupHashes = "hash" // the broker, with the hash that the back end has
	LookupBinds  = "bind" // the directory
)

// LookupHash is how the back end has hashed passwords.
type LookupHash struct {
	Algorithm    string `yaml:"algorithm"`
	SaltPosition string `yaml:"salt_position"`
	Encoding     string `yaml:"encoding"`
	MAC          string `yaml:"mac"`
	Iterations   int    `yaml:"iterations"`
}

// Spec is the same as auth/hash has it.
func (h *LookupHash) Spec() hash.Spec {
	return hash.Spec{Algorithm: h.Algorithm, SaltPosition: h.SaltPosition, Encoding: h.Encoding, MAC: h.MAC, Iterations: h.Iterations}
}

// LookupCache is how long answers are believed.
type LookupCache struct {
	Entries  int      `yaml:"entries"`
	Positive Duration `yaml:"positive"`
	Negative Duration `yaml:"negative"`
}

// LookupQuery reads a query in the words of the type of back end. The error is the rest
// of a sentence that begins with the query.
func LookupQuery(kind, text string, bind bool) (lookup.Query, error) {
	switch kind {
	case BackendPostgreSQL:
		return lookup.SQL(text, template.Dollar)
	case BackendMySQL:
		return lookup.SQL(text, template.Question)
	case BackendRedis:
		return lookup.Redis(text)
	case BackendLDAP:
		return lookup.LDAP(text, bind)
	case BackendMongoDB:
		return lookup.Mongo(text)
	case BackendHTTP:
		return rulesCall(text)
	}
	return nil, errors.New("is for a back end of a type that has no queries")
}

// RulesQuery is LookupQuery for a source of rules.
func RulesQuery(kind, text string) (lookup.Query, error) {
	switch kind {
	case BackendLDAP:
		return lookup.LDAPRules(text)
	case BackendMongoDB:
		return lookup.MongoRules(text)
	}
	return LookupQuery(kind, text, false)
}

// checkLookups judges authenticators that ask back ends.
func (l *loader) checkLookups(c *Config) {
	for _, name := range sorted(c.Authn.Lookup) {
		a, key := c.Authn.Lookup[name], "authn.lookup."+name
		if b := c.Backends[a.Backend]; b.Type == BackendHTTP {
			l.wrong(key+".backend", quote(a.Backend), "is of type http, which judges passwords itself. Describe the authenticator in authn.http.")
			continue
		}
		l.checkQuery(c, key, a.Backend, a.Query, func(kind, text string) (lookup.Query, error) { return LookupQuery(kind, text, a.Method == LookupBinds) })
		if q, err := LookupQuery(c.Backends[a.Backend].Type, a.Query, a.Method == LookupBinds); err == nil && !l.problems.about(key+".query") {
			if err := lookup.AccountFields(q); err != nil {
				l.wrong(key+".query", "", "%v.", err)
			}
		}
		if b, exists := c.Backends[a.Backend]; exists && a.Method == LookupBinds && b.Type != "" && b.Type != BackendLDAP {
			l.wrong(key+".method", quote(a.Method), "is for back ends of type ldap, which judge passwords themselves. Write hash.")
		}
		var wrong *hash.Problem
		if err := a.Hash.Spec().Check(); errors.As(err, &wrong) && !l.problems.about(key+".hash."+wrong.Field) {
			l.wrong(key+".hash."+wrong.Field, "", "%s.", wrong.Text)
		}
	}
}

// checkBackendName tells whether there is the back end that somebody at key asks.
func (l *loader) checkBackendName(c *Config, key, name string) bool {
	_, exists := c.Backends[name]
	switch at := key + ".backend"; {
	case l.problems.about(at):
	case name == "":
		l.wrong(key, "", "has no backend. Write the name of one of backends.")
	case !exists && len(c.Backends) == 0:
		l.wrong(at, quote(name), "is no back end: there are none. Describe it in backends.")
	case !exists:
		l.wrong(at, quote(name), "is no back end. There is %s.", oneOf(sorted(c.Backends)))
	default:
		return true
	}
	return false
}

// checkQuery judges the query of an authenticator or a source at a back end.
func (l *loader) checkQuery(c *Config, key, name, text string, read func(kind, text string) (lookup.Query, error)) {
	if !l.checkBackendName(c, key, name) {
		return
	}
	b := c.Backends[name]
	at := key + ".query"
	if l.problems.about(at) || b.Type == "" {
		return
	}
	if text == "" {
		l.wrong(key, "", "has no query.")
		return
	}
	q, err := read(b.Type, text)
	switch {
	case err != nil:
		l.wrong(at, "", "%v.", err)
	case !lookup.Identifies(q):
		l.wrong(at, "", "asks the same for every client. Write ${username}, ${clientid}, ${cert_common_name} or ${cert_subject} into it.")
	}
}

// weakHashes are lookups whose passwords whoever reads the table has.
func weakHashes(c *Config) (out []exposure) {
	for _, name := range sorted(c.Authn.Lookup) {
		a, at := c.Authn.Lookup[name], "authn.lookup."+name
		if a.Hash.Spec().Weak() {
			out = append(out, exposure{id: "P4.1", scope: at, key: at + ".hash.algorithm", bind: a.Hash.Algorithm,
				danger: "is no protection for passwords: whoever reads the table has them, at once or after minutes", fix: "Store argon2id, bcrypt, scrypt or pbkdf2"})
		}
	}
	return out
}
