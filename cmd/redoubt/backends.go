package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/ldap"
	"github.com/redoubtmq/redoubt/backend/mongodb"
	"github.com/redoubtmq/redoubt/backend/mysql"
	"github.com/redoubtmq/redoubt/backend/postgresql"
	"github.com/redoubtmq/redoubt/backend/redis"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/metrics"
)

// askable are the back ends that clients are looked up in.
type askable struct {
	// Changed in one's turn.
	next    map[string]*askedServer // of the configuration that is being prepared
	made    uint64                  // back ends so far
	hashers *backend.Pool           // of all lookups; nil: none yet

	replaced sync.WaitGroup // by a reload; they answer what they were asked

	mu    sync.Mutex // guards force
	force map[string]*askedServer
}

// askedServer is a back end and all that it was made from: while that is the same it stays, with
// its connections and what its breaker knows.
type askedServer struct {
	*backend.Backend
	conf   config.Backend
	files  [sha256.Size]byte // of certificates
	number uint64            // of those that were made
}

// inForce are the back ends by name; nobody changes the map.
func (a *askable) inForce() map[string]*askedServer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.force
}

// prepareBackends makes the back ends of c that are not in force already. Nobody connects yet.
func (n *node) prepareBackends(c *config.Config) (err error) {
	a := &n.askable
	a.next = make(map[string]*askedServer, len(c.Backends))
	defer func() {
		if err != nil {
			n.undoBackends()
		}
	}()
	if a.hashers == nil && len(c.Backends) > 0 {
		workers := hashers(*n.memory.Load())
		a.hashers = backend.NewPool(n.clock, backend.PoolOptions{Workers: workers, Queue: 256, Share: 64, Timeout: c.Limits.ConnectDeadline.Std(), Caught: n.caught})
	}
	force := a.inForce()
	for name, conf := range c.Backends {
		secured, files, err := backendTLS(&conf)
		if err != nil {
			return fmt.Errorf("backends.%s.tls.%w", name, err)
		}
		if old := force[name]; old != nil && old.files == files && reflect.DeepEqual(old.conf, conf) {
			a.next[name] = old
			continue
		}
		a.made++
		a.next[name] = &askedServer{n.openBackend(name, conf, secured), conf, files, a.made}
	}
	return nil
}

// openBackend makes one.
func (n *node) openBackend(name string, c config.Backend, secured *tls.Config) *backend.Backend {
	var d backend.Driver
	down := &downAlarm{n: n, name: name}
	servers, timeout := c.BackendServers(), c.Timeout.Std()
	switch c.Type {
	case config.BackendPostgreSQL:
		d = postgresql.New(postgresql.Options{Servers: servers, Database: c.Database, Username: c.Username, Password: passwordLine(c.Password), TLS: secured, Timeout: timeout}, n.clock)
	case config.BackendMySQL:
		d = mysql.New(mysql.Options{Servers: servers, Database: c.Database, Username: c.Username, Password: passwordLine(c.Password), TLS: secured, Connections: c.Pool, Timeout: timeout}, n.clock)
	case config.BackendRedis:
		db, _ := strconv.Atoi(c.Database) // the configuration has judged it
		d = redis.New(redis.Options{Servers: servers, Database: db, Username: c.Username, Password: passwordLine(c.Password), TLS: secured}, n.clock)
	case config.BackendLDAP:
		d = ldap.New(ldap.Options{Servers: servers, Username: c.Username, Password: passwordLine(c.Password), TLS: secured, StartTLS: c.TLS.Mode == config.BackendTLSStart}, n.clock)
	case config.BackendMongoDB:
		d = mongodb.New(mongodb.Options{Servers: servers, Database: c.Database, Username: c.Username, Source: cmp.Or(c.Source, "admin"), Password: passwordLine(c.Password), TLS: secured}, n.clock)
	case config.BackendHTTP:
		d = n.openService(&c, secured, down.ofDriver)
	default:
		panic("BUG: a back end of type " + c.Type)
	}
	return backend.New(name, d, n.clock, backend.Options{
		Workers: c.Pool, Queue: c.Queue, Timeout: timeout, Failures: c.Breaker.Failures, OpenFor: c.Breaker.Open.Std(), Caught: n.caught,
		Changed: down.ofBreaker,
	})
}

// passwordLine is the password in a file, which mostly ends with a line break that nobody
// means.
func passwordLine(s config.Secret) secret.Value {
	return secret.New(bytes.TrimRight(s.Value.Reveal(), "\r\n"))
}

// certificateBytesMax bounds each file of certificates.
const certificateBytesMax = 1 << 20

// backendTLS is how a server has to prove who it is; nil: not at all. files tells whether
// what was read is the same as before.
func backendTLS(c *config.Backend) (conf *tls.Config, files [sha256.Size]byte, err error) {
	if c.TLS.Mode == config.BackendTLSOff {
		return nil, files, nil
	}
	sum := sha256.New()
	conf = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	for _, path := range c.TLS.CA {
		pem, err := readCertificates(path)
		if err != nil {
			return nil, files, fmt.Errorf("ca: %w", err)
		}
		if conf.RootCAs == nil {
			conf.RootCAs = x509.NewCertPool()
		}
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, files, fmt.Errorf("ca: %s has no certificate in PEM", path)
		}
		sum.Write(pem)
	}
	if c.TLS.Certificate != "" {
		pem, err := readCertificates(c.TLS.Certificate)
		if err != nil {
			return nil, files, fmt.Errorf("certificate: %w", err)
		}
		pair, err := tls.X509KeyPair(pem, c.TLS.Key.Value.Reveal())
		if err != nil {
			return nil, files, fmt.Errorf("certificate: %s and %s: %w", c.TLS.Certificate, c.TLS.Key.Ref, err)
		}
		conf.Certificates = []tls.Certificate{pair}
		sum.Write(pem)
	}
	sum.Sum(files[:0])
	return conf, files, nil
}

func readCertificates(path string) ([]byte, error) {
	return safefile.Read(path, certificateBytesMax)
}

// undoBackends closes what was prepared and is not in force.
func (n *node) undoBackends() {
	force := n.askable.inForce()
	for name, s := range n.askable.next {
		if force[name] != s {
			s.Close()
		}
	}
	n.askable.next = nil
}

// enterBackends puts what was prepared in force, and answers what ends those that were: each
// has the time of one question to answer what it was asked.
func (n *node) enterBackends() (leave func()) {
	a := &n.askable
	a.mu.Lock()
	old := a.force
	a.force, a.next = a.next, nil
	a.mu.Unlock()
	return func() {
		var names []string
		for name, s := range old {
			if a.inForce()[name] == s {
				names = append(names, name)
				continue
			}
			a.replaced.Add(1)
			go func() {
				defer a.replaced.Done()
				s.Drain()
			}()
		}
		n.alarms.Keep(n.clock.Now(), alarm.BackendDown, names...)
	}
}

// closeBackends ends all.
func (n *node) closeBackends() {
	for _, s := range n.askable.inForce() {
		s.Close()
	}
	n.askable.replaced.Wait()
	if n.askable.hashers != nil {
		n.askable.hashers.Close()
	}
}

// lookupConf is what an authenticator that asks a back end is made from.
type lookupConf struct {
	config.Lookup
	at uint64 // number of the back end
}

// lookupOf answers the section of such an authenticator, and how it is made.
func (n *node) lookupOf(c *config.Config, name string) (conf any, make func() (*asked, error), err error) {
	section := c.Authn.Lookup[name]
	at := n.askable.next[section.Backend]
	if at == nil {
		return nil, nil, fmt.Errorf("authn.lookup.%s: there is no back end %s", name, section.Backend)
	}
	query, err := config.LookupQuery(at.conf.Type, section.Query, section.Method == config.LookupBinds)
	if err != nil {
		return nil, nil, fmt.Errorf("authn.lookup.%s.query: %w", name, err)
	}
	opt := lookup.Options{
		Name: name, Backend: at.Backend, Query: query, Hash: section.Hash.Spec(), Hashers: n.askable.hashers,
		Cache: backend.CacheOptions{Entries: section.Cache.Entries, Positive: section.Cache.Positive.Std(), Negative: section.Cache.Negative.Std()},
	}
	section.When = "" // is the chain's
	return lookupConf{section, at.number}, func() (*asked, error) {
		return &asked{Authenticator: lookup.New(opt, n.clock)}, nil
	}, nil
}

// reportBackends gives the series of back ends to the registry.
func (n *node) reportBackends() {
	each := func(v metrics.Vector, fn func(name string, s *backend.Stats, set func(value int64, labels ...string))) {
		n.metrics.GaugeVector(v, func(set func(value int64, labels ...string)) {
			for name, b := range n.askable.inForce() {
				s := b.Stats()
				fn(name, &s, set)
			}
		})
	}
	each(metrics.BackendQuestions, func(name string, s *backend.Stats, set func(int64, ...string)) {
		for kind, count := range s.Counts {
			set(int64(count), name, backend.KindNames[kind])
		}
	})
	each(metrics.BackendTook, func(name string, s *backend.Stats, set func(int64, ...string)) {
		for i, count := range s.Took {
			le := "+Inf"
			if i < len(backend.TookBounds) {
				le = strconv.FormatFloat(backend.TookBounds[i].Seconds(), 'g', -1, 64)
			}
			set(int64(count), name, le)
		}
	})
	each(metrics.BackendWaiting, func(name string, s *backend.Stats, set func(int64, ...string)) { set(int64(s.Waiting), name) })
	each(metrics.BackendAsking, func(name string, s *backend.Stats, set func(int64, ...string)) { set(int64(s.Asking), name) })
	each(metrics.BackendBreakerOpen, func(name string, s *backend.Stats, set func(int64, ...string)) {
		open := int64(0)
		if s.Open {
			open = 1
		}
		set(open, name)
	})
}

// backendStatus is a line for each back end.
func (n *node) backendStatus() (list []admin.BackendStatus) {
	force := n.askable.inForce()
	for _, name := range sortedKeys(force) {
		s := force[name].Stats()
		b := admin.BackendStatus{Name: name, Type: force[name].conf.Type, Servers: force[name].conf.Servers, State: "closed", Waiting: s.Waiting, Asking: s.Asking, Answered: int64(s.Counts[backend.Answered])}
		if b.Type == config.BackendHTTP {
			b.Servers = []string{force[name].conf.URL}
		}
		if s.Open {
			b.State, b.Why = "open", s.Why
		}
		for kind, count := range s.Counts[backend.Down:] {
			if backend.Kind(kind)+backend.Down != backend.Rejected {
				b.Failed += int64(count)
			}
		}
		list = append(list, b)
	}
	return list
}
