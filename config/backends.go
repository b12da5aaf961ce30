package config

import (
	"slices"

	"github.com/redoubtmq/redoubt/backend"
)

// Types of back ends.
const (
	BackendPostgreSQL = "postgresql"
	BackendMySQL      = "mysql" // MariaDB, too
	BackendRedis      = "redis"
	BackendLDAP       = "ldap"
	BackendMongoDB    = "mongodb"
	BackendHTTP       = "http"
)

// Backend is a server, or several that are the same, that is asked about clients.
type Backend struct {
	Type     string          `yaml:"type"`
	Servers  []string        `yaml:"servers"`  // backend.ParseServer takes each
	URL      string          `yaml:"url"`      // of BackendHTTP, in place of Servers; ServiceURL takes it
	Headers  []BackendHeader `yaml:"headers"`  // of BackendHTTP
	Database string          `yaml:"database"` // of Redis a number
	Username string          `yaml:"username"`
	Source   string          `yaml:"auth_source"` // of BackendMongoDB: the database that has the user
	Password Secret          `yaml:"password"`    // the zero Secret: none
	TLS      BackendTLS      `yaml:"tls"`
	Pool     int             `yaml:"pool"` // connections
	Timeout  Duration        `yaml:"timeout"`
	Queue    int             `yaml:"queue"`
	Breaker  BackendBreaker  `yaml:"breaker"`
}

// Whether what is said to a back end is encrypted.
const (
	BackendTLSRequired = "required"
	BackendTLSStart    = "starttls" // of BackendLDAP only: begins after a word in plain text
	BackendTLSOff      = "off"
)

// BackendTLS is how a back end proves who it is, and we to it.
type BackendTLS struct {
	Mode        string   `yaml:"mode"`        // BackendTLSRequired and its like
	CA          []string `yaml:"ca"`          // files; empty: the roots of the system
	ServerName  string   `yaml:"server_name"` // "": that of servers
	Certificate string   `yaml:"certificate"` // "": we show none
	Key         Secret   `yaml:"key"`
}

// BackendBreaker is when a back end that fails is left alone.
type BackendBreaker struct {
	Failures int      `yaml:"failures"`
	Open     Duration `yaml:"open"`
}

// BackendServers are those of Servers, in order.
func (b *Backend) BackendServers() (list []backend.Server) {
	if b.Type == BackendHTTP {
		if s, _, _, err := b.ServiceURL(); err == nil {
			list = append(list, s)
		}
		return list
	}
	for _, text := range b.Servers {
		if s, err := backend.ParseServer(text); err == nil { // check has judged it
			list = append(list, s)
		}
	}
	return list
}

// inTheClear is the first server that is spoken to over a network without TLS; "": none.
func (b *Backend) inTheClear() string {
	for _, s := range b.BackendServers() {
		if b.TLS.Mode == BackendTLSOff && !s.Local() {
			return s.Address
		}
	}
	return ""
}

// openBackends are back ends in plain text where others can hear and answer.
func openBackends(c *Config) (out []exposure) {
	for _, name := range sorted(c.Backends) {
		b := c.Backends[name]
		if text := b.inTheClear(); text != "" {
			out = append(out, exposure{id: "P4.5", scope: "backends." + name, key: "backends." + name + ".tls.mode", bind: BackendTLSOff,
				danger: "would let whoever is between here and " + text + " read password hashes and answer for the server", fix: "Set it to required"})
		}
	}
	return out
}

// checkBackends judges the back ends one by one.
func (l *loader) checkBackends(c *Config) {
	for _, name := range sorted(c.Backends) {
		b, key := c.Backends[name], "backends."+name
		if b.Type == "" && !l.problems.about(key+".type") {
			l.wrong(key, "", "has no type. A back end needs one: %s.", rowOf["backends.<name>.type"].Range())
			continue
		}
		l.checkService(&b, key)
		l.checkServers(&b, key)
		l.checkBackendLogin(&b, key)
		if b.Timeout >= c.Limits.ConnectDeadline && !l.problems.about(key+".timeout") {
			l.wrong(key+".timeout", b.Timeout.String(), "is not less than limits.connect_deadline (%v): the client would be gone before its answer. Shorten it.", c.Limits.ConnectDeadline)
		}
		t := &b.TLS
		switch {
		case t.Mode == BackendTLSStart && b.Type != BackendLDAP:
			l.wrong(key+".tls.mode", quote(t.Mode), "is for type ldap only. Write required.")
		case t.Mode == BackendTLSOff && (len(t.CA) > 0 || t.ServerName != "" || t.Certificate != "" || t.Key.Ref != ""):
			l.wrong(key+".tls", "", "has keys that have no effect while mode is off. Set it to required, or remove them.")
		case (t.Certificate == "") != (t.Key.Ref == ""):
			l.wrong(key+".tls", "", "has one of certificate and key. Write both, or none.")
		}
	}
}

func (l *loader) checkServers(b *Backend, key string) {
	at := key + ".servers"
	if l.problems.about(at) {
		return
	}
	if len(b.Servers) == 0 && b.Type != BackendHTTP {
		l.wrong(key, "", `has no servers. Write one, such as ["127.0.0.1:5432"].`)
	}
	for _, text := range b.Servers {
		if _, err := backend.ParseServer(text); err != nil {
			l.wrong(at, quote(text), "%v.", err)
		}
	}
}

func (l *loader) checkBackendLogin(b *Backend, key string) {
	sql, named := slices.Contains([]string{BackendPostgreSQL, BackendMySQL}, b.Type), slices.Contains([]string{BackendPostgreSQL, BackendMySQL, BackendMongoDB}, b.Type)
	switch at := key + ".database"; {
	case l.problems.about(at):
	case named && b.Database == "":
		l.wrong(key, "", "has no database. Write the name of the one to connect to.")
	case b.Type == BackendRedis && !shape(`^([0-9]{1,4})?$`).MatchString(b.Database):
		l.wrong(at, quote(b.Database), "is no number. Databases of Redis are numbers; the first is 0.")
	}
	if sql && b.Username == "" && !l.problems.about(key+".username") {
		l.wrong(key, "", "has no username. Write the user that may read the tables, and nothing else.")
	}
	if b.Type == BackendLDAP && b.Username != "" && b.Password.Ref == "" && !l.problems.about(key+".password") {
		l.wrong(key+".username", quote(b.Username), "has no password: a directory takes a login without one for nobody in particular. Write one, or remove the name.")
	}
	if b.Type == BackendLDAP && b.Database != "" {
		l.wrong(key+".database", quote(b.Database), "has no meaning for type ldap: the query says where to search. Remove it.")
	}
	if b.Type == BackendMongoDB && (b.Username == "") != (b.Password.Ref == "") && !l.problems.about(key+".username") && !l.problems.about(key+".password") {
		l.wrong(key, "", "has one of username and password. Write both, or none.")
	}
	if b.Source != "" && (b.Type != BackendMongoDB || b.Username == "") && !l.problems.about(key+".auth_source") {
		l.wrong(key+".auth_source", quote(b.Source), "has no meaning without a username of type mongodb. Remove it.")
	}
	if b.Type == BackendRedis && b.Username != "" && b.Password.Ref == "" && !l.problems.about(key+".password") {
		l.wrong(key+".username", quote(b.Username), "has no effect without a password.")
	}
}
