package backend_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// The passwords of redoubt at the servers, and of clients in their tables.
const (
	ours        = "secret-1"
	annPassword = "ann's password"
	// annHash is SHA-256 of "salty" and that.
	annHash = "1db9b0a911db46346598748d420e1c543cb8a65845662845d21ff88ca78389d0"
)

// system is one kind of server. Every promise about back ends is tried on each.
type system struct {
	name  string
	start func(t *testing.T) string // its address; starts it if need be
	// driver speaks to servers with the password, over TLS unless that is nil.
	driver func(servers []backend.Server, password string, tls *tls.Config) backend.Driver
	users  func(t *testing.T) lookup.Query // of the table of accounts, by user name
	rules  func(t *testing.T) lookup.Query // of the table of rules, likewise
	// slow is a question whose answer takes longer than anybody waits; without a text
	// there is none.
	slow backend.Question
	// rotate gives redoubt another password at the server.
	rotate func(t *testing.T, password string)
	// garbage is what is no greeting of such a server.
	garbage [][]byte
}

var systems = []*system{postgresSystem, mariaSystem, redisSystem, ldapSystem, starttlsSystem, mongoSystem}

// each runs fn for every system.
func each(t *testing.T, fn func(t *testing.T, s *system)) {
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) { fn(t, s) })
	}
}

func (s *system) servers(t *testing.T, addresses ...string) (list []backend.Server) {
	t.Helper()
	if len(addresses) == 0 {
		addresses = []string{s.start(t)}
	}
	for _, a := range addresses {
		to, err := backend.ParseServer(a)
		if err != nil {
			t.Fatal(a, err)
		}
		list = append(list, to)
	}
	return list
}

// open is a back end of the system with its authenticator, that ends with the test.
func (s *system) open(t *testing.T, d backend.Driver, opt backend.Options) (*backend.Backend, *lookup.Authenticator) {
	t.Helper()
	b := backend.New("users-db", d, clock.System{}, opt)
	hashers := backend.NewPool(clock.System{}, backend.PoolOptions{Workers: 1, Queue: 100, Share: 100, Timeout: 10 * time.Second})
	t.Cleanup(func() { b.Close(); hashers.Close() })
	return b, lookup.New(lookup.Options{Name: "db", Backend: b, Query: s.users(t), Hash: hash.Spec{Algorithm: hash.SHA256}, Hashers: hashers,
		Cache: backend.CacheOptions{Entries: 100, Positive: time.Minute, Negative: 5 * time.Second}}, clock.System{})
}

func request(user, password string) *auth.Request {
	return &auth.Request{ClientID: "c1", Username: user, Listener: "mqtts", HasUsername: user != "", HasPassword: true,
		Password: secret.FromString(password), Addr: netip.MustParseAddr("192.0.2.1"), Version: 5}
}

func login(a auth.Authenticator, req *auth.Request) auth.Result {
	got := make(chan auth.Result, 1)
	a.Authenticate(req, func(r auth.Result) { got <- r })
	return <-got
}

func question(b *backend.Backend, q backend.Question) ([]backend.Row, error) {
	type answer struct {
		rows []backend.Row
		err  error
	}
	got := make(chan answer, 1)
	b.Ask(netip.MustParseAddr("192.0.2.1"), q, func(rows []backend.Row, err error) { got <- answer{rows, err} })
	a := <-got
	return a.rows, a.err
}

// Right, wrong, unknown, empty, and what is meant to be more than a name (A098, A123).
func TestLogins(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		_, a := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
		for range 2 { // asked, and remembered
			r := login(a, request("ann", annPassword))
			if r.Outcome != auth.Allow || r.Principal.Identity != "ann" || r.Principal.Username != "ann" || r.Principal.Claims.Superuser || r.Principal.Claims.Attrs["site"] != "hall 1" {
				t.Fatalf("right: %+v", r)
			}
			if r := login(a, request("root", annPassword)); r.Outcome != auth.Allow || !r.Principal.Claims.Superuser {
				t.Errorf("superuser: %+v", r)
			}
			if r := login(a, request("ann", "another")); r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword {
				t.Errorf("wrong: %+v", r)
			}
			if r := login(a, request("bob", annPassword)); r.Outcome != auth.Ignore {
				t.Errorf("unknown: %+v", r)
			}
		}
		if r := login(a, request("ann", "")); r.Outcome != auth.Deny {
			t.Errorf("empty: %+v", r)
		}
		none := request("ann", "")
		none.HasPassword = false
		if r := login(a, none); r.Outcome != auth.Deny {
			t.Errorf("none: %+v", r)
		}
		if r := login(a, request("", annPassword)); r.Outcome != auth.Ignore {
			t.Errorf("without a user name: %+v", r)
		}
		for _, name := range []string{"' or 1=1--", `" or ""="`, "ann'--", "ann';DROP TABLE mqtt_user;--", "*", "*)(uid=*", "ann\r\nHGETALL mqtt:user:root", "ann\x00", "\xff\xfe", "%", "ann\\", "${username}", "$1", "?", strings.Repeat("a", 65535)} {
			if r := login(a, request(name, annPassword)); r.Outcome == auth.Allow || r.Outcome == auth.Unavailable {
				t.Errorf("%.40q: %+v", name, r)
			}
		}
		if r := login(a, request("ann", annPassword)); r.Outcome != auth.Allow {
			t.Errorf("after all this: %+v", r)
		}
	})
}

// The rules of a client come in the order of their rows, and those of nobody are none.
func TestRules(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		if s.rules == nil {
			return
		}
		b, _ := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
		source := lookup.NewSource(lookup.SourceOptions{Name: "acl", Backend: b, Query: s.rules(t)}, clock.System{})
		load := func(name string) (own auth.Own, err error) {
			got := make(chan struct{})
			source.Load(&auth.Principal{Identity: name, Username: name}, func(o auth.Own, e error) { own, err = o, e; close(got) })
			<-got
			return own, err
		}
		own, err := load("ann")
		if err != nil || len(own.Rules) < 2 {
			t.Fatal(own, err)
		}
		text := ""
		for i := range own.Rules {
			text += own.Rules[i].Text + "\n"
		}
		if !strings.Contains(text, `allow: publish, topics: ["up/#"]`) || !strings.Contains(text, `allow: subscribe, topics: ["down/#"]`) {
			t.Error(text)
		}
		if s != redisSystem && text != "allow: publish, topics: [\"up/#\"], qos: [0, 1]\ndeny: all, topics: [\"down/secret\"]\nallow: subscribe, topics: [\"down/#\"]\n" {
			t.Error(text)
		}
		for _, name := range []string{"bob", "' or 1=1--"} {
			if own, err := load(name); err != nil || len(own.Rules) != 0 {
				t.Errorf("%q: %v %v", name, own, err)
			}
		}
		for _, name := range []string{"ann\x00", "\xff"} { // some refuse the value, to others it is a name
			if own, err := load(name); len(own.Rules) != 0 {
				t.Errorf("%q: %v %v", name, own, err)
			}
		}
	})
}

// What a database holds in words of its own is refused and named, not dropped.
func TestRowsThatAreNotUnderstood(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		if s == ldapSystem { // the directory judges itself
			return
		}
		_, a := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
		r := login(a, request("odd", annPassword))
		if r.Outcome != auth.Unavailable || !strings.Contains(r.Detail, "password_hash") {
			t.Errorf("%+v", r)
		}
	})
}

// The certificate has to be valid for the name, and of the CA; plain text is not a way out.
func TestTLSIsVerified(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		to := s.servers(t)
		for name, conf := range map[string]*tls.Config{"other name": trusting("other.test"), "address": trusting(""), "system roots": {ServerName: "db.test"}} {
			b, _ := s.open(t, s.driver(to, ours, conf), backend.Options{Timeout: 10 * time.Second})
			q := s.users(t).Question(&template.Values{Username: "ann"})
			q.RowsMax = 2
			if rows, err := question(b, q); backend.KindOf(err) != backend.Down || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("%s: %v %v", name, rows, err)
			}
		}
	})
}

// A password that has changed at the server is the next configuration's business; the old
// one is said to be wrong, without being shown.
func TestCredentialIsRotated(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		to := s.servers(t)
		s.rotate(t, "secret-2")
		t.Cleanup(func() { s.rotate(t, ours) })
		b, old := s.open(t, s.driver(to, ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
		r := login(old, request("ann", annPassword))
		if r.Outcome != auth.Unavailable || strings.Contains(r.Detail, ours) || b.Stats().Counts[backend.Down] != 1 {
			t.Errorf("the old one: %+v", r)
		}
		_, next := s.open(t, s.driver(to, "secret-2", trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
		if r := login(next, request("ann", annPassword)); r.Outcome != auth.Allow {
			t.Errorf("the new one: %+v", r)
		}
	})
}

// A slow answer is given up in time, and the server is of use afterwards.
func TestSlowAnswer(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		if s.slow.Text == "" {
			return
		}
		b, a := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 300 * time.Millisecond, Failures: 100})
		began := time.Now()
		if _, err := question(b, s.slow); backend.KindOf(err) != backend.Timeout {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("given up after %v", took)
		}
		var r auth.Result
		for range 5 { // the race detector makes handshakes slow
			if r = login(a, request("ann", annPassword)); r.Outcome == auth.Allow {
				return
			}
		}
		t.Errorf("afterwards: %+v", r)
	})
}

// Nobody at all, and somebody who says nothing: a storm gets its answers in time, from as
// many goroutines as before; the second server is asked when the first is down (A103).
func TestDownInAStorm(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		gone := at(freePort(t))
		for name, address := range map[string]string{"gone": gone, "stalled": stalled(t)} {
			b, a := s.open(t, s.driver(s.servers(t, address), ours, trusting("db.test")), backend.Options{Workers: 2, Queue: 50, Timeout: 200 * time.Millisecond, Failures: 2})
			before := runtime.NumGoroutine()
			var wait sync.WaitGroup
			var mu sync.Mutex // guards outcomes
			outcomes := map[string]int{}
			began := time.Now()
			most := 0
			for i := range 2000 {
				wait.Add(1)
				req := request(fmt.Sprint("u", i), "x")
				req.Addr = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
				a.Authenticate(req, func(r auth.Result) {
					mu.Lock()
					outcomes[r.Outcome.String()]++
					mu.Unlock()
					wait.Done()
				})
				most = max(most, runtime.NumGoroutine())
			}
			wait.Wait()
			if outcomes["unavailable"] != 2000 {
				t.Errorf("%s: %v", name, outcomes)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: the last answer after %v", name, took)
			}
			if most > before+40 { // a question whose time is over has one that hangs up
				t.Errorf("%s: %d goroutines more", name, most-before)
			}
			if n := strings.Count(b.Stats().Why, address); name == "gone" && n != 1 {
				t.Errorf("the address stands %d times in %q", n, b.Stats().Why)
			}
			if !b.Stats().Open {
				t.Errorf("%s: the breaker is closed: %+v", name, b.Stats())
			}
		}
		_, a := s.open(t, s.driver(s.servers(t, gone, s.start(t)), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
		if r := login(a, request("ann", annPassword)); r.Outcome != auth.Allow {
			t.Errorf("the second server: %+v", r)
		}
	})
}

// What is no such server is one that is down, whatever it says.
func TestGarbage(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		for _, text := range append(s.garbage, nil, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), []byte(strings.Repeat("\x00", 4096)), []byte(strings.Repeat("\xff", 4096))) {
			b, a := s.open(t, s.driver(s.servers(t, babbling(t, text)), ours, nil), backend.Options{Timeout: 400 * time.Millisecond})
			if r := login(a, request("ann", annPassword)); r.Outcome != auth.Unavailable {
				t.Errorf("%.20q: %+v", text, r)
			}
			if n := b.Stats().Counts[backend.Answered]; n != 0 {
				t.Errorf("%.20q is an answer", text)
			}
		}
	})
}

// A server that was stopped and is back is of use at once: connections that died while
// nobody used them are replaced.
func TestPing(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		d := s.driver(s.servers(t), ours, trusting("db.test"))
		defer d.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Ping(ctx); err != nil {
			t.Error(err)
		}
	})
}
