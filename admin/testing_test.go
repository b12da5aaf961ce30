package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/retain"
)

// TestMain fixes the umask, because t.TempDir makes its folders with it, and
// checks that every server ended.
func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	goleak.VerifyTestMain(m)
}

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const rulesText = `
version: 1
rules:
  - id: own
    allow: all
    topics: ["devices/${username}/#"]
  - id: keep out
    deny: subscribe
    topics: ["site/secret/#"]
  - allow: subscribe
    topics: ["site/#"]
`

// fake is a broker small enough to know by heart.
type fake struct {
	mu       sync.Mutex // guards all below
	status   StatusReport
	notReady []string
	reload   func(context.Context) (ReloadReport, error)

	crowd fakeClients
	level fakeLevel
	given fakeSettings
	doors fakeListeners

	denier fakeDenier
}

func (f *fake) Status() StatusReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.status
	r.NotReady = f.notReady
	return r
}

func (f *fake) Reload(ctx context.Context) (ReloadReport, error) {
	f.mu.Lock()
	fn := f.reload
	f.mu.Unlock()
	return fn(ctx)
}

func (*fake) Limits() LimitsReport {
	return LimitsReport{ClientLimits: ClientLimits{PacketBytes: 1 << 20, Subscriptions: 100}}
}

// rig is a running administration server with everything a test looks at.
type rig struct {
	t      *testing.T
	dir    string
	socket string
	server *Server
	client *Client
	fake   *fake
	kept   *memory
	store  *builtin.Store
	authz  *auth.Authorizer

	bans     *fakeBans
	tokens   *fakeTokens
	retained *retain.Store
	clock    *clock.Manual
	log      *syncBuffer
	stop     context.CancelFunc
	stopped  chan error

	fakeExplaining
}

// fakeExplaining is what Explaining is made of.
type fakeExplaining struct {
	refusals audit.Recent
	logins   fakeLogins
	tried    fakeCandidates
	watch    fakeObservers
	talkers  fakeTalkers
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newPolicy(t *testing.T) *auth.Authorizer {
	t.Helper()
	p, err := rules.Parse("/etc/redoubt/rules.yaml", []byte(rulesText))
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewAuthorizer(p)
}

// memory keeps users until the end of the test, and fails when told to.
type memory struct {
	users map[string][]byte
	fail  error
}

func (m *memory) Users(fn func(name string, content []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(m.users)) {
		if err := fn(name, m.users[name]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Put(users ...builtin.Kept) error {
	for _, u := range users {
		if m.fail != nil {
			return m.fail
		}
		m.users[u.Name] = u.Content
	}
	return nil
}

func (m *memory) Delete(name string) error {
	if m.fail == nil {
		delete(m.users, name)
	}
	return m.fail
}

func newMemory() *memory { return &memory{users: map[string][]byte{}} }

// newRig starts a server; change may be nil.
func newRig(t *testing.T, change func(*Server)) *rig {
	t.Helper()
	dir := t.TempDir()
	clk := clock.NewManual(t0)
	kept := newMemory()
	store, err := builtin.Open(kept, clk)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, socket: filepath.Join(dir, "admin.sock"), kept: kept, store: store, authz: newPolicy(t), clock: clk, log: &syncBuffer{}, stopped: make(chan error, 1),
		retained: retain.New(retain.Options{MessagesMax: -1, BytesMax: -1})}
	r.fake = &fake{
		status: StatusReport{Name: "node1", Version: "1.2.3", StartedAt: t0.Add(-90 * time.Second), Connections: 3, Sessions: 4, Subscriptions: 5, Retained: 6,
			ConfigFile: "/etc/redoubt/redoubt.yaml", DataDir: dir, Listeners: []ListenerStatus{{"mqtts", "[::]:8883", "mqtts", "", 3}}},
		reload: func(context.Context) (ReloadReport, error) {
			return ReloadReport{Changed: []string{"limits.inflight: 32 -> 64"}}, nil
		},
	}
	shut, err := bans.Open(noBans{})
	if err != nil {
		t.Fatal(err)
	}
	r.bans, r.tokens = &fakeBans{Bans: shut}, newTokens()
	log := slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.server = New(Options{Version: "1.2.3", Clock: clk, Log: log, Users: BuiltinUsers(store), Policy: r.authz, Status: r.fake, Reloader: r.fake,
		Probes: NewProbes(store, r.authz, &r.fake.denier, clk, log), Limits: r.fake,
		Clients: &r.fake.crowd, Retained: r.retained, LogLevel: &r.fake.level, Settings: &r.fake.given, Bans: r.bans, Tokens: r.tokens, Listeners: &r.fake.doors,
		Rules: newRules(t, r.authz), RuleReader: r.fake,
		Explaining: Explaining{Whys: &r.fake.crowd, Refusals: &r.refusals, Logins: &r.logins, Chains: fakeChains{}, Candidates: &r.tried, Observers: &r.watch, Talkers: &r.talkers}})
	if change != nil {
		change(r.server)
	}
	ln, err := Listen(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.stopped <- r.server.Serve(ctx, ln) }()
	r.client = NewClient(r.socket)
	t.Cleanup(func() {
		cancel()
		if err := r.wait(); err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return r
}

// wait answers what Serve returned, once it did.
func (r *rig) wait() error {
	select {
	case err := <-r.stopped:
		r.stopped <- err // for the next who asks
		return err
	case <-time.After(20 * time.Second):
		return errors.New("Serve does not end")
	}
}

// raw sends one request as typed and answers status and body.
func (r *rig) raw(method, target, body string) (*http.Response, string) {
	r.t.Helper()
	return r.rawWith(method, target, body, "application/json")
}

func (r *rig) rawWith(method, target, body, contentType string) (*http.Response, string) {
	r.t.Helper()
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 20 * time.Second}
	req, err := http.NewRequest(method, "http://redoubt"+target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

// typed writes bytes to a connection and reads until the server closes it.
func typed(t *testing.T, network, addr, bytes string) string {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, bytes); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && (errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, syscall.ECONNRESET)) {
		t.Fatalf("the server did not close the connection: %v", err)
	}
	return string(b)
}
