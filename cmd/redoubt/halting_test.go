package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// servedNode is a whole node in this process, without administration socket and pages.
type servedNode struct {
	*node
	t        *testing.T
	file     string // configuration
	log      *lockedText
	password string // of the user dev
	said     []string
	carriers []*quic.Conn // of clients
}

type lockedText struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveNode starts a node with these listeners.
func serveNode(t *testing.T, listeners string) *servedNode {
	t.Helper()
	dir := testkit.TempDir(t)
	n := &servedNode{t: t, file: filepath.Join(dir, "redoubt.yaml"), log: &lockedText{}}
	n.write(listeners)
	load := func() (*config.Loaded, error) {
		return config.Load(config.Options{File: n.file, DataDir: filepath.Join(dir, "data"), Now: time.Now()})
	}
	loaded, err := load()
	if err != nil {
		t.Fatal(err)
	}
	level := &slog.LevelVar{}
	if n.node, err = prepare(loaded, clock.System{}, slog.New(slog.NewTextHandler(n.log, nil)), level); err != nil {
		t.Fatal(err)
	}
	n.load = load
	if err := n.assemble(); err != nil {
		n.release()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n.close(ctx)
	})
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	u, err := admin.BuiltinUsers(n.users).Add(t.Context(), "dev", secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	n.password = string(u.Password.Reveal())
	return n
}

func (n *servedNode) write(listeners string) {
	if err := os.WriteFile(n.file, []byte("listeners:\n  mqtts: {bind: []}\n  wss: {bind: []}\n"+listeners), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// stops is a stop that has to succeed.
func (n *servedNode) stops(id string, disconnect bool) admin.ListenerChange {
	n.t.Helper()
	c, err := n.StopListener(n.t.Context(), id, admin.StopOptions{Disconnect: disconnect, By: "uid 7", Before: func(i admin.ListenerInfo) { n.said = append(n.said, "stop "+i.ID) }})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func (n *servedNode) starts(id string) (admin.ListenerChange, error) {
	return n.StartListener(n.t.Context(), id, admin.StartOptions{Before: func(i admin.ListenerInfo) { n.said = append(n.said, "start "+i.ID) }})
}

// guest is a client that is connected.
type guest struct {
	t   *testing.T
	out io.Writer
	in  *bufio.Reader
}

// enters connects at an address; nil: nobody listens there.
func (n *servedNode) enters(network, address, id string) *guest {
	n.t.Helper()
	nc, err := net.Dial(network, address)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return n.connects(nc, id)
}

// connects is the first packet, and its answer.
func (n *servedNode) connects(nc io.ReadWriter, id string) *guest {
	n.t.Helper()
	g := &guest{n.t, nc, bufio.NewReader(nc)}
	p := mqtt.Connect{Version: mqtt.V5, CleanStart: true, KeepAlive: 60, ClientID: id, HasUsername: true, Username: "dev", HasPassword: true, Password: []byte(n.password), ReceiveMaximum: 10}
	g.send(p.Append(nil, mqtt.V5, 0))
	if b := g.packet(); b[0] != 0x20 || b[3] != 0 {
		n.t.Fatalf("CONNACK % x", b)
	}
	return g
}

func (g *guest) send(b []byte) {
	g.t.Helper()
	if _, err := g.out.Write(b); err != nil {
		g.t.Fatal(err)
	}
}

// packet is the next one, of less than 128 bytes.
func (g *guest) packet() []byte {
	g.t.Helper()
	head, err := g.in.Peek(2)
	if err != nil {
		g.t.Fatal(err)
	}
	b := make([]byte, 2+int(head[1]))
	if _, err := io.ReadFull(g.in, b); err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g *guest) alive() {
	g.t.Helper()
	g.send([]byte{0xC0, 0})
	if b := g.packet(); b[0] != 0xD0 {
		g.t.Fatalf("% x, want a PINGRESP", b)
	}
}

// A stop closes the sockets and leaves who is there; a start opens them; each is said once,
// before it is so, and what is so already is not an error.
func TestAListenerIsStoppedAndStarted(t *testing.T) {
	dir := testkit.TempDir(t)
	plant, path := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), filepath.Join(dir, "mqtt.sock")
	n := serveNode(t, fmt.Sprintf("  plant: {protocol: mqtt, bind: [%q], limits: {connections: 50}, advertised: [\"broker.example.com:1883\"]}\n  local: {protocol: unix, bind: [%q]}\n", plant, path))
	for _, l := range []struct{ network, address, id, typed string }{{"tcp", plant, "plant", "tcp:plant"}, {"unix", path, "unix:local", "local"}} {
		old := n.enters(l.network, l.address, "old")
		if c := n.stops(l.id, false); !c.Changed || c.Listener.State != admin.ListenerStopped || c.Listener.Status.Running || len(c.Listener.Addresses) != 0 ||
			c.Listener.StoppedBy != "uid 7" || c.Listener.Status.CurrentConnections != 1 || c.Disconnected != 0 {
			t.Errorf("%+v", c)
		}
		if n.enters(l.network, l.address, "late") != nil {
			t.Errorf("%s: somebody gets in at a listener that is stopped", l.id)
		}
		old.alive()
		if c := n.stops(l.typed, false); c.Changed || !strings.Contains(c.Note, "it was stopped already, at ") || !strings.Contains(c.Note, " by uid 7") {
			t.Errorf("%+v", c)
		}
		c, err := n.starts(l.typed)
		if err != nil || !c.Changed || c.Listener.State != admin.ListenerRunning || len(c.Listener.Addresses) != 1 || c.Listener.StoppedAt != nil {
			t.Errorf("%+v %v", c, err)
		}
		if n.enters(l.network, l.address, "again") == nil {
			t.Errorf("%s: nobody gets in at a listener that was started\n%s", l.id, n.log)
		}
		if c, err = n.starts(l.id); err != nil || c.Changed || c.Note != "it was not stopped" {
			t.Errorf("%+v %v", c, err)
		}
		old.alive()
		if c, err = n.RestartListener(t.Context(), l.id, admin.StopOptions{By: "uid 7", Before: func(admin.ListenerInfo) {}}); err != nil || !c.Changed || c.Listener.State != admin.ListenerRunning {
			t.Errorf("%+v %v", c, err)
		}
		old.alive()
		if n.enters(l.network, l.address, "third") == nil {
			t.Errorf("%s: nobody gets in at a listener that was started again", l.id)
		}
	}
	if got := strings.Join(n.said, ", "); got != "stop mqtt:plant, start mqtt:plant, stop unix:local, start unix:local" {
		t.Errorf("said: %s", got)
	}
	i, err := n.Listener("plant")
	if err != nil || i.ID != "mqtt:plant" || i.Status.MaxConnections != 50 || i.Status.CurrentConnections != 3 || i.Accepted != 3 || i.Unauthenticated != 0 || i.Advertised[0] != "broker.example.com:1883" || i.Backlog == nil {
		t.Errorf("%+v %v", i, err)
	}
	for _, id := range []string{"mqtts:plant", "quic:plant", "nobody", "mqtts", "", ":", "plant:"} {
		var unknown *admin.ListenerError
		if _, err := n.Listener(id); !errors.As(err, &unknown) || !unknown.Unknown {
			t.Errorf("%q: %v", id, err)
		}
	}
	rec := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{`redoubt_listener_running{listener="plant"} 1`, `redoubt_listener_connections{listener="plant"} 3`, `redoubt_listener_connections_unauthenticated{listener="local"} 0`,
		`redoubt_listener_connections_accepted_total{listener="plant"} 3`, `redoubt_listener_connections_refused_total{listener="plant",reason="banned"} 0`, `redoubt_listener_handshakes_failed_total{listener="local"} 0`} {
		if !strings.Contains(rec.Body.String(), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// A stop with --disconnect ends the clients, with their wills, and the last listener leaves
// a broker that says that it is not ready.
func TestTheClientsOfAStoppedListenerAreDisconnected(t *testing.T) {
	first, second := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	n := serveNode(t, fmt.Sprintf("  one: {protocol: mqtt, bind: [%q]}\n  two: {protocol: mqtt, bind: [%q]}\n", first, second))
	stays := n.enters("tcp", second, "stays")
	half, err := net.Dial("tcp", first) // has said nothing yet
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	for round := range 3 { // and who comes after a start is not taken for one of those
		g := n.enters("tcp", first, "goes")
		if round == 1 { // first stopped, then the clients
			if c := n.stops("one", false); !c.Changed {
				t.Errorf("%+v", c)
			}
			g.alive()
		}
		c := n.stops("one", true)
		if c.Changed == (round == 1) || c.Disconnected < 1 {
			t.Errorf("%+v", c)
		}
		if b := g.packet(); b[0] != 0xE0 || mqtt.ReasonCode(b[2]) != mqtt.AdministrativeAction {
			t.Errorf("% x, want a DISCONNECT 0x98", b)
		}
		if c, err := n.starts("one"); err != nil || !c.Changed {
			t.Fatalf("%+v %v", c, err)
		}
	}
	_ = half.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := half.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who has said nothing is still there: %v", err)
	}
	stays.alive()
	n.stops("one", false)
	if why := n.notReady(); len(why) != 0 {
		t.Errorf("not ready: %q", why)
	}
	if c := n.stops("two", false); !strings.Contains(c.Note, "no listener is running now") {
		t.Errorf("%+v", c)
	}
	if why := n.notReady(); len(why) != 1 || !strings.Contains(why[0], "every listener was stopped") {
		t.Errorf("not ready: %q", why)
	}
	if c := n.stops("two", false); c.Changed || !strings.Contains(c.Note, "stopped already") {
		t.Errorf("%+v", c)
	}
	stays.alive()
	if r := n.Status(); len(r.Stopped) != 2 || r.Stopped[1].Connections != 1 || r.Stopped[1].By != "uid 7" || r.Status != "not_ready" || len(r.Listeners) != 0 {
		t.Errorf("%+v", r)
	}
	n.ready.Store(false)
	if _, err := n.starts("two"); err == nil || !strings.Contains(err.Error(), "does not serve clients yet") {
		t.Errorf("a listener is opened before the sessions are there: %v", err)
	}
	if n.listenBacklog() != -1 {
		t.Error("a backlog, and no socket")
	}
}

// A listener that is stopped stays so over reloads, which say that a new address waits, and
// one that a reload removes is forgotten. An address that is taken is said with who has it,
// and opens none of the others.
func TestAReloadLeavesAStoppedListenerAlone(t *testing.T) {
	var at [4]string
	for i := range at {
		at[i] = fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	}
	plant := func(bind ...string) string {
		return fmt.Sprintf("  plant: {protocol: mqtt, bind: [\"%s\"]}\n  other: {protocol: mqtt, bind: [%q]}\n", strings.Join(bind, `", "`), at[3])
	}
	n := serveNode(t, plant(at[0]))
	reloads := func(listeners string) []string {
		t.Helper()
		n.write(listeners)
		r, err := n.Reload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r.Changed
	}
	open := func(address string) bool {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}
	old := n.enters("tcp", at[0], "old")
	n.stops("plant", false)
	for range 2 {
		for _, line := range reloads(plant(at[0])) {
			if strings.Contains(line, "plant") {
				t.Errorf("said: %s", line)
			}
		}
		if open(at[0]) {
			t.Fatal("a reload has opened a listener that was stopped")
		}
	}
	if got := strings.Join(reloads(plant(at[1], at[2])), "\n"); !strings.Contains(got, "listeners.plant is stopped, and listens there when it is started (redoubt listeners start plant)") {
		t.Errorf("it is not said that it stays stopped:\n%s", got)
	}
	n.followInterfaces(t.Context())
	if open(at[1]) || open(at[2]) || open(at[0]) {
		t.Fatal("a reload has opened a listener that was stopped")
	}
	// Somebody else has the second address: neither is opened.
	held, err := net.Listen("tcp", at[2])
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.starts("plant")
	var taken *admin.ListenerError
	if !errors.As(err, &taken) || taken.Unknown || !strings.Contains(err.Error(), "listeners.plant.bind: cannot listen on "+at[2]) || !strings.Contains(err.Error(), "another process may have it (ss -lntup says which). It is stopped") {
		t.Errorf("%v", err)
	}
	if open(at[1]) || len(n.said) != 1 {
		t.Errorf("one of two addresses is open, or it was said: %q", n.said)
	}
	_ = held.Close()
	// One of ours has it.
	if _, err := n.Listener("plant"); err != nil {
		t.Fatal(err)
	}
	reloads(fmt.Sprintf("  plant: {protocol: mqtt, bind: [%q]}\n  other: {protocol: mqtt, bind: [%q]}\n", at[1], at[3]))
	reloads(fmt.Sprintf("  plant: {protocol: mqtt, bind: [%q]}\n  other: {protocol: mqtt, bind: [%q, %q]}\n", at[1], at[3], at[2]))
	reloads(plant(at[1]))
	if c, err := n.starts("plant"); err != nil || len(c.Listener.Addresses) != 1 || c.Listener.Addresses[0] != at[1] {
		t.Errorf("%+v %v", c, err)
	}
	if open(at[0]) || !open(at[1]) {
		t.Error("it listens elsewhere than the configuration has it now")
	}
	old.alive()
	// Removed while it is stopped: its clients go, and it comes back running.
	n.stops("plant", false)
	reloads(fmt.Sprintf("  other: {protocol: mqtt, bind: [%q]}\n", at[3]))
	if b := old.packet(); b[0] != 0xE0 || mqtt.ReasonCode(b[2]) != mqtt.AdministrativeAction {
		t.Errorf("% x, want a DISCONNECT 0x98", b)
	}
	if _, err := n.starts("plant"); !errors.As(err, &taken) || !taken.Unknown || !strings.Contains(err.Error(), `there is no listener "plant"; there is mqtt:other`) {
		t.Errorf("%v", err)
	}
	reloads(plant(at[0]))
	if i, err := n.Listener("plant"); err != nil || i.State != admin.ListenerRunning || !open(at[0]) {
		t.Errorf("%+v %v", i, err)
	}
}

// A restart that cannot have an address leaves the listener stopped, and says so, and who
// has it if that is one of ours.
func TestARestartThatFailsLeavesItStopped(t *testing.T) {
	first, second := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	n := serveNode(t, fmt.Sprintf("  one: {protocol: mqtt, bind: [%q]}\n  two: {protocol: mqtt, bind: [%q]}\n", first, second))
	old := n.enters("tcp", first, "old")
	c := n.loaded.Load().Config
	ln := c.Listeners["one"]
	ln.Bind = []string{second} // which no configuration would have
	c.Listeners["one"] = ln
	_, err := n.RestartListener(t.Context(), "one", admin.StopOptions{By: "uid 7", Before: func(admin.ListenerInfo) {}})
	if err == nil || !strings.Contains(err.Error(), "cannot listen on "+second) || !strings.Contains(err.Error(), "listeners.two has it. It is stopped") {
		t.Errorf("%v", err)
	}
	if i, err := n.Listener("one"); err != nil || i.State != admin.ListenerStopped {
		t.Errorf("%+v %v", i, err)
	}
	old.alive()
}
