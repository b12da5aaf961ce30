package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// entersQUIC connects over QUIC; nil: it is refused, or nobody listens.
func (n *servedNode) entersQUIC(address, id string, within time.Duration) *guest {
	n.t.Helper()
	ca, err := os.ReadFile(n.pki.CAPath())
	if err != nil {
		n.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ctx, cancel := context.WithTimeout(n.t.Context(), within)
	defer cancel()
	c, err := quic.DialAddr(ctx, address, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"mqtt"}}, nil)
	if refused := (*quic.TransportError)(nil); errors.As(err, &refused) && refused.ErrorCode == quic.ConnectionRefused || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.carriers = append(n.carriers, c)
	n.t.Cleanup(func() { _ = c.CloseWithError(0, "") })
	s, err := c.OpenStream()
	if err != nil {
		n.t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	return n.connects(s, id)
}

// Where QUIC and unix sockets listen is moved by a reload, there and back, and stopped and
// started, while clients are there: they stay, and the address they came by can be had again.
func TestListenersOfOtherKindsMoveWithTheirClients(t *testing.T) {
	dir := testkit.TempDir(t)
	var udp, path [2]string
	for i := range 2 {
		udp[i], path[i] = fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), filepath.Join(dir, fmt.Sprintf("%d.sock", i))
	}
	where := func(i int) string {
		return fmt.Sprintf("  udp: {protocol: quic, bind: [%q]}\n  local: {protocol: unix, bind: [%q]}\n", udp[i], path[i])
	}
	n := serveNode(t, where(0))
	var guests []*guest
	both := func(at, id string, i int) {
		t.Helper()
		q, u := n.entersQUIC(udp[i], "q"+id, 20*time.Second), n.enters("unix", path[i], "u"+id)
		if q == nil || u == nil {
			t.Fatalf("%s: nobody gets in: QUIC %v, unix %v\n%s", at, q != nil, u != nil, n.log)
		}
		guests = append(guests, q, u)
		for _, g := range guests {
			g.alive()
		}
		if _, err := os.Lstat(path[1-i]); !os.IsNotExist(err) {
			t.Errorf("%s: the socket file is left: %v", at, err)
		}
	}
	drains := func(at string, want ...string) {
		t.Helper()
		var got []string
		for _, d := range n.Status().Draining {
			got = append(got, d.Address)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v drain, want %v", at, got, want)
		}
	}
	both("at first", "0", 0)
	for i, to := range []int{1, 0, 1} {
		n.write(where(to))
		if _, err := n.Reload(t.Context()); err != nil {
			t.Fatalf("move %d: %v", i, err)
		}
		at := fmt.Sprintf("move %d", i)
		both(at, fmt.Sprint(i+1), to)
		drains(at, udp[1-to])
		if i == 0 && n.entersQUIC(udp[0], "late", time.Second) != nil {
			t.Error("somebody gets in where the listener was")
		}
	}
	for _, id := range []string{"udp", "local"} {
		n.stops(id, false)
	}
	drains("stopped", udp[0], udp[1])
	if n.entersQUIC(udp[1], "late", time.Second) != nil || n.enters("unix", path[1], "late") != nil {
		t.Error("somebody gets in at a listener that is stopped")
	}
	for _, g := range guests {
		g.alive()
	}
	for _, id := range []string{"udp", "local"} {
		if c, err := n.starts(id); err != nil || c.Listener.State != admin.ListenerRunning {
			t.Fatalf("%+v %v", c, err)
		}
	}
	both("started", "last", 1)
	for _, id := range []string{"udp", "local"} {
		n.stops(id, true)
	}
	for i, g := range guests {
		if b := g.packet(); b[0] != 0xE0 || b[2] != 0x98 {
			t.Errorf("guest %d: % x, want a DISCONNECT 0x98", i, b)
		}
	}
	guests = nil
	if c, err := n.starts("udp"); err != nil || c.Listener.State != admin.ListenerRunning {
		t.Fatalf("%+v %v", c, err)
	}
	if n.entersQUIC(udp[1], "after", 20*time.Second) == nil {
		t.Error("nobody gets in after a stop with all clients")
	}
	n.stops("udp", true)
	for _, c := range n.carriers {
		_ = c.CloseWithError(0, "")
	}
	// The sockets are gone with the last connection: the addresses are anybody's.
	for end := time.Now().Add(20 * time.Second); ; {
		var err error
		for _, a := range udp {
			s, e := net.ListenPacket("udp", a)
			if err = errors.Join(err, e); e == nil {
				_ = s.Close()
			}
		}
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	drains("at the end")
}
