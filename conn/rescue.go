package conn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// What a peer's bytes set off is guarded wherever it runs: on a loop (Loop.guard), and on
// every other goroutine by what is here. A bug of ours then ends one connection, which
// gives its places back, and never the process. internal/lint demands it of every
// goroutine in these rooms.

// rescue runs do. After a bug in it, undo closes what do was about and gives its places
// back, as far as it gets; ok is false then.
func (s *Server) rescue(count *metrics.Shard, now time.Time, do, undo func()) (ok bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.caught(count, now, p)
		defer func() { _ = recover() }() // undo trips over it as well
		undo()
	}()
	do()
	return true
}

// guard is rescue on the goroutine of an engine.
func (s *Server) guard(do, undo func()) (ok bool) {
	return s.rescue(s.count, s.clock.Now(), do, undo)
}

// errFault ends a connection, or a handshake, that has set off a bug.
var errFault = errors.New("a bug was caught in what the connection has set off")

// survive is guard for what answers an error.
func survive[T any](s *Server, do func() (T, error)) (out T, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none T
			out, err = none, errFault
			s.caught(s.count, s.clock.Now(), p)
		}
	}()
	return do()
}

// guarded is conf with callbacks that end a handshake, and no more, if they trip: over
// QUIC crypto/tls calls them on a goroutine of its own. nil for nil.
func (s *Server) guarded(conf *tls.Config) *tls.Config {
	if conf == nil {
		return nil
	}
	_, _ = conf.DecryptTicket(nil, tls.ConnectionState{}) // so that all copies begin with the same keys
	out := conf.Clone()
	if f := conf.GetConfigForClient; f != nil {
		out.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return survive(s, func() (*tls.Config, error) {
				c, err := f(hello)
				return s.guarded(c), err
			})
		}
	}
	if f := conf.GetCertificate; f != nil {
		out.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return survive(s, func() (*tls.Certificate, error) { return f(hello) })
		}
	}
	if f := conf.VerifyPeerCertificate; f != nil {
		out.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			_, err := survive(s, func() (struct{}, error) { return struct{}{}, f(raw, chains) })
			return err
		}
	}
	if f := conf.VerifyConnection; f != nil {
		out.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := survive(s, func() (struct{}, error) { return struct{}{}, f(state) })
			return err
		}
	}
	return out
}
