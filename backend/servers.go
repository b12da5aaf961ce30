package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// Server is where to connect.
type Server struct {
	Network string // tcp or unix
	Address string // host:port, or a path
	Host    string // of tcp
	Port    uint16
}

// String is what ParseServer reads.
func (s Server) String() string { return s.Address }

// ParseServer reads host:port, or the path of a unix socket. The error is the rest of a
// sentence that begins with the text.
func ParseServer(text string) (s Server, err error) {
	if strings.HasPrefix(text, "/") {
		return Server{Network: "unix", Address: text}, nil
	}
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, " /@%") {
		return s, errors.New("is no server. Write host:port, such as db.example.com:5432 or [2001:db8::1]:5432, or the path of a socket")
	}
	return Server{Network: "tcp", Address: text, Host: host, Port: uint16(n)}, nil
}

// Local tells whether what is said to the server stays on this host: a socket, or an
// address of loopback. A name may lead anywhere, but for localhost.
func (s Server) Local() bool {
	a, err := netip.ParseAddr(s.Host)
	return s.Network == "unix" || s.Host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// TLS is base for this server: its certificate has to be valid for the name that the
// configuration says, or else for the one that is connected to. nil stays nil.
func (s Server) TLS(base *tls.Config) *tls.Config {
	if base == nil {
		return nil
	}
	c := base.Clone()
	if c.ServerName == "" {
		c.ServerName = s.Host
	}
	return c
}

// Servers are several of which one is enough. The one that answered last is tried first.
type Servers struct {
	list  []Server
	clock clock.Clock
	good  atomic.Int64
}

// NewServers has at least one.
func NewServers(list []Server, clk clock.Clock) *Servers { return &Servers{list: list, clock: clk} }

// dialling drops from the error of a dial the address, which libraries say once or twice more.
func dialling(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Err != nil {
		return op.Err
	}
	return err
}

// Connect calls try with one after the other until it answers nil; each has its part of
// the time that is left. The error names all.
func (s *Servers) Connect(ctx context.Context, try func(ctx context.Context, to Server) error) error {
	from := int(s.good.Load())
	var failed []string
	for i := range s.list {
		at := (from + i) % len(s.list)
		within, cancel := ctx, context.CancelFunc(func() {})
		if end, ok := ctx.Deadline(); ok && i < len(s.list)-1 {
			within, cancel = context.WithTimeout(ctx, end.Sub(s.clock.Now())/time.Duration(len(s.list)-i))
		}
		err := try(within, s.list[at])
		cancel()
		if err == nil {
			s.good.Store(int64(at))
			return nil
		}
		failed = append(failed, fmt.Sprintf("%s: %v", s.list[at], dialling(err)))
		if ctx.Err() != nil {
			break
		}
	}
	return Failed(Down, "%s", strings.Join(failed, "; "))
}
