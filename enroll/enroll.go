// Package enroll gives devices their certificates over HTTPS: the first one to who has a
// one-time token or a claim certificate, the next one to who shows the one before. It speaks
// the part of EST that this takes and nothing else: every other request is answered 404 with
// nothing in it. Who may come in is listener's business, keys and records are those of pki;
// what is worth a certificate is decided here.
//
// Rules: RFC 7030 §4.1 and §4.2 with RFC 8951 §3.1; checklist rows P3.4 and P3.5.
package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// ALPN is the one protocol of the port. A client of MQTT that was sent here finds no common
// one.
const ALPN = "http/1.1"

const (
	// GuestsMax bounds connections to the port; one more evicts one of the source that has the
	// most. An enrolment takes a fraction of a second.
	GuestsMax = 256
	// bodyBytesMax bounds a request's body: a signing request of pki.RequestBytesMax in base64.
	bodyBytesMax = 96 << 10
	// headerBytesMax bounds the request line and headers; a token and a name are 200 bytes.
	headerBytesMax = 8 << 10
	// signWait is how long one request waits for those before it.
	signWait = 3 * time.Second
	// answerMin is what must be left of a connection's time when something is issued: what is
	// issued is to reach the device.
	answerMin = time.Second
	// graceful is how long requests under way have when the broker ends.
	graceful = 2 * time.Second
)

// Claim is who gets a certificate by a claim certificate.
type Claim struct {
	Clients *pki.Clients   // judges claim certificates: CAs, usage, revocation
	Names   *regexp.Regexp // of the devices; must match from beginning to end
	PerDay  int            // certificates for one claim certificate
}

// Policy is what a reload may change. It is a value: a reload makes another one.
type Policy struct {
	Life   time.Duration // of what is issued
	Claims []Claim
	Denied *revoke.Denied // certificates that get nothing, devices' and claims'; nil: none
}

// Options are what a Server needs; everything is required but Extra.
type Options struct {
	Devices *pki.Devices
	Known   *pki.Clients        // judges certificates of devices
	Extra   []*x509.Certificate // told beside the CA of devices: by which the broker is known
	Door    *listener.Door
	TLS     *tls.Config // as pki.ServerTLS makes it; the Server owns it
	Clock   clock.Clock
	Audit   *audit.Log
	Log     *slog.Logger
	Count   *metrics.Shard
}

// Server is the port.
type Server struct {
	o        Options
	policy   atomic.Pointer[Policy]
	throttle throttle
	again    again
	guests   guests
	turn     chan struct{} // holds a token: one certificate is issued at a time

	mu sync.RWMutex // guards that nobody is served any more: held by each request for reading, and for writing from the end on
}

// New makes a server; Serve runs it.
func New(o Options, p Policy) *Server {
	s := &Server{o: o, turn: make(chan struct{}, 1)}
	s.guests.init(&s.o)
	s.policy.Store(&p)
	t := o.TLS
	t.NextProtos = []string{ALPN}
	// A resumed session would bring a certificate that was judged before; nobody comes here
	// often enough to miss it.
	t.SessionTicketsDisabled = true
	t.ClientAuth = tls.RequestClientCert // judged where it counts, with words for the log
	return s
}

// Apply puts a policy in force for requests that come from then on.
func (s *Server) Apply(p Policy) { s.policy.Store(&p) }

// Policy is the one in force.
func (s *Server) Policy() Policy { return *s.policy.Load() }

// Deny changes who is denied in the policy, and nothing else of it. Whoever calls it and
// Apply does so one after the other.
func (s *Server) Deny(d *revoke.Denied) {
	p := *s.policy.Load()
	p.Denied = d
	s.policy.Store(&p)
}

// Serve answers on the sockets until ctx is done; then requests under way have two seconds.
// It owns the sockets, and answers nil for an end that ctx asked for.
func (s *Server) Serve(ctx context.Context, sockets []net.Listener) error {
	srv := s.http()
	var wait sync.WaitGroup
	failed := make(chan error, len(sockets))
	for _, l := range sockets {
		wait.Add(1)
		go func() {
			defer wait.Done()
			failed <- srv.Serve(&gate{Listener: l, s: s})
		}()
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	until, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceful)
	_ = srv.Shutdown(until) // an error says that somebody is slow: Close is next
	cancel()
	_ = srv.Close()
	wait.Wait()
	_ = srv.Close() // whoever was between the two
	s.mu.Lock()     // what is being issued is whole; nothing more begins
	s.guests.inside.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func (s *Server) http() *http.Server {
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 5 * time.Second, // the end of a connection is absolute, too: see guest
		MaxHeaderBytes:    headerBytesMax,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
		Protocols:         new(http.Protocols),
		ConnContext:       withGuest,
		ConnState:         settle,
		// "OPTIONS *" goes through the handler like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug), // what callers do wrong
	}
	srv.Protocols.SetHTTP1(true)
	srv.SetKeepAlivesEnabled(false) // one request, one connection, one deadline
	return srv
}
