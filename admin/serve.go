package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// timeouts of an HTTP server of ours. Both ends are on one machine, so that
// nothing honest comes near them.
type timeouts struct {
	header   time.Duration // to read the request line and headers
	request  time.Duration // to read all of a request
	answer   time.Duration // to work on and write an answer
	idle     time.Duration // between requests
	graceful time.Duration // for requests under way when the server ends
}

var defaultTimeouts = timeouts{header: 5 * time.Second, request: 10 * time.Second, answer: 30 * time.Second, idle: 30 * time.Second, graceful: 2 * time.Second}

const (
	// headerBytesMax bounds a request's line and headers, and apiHeaderBytesMax those
	// on the administration socket, where a path or a cursor may hold a topic name of
	// 65,535 bytes, each of them as three characters.
	headerBytesMax    = 16 << 10
	apiHeaderBytesMax = 256 << 10
	// connectionsMax bounds connections to one server; more wait in the kernel.
	connectionsMax = 64
)

// Server is the administration API.
type Server struct {
	guard  *guard
	api    huma.API
	log    *slog.Logger
	times  timeouts
	probes *Probes // nil: none
}

// New builds the API; Serve runs it.
func New(o Options) *Server {
	o.check()
	mux, api := newAPI(&o)
	g := newGuard(mux, o.Log, o.Clock, os.Geteuid())
	g.probes = o.Probes
	return &Server{guard: g, api: api, log: o.Log, times: defaultTimeouts, probes: o.Probes}
}

// Serve answers on ln, which must be a unix socket, until ctx is done; then it
// lets requests under way finish for two seconds. It owns ln, returns once no
// request is worked on any more, and answers nil for an end that ctx asked for.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := newHTTPServer(s.guard, s.log, s.times)
	srv.ConnContext = withPeer(s.log)
	srv.MaxHeaderBytes = apiHeaderBytesMax
	if s.probes != nil {
		var attended sync.WaitGroup
		attended.Add(1)
		until, cancel := context.WithCancel(ctx)
		go func() {
			defer attended.Done()
			s.probes.attend(until)
		}()
		defer attended.Wait()
		defer cancel()
	}
	return serve(ctx, srv, ln, s.times.graceful)
}

func newHTTPServer(h http.Handler, log *slog.Logger, t timeouts) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.request,
		WriteTimeout:      t.answer,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    headerBytesMax,
		// "OPTIONS *" goes through the handler like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what callers do wrong, mostly
	}
}

// serve runs srv until ctx is done or it fails. No handler runs once it returns.
func serve(ctx context.Context, srv *http.Server, ln net.Listener, graceful time.Duration) error {
	// Requests outlive ctx by the grace period and no longer.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv.BaseContext = func(net.Listener) context.Context { return base }
	g := &gate{next: srv.Handler, empty: make(chan struct{})}
	srv.Handler = g
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(limitConns(ln, connectionsMax)) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		until, stop := context.WithTimeout(base, graceful)
		_ = srv.Shutdown(until) // an error says that somebody is slow: Close is next
		stop()
		if err = <-ended; errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
	}
	_ = srv.Close()
	cancel()
	g.shut()
	return err
}

// gate counts the requests in its handler, so that their end can be waited for.
// http.Server.Close does not wait.
type gate struct {
	next  http.Handler
	empty chan struct{} // closed when nobody is inside and nobody may enter

	mu     sync.Mutex // guards all below
	inside int
	closed bool
}

// ServeHTTP implements http.Handler. A request that comes after the end is
// dropped: its connection is closed already.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.inside++
	g.mu.Unlock()
	defer g.leave()
	g.next.ServeHTTP(w, r)
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// shut lets nobody in any more and waits until all have left.
func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
}

// limitConns lets at most n connections of ln be open at once.
func limitConns(ln net.Listener, n int) net.Listener {
	return &limitedListener{Listener: ln, tokens: make(chan struct{}, n), closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	tokens chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.tokens <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.tokens
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.tokens })}, nil
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
