package harden

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/config"
)

// reach judges P1.4 on real sockets, with settings of the kernel that a test makes.
func (f *fake) reach(change func(e *Env)) *Row {
	f.t.Helper()
	e := f.alone(f.env())
	f.setLocalnet(e, "lo", "0")
	f.setLocalnet(e, "all", "0")
	e.Host = newMachine(f.t)
	if change != nil {
		change(e)
	}
	return &examine(f.t, e, "P1.4").Rows[0]
}

func (f *fake) setLocalnet(e *Env, name, value string) {
	f.t.Helper()
	dir := filepath.Join(e.Proc, "sys/net/ipv4/conf", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "route_localnet"), []byte(value+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// The default broker: TLS everywhere, the rest on loopback. That much is settled
// without an outsider.
func TestOnlyTLSIsReachable(t *testing.T) {
	t.Parallel()
	f := newFake(t, flaws{})
	f.listen("mqtts", "mqtts", ":0")
	f.listen("wss", "wss", "[::1]:0")
	metrics := f.listen("", "metrics", "127.0.0.1:0")
	row := f.reach(func(e *Env) { e.Config.Metrics.Bind = []string{metrics.String()} })
	if row.State() != Pass || len(row.Results) != 4 || row.Confidence() != Kernel {
		t.Errorf("%s by %s: %+v", row.State(), row.Confidence(), row.Results)
	}
	fixture("P1.4", "the default", Pass)
	for _, r := range row.Results {
		for _, o := range r.Observations {
			if o.State != Pass && o.State != NotApplicable {
				t.Errorf("%s: %+v", r.Scope, o)
			}
		}
	}
}

func TestWhatIsReachableIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		open  func(f *fake)
		env   func(f *fake, e *Env)
		state State
		want  string
		key   string
	}{
		"plain text everywhere":           {open: func(f *fake) { f.listen("plain", "mqtt", "0.0.0.0:0") }, state: Fail, want: "[::]:", key: "listeners.plain"},
		"plain text, the other family":    {open: func(f *fake) { f.listen("plain", "mqtt", "[::]:0") }, state: Fail, want: "[::]:", key: "listeners.plain"},
		"plain text over WebSocket":       {open: func(f *fake) { f.listen("web", "ws", ":0") }, state: Fail, want: "[::]:", key: "listeners.web"},
		"nobody configured it":            {open: func(f *fake) { f.listen("", "mqtts", "127.0.0.1:0") }, state: Fail, want: "nobody configured it"},
		"nobody configured it, over IPv6": {open: func(f *fake) { f.listen("", "mqtts", "[::1]:0") }, state: Fail, want: "nobody configured it"},
		"nobody configured it, over UDP":  {open: (*fake).listenUDP, state: Fail, want: "udp:127.0.0.1"},
		"QUIC that is a listener's": {open: func(f *fake) {
			f.listenUDP()
			f.listeners[1].Protocol, f.listeners[1].Name = "quic", "quic"
		}, state: Pass, want: "only TLS is answered"},
		"TCP in place of QUIC": {open: func(f *fake) {
			f.listen("quic", "mqtt", "127.0.0.1:0")
			f.listeners[1].Protocol = "quic"
		}, state: Fail, want: "nobody configured it"},
		"it says TLS and answers plain text": {open: func(f *fake) {
			f.listen("liar", "mqtt", "127.0.0.1:0")
			f.listeners[1].Protocol = "mqtts"
		}, state: Fail, want: "in plain text at 127.0.0.1", key: "listeners.liar"},
		"it says TLS and answers nothing": {open: func(f *fake) {
			f.listen("dead", "ws", "127.0.0.1:0")
			f.listeners[1].Protocol = "mqtts"
		}, state: Unknown, want: "(positive control)"},
		"metrics everywhere": {open: func(f *fake) { f.listen("", "metrics", "0.0.0.0:0") },
			env:   func(f *fake, e *Env) { e.Config.Metrics.Bind = []string{f.addrs[1]} },
			state: Fail, want: "where the socket is bound: [::]:", key: "metrics"},
		"plain text on loopback": {open: func(f *fake) { f.listen("local", "mqtt", "127.0.0.1:0") }, state: Unknown, want: "can only be seen from another host"},
		"an interface routes loopback": {open: func(f *fake) { f.listen("", "metrics", "127.0.0.1:0") },
			env: func(f *fake, e *Env) {
				e.Config.Metrics.Bind = []string{f.addrs[1]}
				f.setLocalnet(e, "docker0", "1")
			}, state: Warn, want: "not 0 for docker0"},
		"nobody says whether one does": {open: func(f *fake) { f.listen("", "metrics", "127.0.0.1:0") },
			env: func(f *fake, e *Env) {
				e.Config.Metrics.Bind = []string{f.addrs[1]}
				_ = os.RemoveAll(filepath.Join(e.Proc, "sys"))
			}, state: Unknown, want: "route_localnet"},
		"without descriptors": {env: func(_ *fake, e *Env) { clearDir(filepath.Join(e.Proc, strings.TrimPrefix(ownProc(), "/proc/"), "fd")) }, state: Unknown, want: "no listening socket"},
		"another network":     {env: func(_ *fake, e *Env) { relinkNetwork(e) }, state: Unknown, want: "another network namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P1.4", name, c.state)
			f := newFake(t, flaws{})
			f.listen("mqtts", "mqtts", "127.0.0.1:0")
			if c.open != nil {
				c.open(f)
			}
			row := f.reach(func(e *Env) {
				if c.env != nil {
					c.env(f, e)
				}
			})
			text := ""
			for i := range row.Results {
				r := &row.Results[i]
				text += r.Summary + "\n" + observed(r)
				if r.State == Fail && (r.Key != c.key || r.Fix == "") {
					t.Errorf("%s: key %q, fix %q", r.Scope, r.Key, r.Fix)
				}
			}
			if row.State() != c.state || !strings.Contains(text, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", row.State(), c.state, c.want, text)
			}
		})
	}
}

// A plain listener that somebody accepted is waived, and the rest still counts.
func TestPlainTextCanBeWaived(t *testing.T) {
	t.Parallel()
	f := newFake(t, flaws{})
	f.listen("mqtts", "mqtts", "127.0.0.1:0")
	f.listen("plain", "mqtt", "0.0.0.0:0")
	row := f.reach(func(e *Env) {
		e.Config.Waivers = []config.Waiver{{ID: "P1.4", Scope: "listeners.plain", Reason: "old devices", Owner: "ann", Expires: config.DateOf(e.Clock.Now()).AddDays(9)}}
	})
	for _, r := range row.Results {
		if want := map[bool]State{true: Waived, false: Pass}[r.Key == "listeners.plain"]; r.State != want && r.Scope != "host" {
			t.Errorf("%s is %s", r.Scope, r.State)
		}
	}
}

func TestRulesOfThePacketFilter(t *testing.T) {
	for text, want := range map[string]string{
		`{"nftables":[{"metainfo":{}},{"chain":{"family":"inet","table":"filter","name":"input","hook":"input","policy":"drop"}},{"chain":{"family":"ip","table":"nat","name":"out","hook":"output","policy":"accept"}}]}`: "inet filter input: policy drop",
		`{"nftables":[]}`: "nothing filters",
		`nonsense`:        "not understood",
	} {
		if got := filtered([]byte(text)); !strings.Contains(got, want) || strings.Contains(got, "nat") {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func ownProc() string { p, _ := os.Readlink("/proc/self"); return "/proc/" + p }

func relinkNetwork(e *Env) {
	own := filepath.Join(e.Proc, strings.TrimPrefix(ownProc(), "/proc/"))
	_ = os.RemoveAll(filepath.Join(own, "ns"))
	_ = os.Mkdir(filepath.Join(own, "ns"), 0o755)
	_ = os.Symlink("net:[1]", filepath.Join(own, "ns", "net"))
}

// listenUDP opens a socket for datagrams, which the broker reports if a test names
// its protocol.
func (f *fake) listenUDP() {
	f.t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	f.opened(c)
	f.listeners = append(f.listeners, ListenerReport{"", c.LocalAddr().String(), "mqtts"})
}
