package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a real one, over TLS, that keeps what it was asked.
type service struct {
	*httptest.Server
	mu     sync.Mutex // guards everything below
	asked  []*http.Request
	bodies []string
	conns  map[net.Conn]http.ConnState
	most   int // connections at once
	opened int
}

func serve(t *testing.T, handle http.HandlerFunc) *service {
	t.Helper()
	s := &service{conns: map[net.Conn]http.ConnState{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.asked, s.bodies = append(s.asked, r), append(s.bodies, string(body))
		s.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		handle(w, r)
	}))
	s.Config.ErrorLog = quietLog
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if state == http.StateNew {
			s.opened++
		}
		if s.conns[c] = state; state == http.StateClosed || state == http.StateHijacked {
			delete(s.conns, c)
		}
		s.most = max(s.most, len(s.conns))
	}
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// trusting judges the service by its own CA; its certificate is for example.com and loopback.
func (s *service) trusting(name string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}
}

func (s *service) options() Options {
	return optionsAt(s.Listener.Addr().String(), s.trusting(""))
}

func optionsAt(address string, conf *tls.Config) Options {
	to, err := backend.ParseServer(address)
	if err != nil {
		panic(err)
	}
	return Options{Server: to, Host: address, TLS: conf}
}

// open is a back end with its authenticator, that ends with the test.
func open(t *testing.T, opt Options, limits backend.Options, query string) (*backend.Backend, *lookup.Service) {
	t.Helper()
	call, err := lookup.HTTP(query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if limits.Timeout == 0 {
		limits.Timeout = 10 * time.Second
	}
	b := backend.New("svc", New(opt, clock.System{}), clock.System{}, limits)
	t.Cleanup(b.Close)
	return b, lookup.NewService(lookup.ServiceOptions{Name: "svc", Backend: b, Call: call}, clock.System{})
}

const judgeQuery = `POST /auth/${clientid} {"username": "${username}", "password": "${password}"}`

func login(a auth.Authenticator, user, password string, change ...func(*auth.Request)) auth.Result {
	req := &auth.Request{ClientID: "c1", Username: user, HasUsername: user != "", HasPassword: true, Password: secret.FromString(password), Addr: netip.MustParseAddr("192.0.2.1"), Version: 5}
	for _, fn := range change {
		fn(req)
	}
	got := make(chan auth.Result, 1)
	a.Authenticate(req, func(r auth.Result) { got <- r })
	return <-got
}

// judge is how a service of somebody's answers.
func judge(w http.ResponseWriter, r *http.Request) {
	var q struct{ Username, Password string }
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	answer := `{"result":"ignore"}`
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	switch {
	case q.Username == "ann" && q.Password == "right":
		answer = `{"result":"allow"}`
	case q.Username == "ann":
		answer = `{"result":"deny"}`
	}
	_, _ = io.WriteString(w, answer)
}

// ask is one question to a driver.
func ask(d *Driver, within time.Duration) ([]backend.Row, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return d.Ask(ctx, backend.Question{Text: "GET", Args: []string{"/x"}, RowsMax: 1})
}

// babbling answers whatever it is asked with these bytes, each time after a request's head,
// and then waits, or goes.
func babbling(t *testing.T, stay bool, say func(c net.Conn, turn int)) Options {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Add(1)
	var mu sync.Mutex // guards all
	var all []net.Conn
	go func() {
		defer wait.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			wait.Add(1)
			go func() {
				defer wait.Done()
				defer c.Close()
				buf := make([]byte, 4096)
				for turn := 0; ; turn++ {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if say(c, turn); !stay {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range all {
			_ = c.Close()
		}
		mu.Unlock()
		wait.Wait()
	})
	return optionsAt(l.Addr().String(), nil)
}
