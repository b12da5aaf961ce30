package harden

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// fakeVersion is told over the administration socket, and nowhere else by a good broker.
const fakeVersion = "7.91.3-rc.2"

// Report implements Broker.
func (f *fake) Report(context.Context) (BrokerReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := BrokerReport{Node: "fake", Flapping: f.flapping, Version: fakeVersion, PID: os.Getpid(), UID: os.Geteuid(), Listeners: f.listeners, Limits: f.limits, Rates: f.rates()}
	if slices.Contains(f.flaws, unversioned) {
		r.Version = ""
	}
	return r, nil
}

// AddProbe implements Broker.
func (f *fake) AddProbe(_ context.Context, grant bool) (ProbeUser, error) {
	u := ProbeUser{Name: "probe-" + randomText(), Secret: secret.FromString(canary + randomText())}
	if grant {
		u.Topic = "probe-" + randomText()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[u.Name] = u
	f.made = append(f.made, u)
	return u, nil
}

// EndProbe implements Broker.
func (f *fake) EndProbe(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.users[name]; !ok {
		return fmt.Errorf("no user %s", name)
	}
	delete(f.users, name)
	for c := range f.conns {
		if c.user == name && !slices.Contains(f.flaws, keepsDeleted) {
			_ = c.conn.Close()
		}
	}
	return nil
}

// DenyProbe implements Broker.
func (f *fake) DenyProbe(_ context.Context, fingerprints []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.flaws, cannotDeny) {
		return errors.New("there is no such operation")
	}
	f.denied = append(f.denied, fingerprints...)
	for c := range f.conns {
		if slices.Contains(f.denied, c.shown) && !slices.Contains(f.flaws, keepsWithdrawn) && !slices.Contains(f.flaws, deniesNobody) {
			_ = c.conn.Close()
		}
	}
	return nil
}

// denying is conf with what is denied looked at, as the flaws have it.
func (f *fake) denying(conf *tls.Config, protocol string) *tls.Config {
	conf = conf.Clone()
	judge := conf.VerifyConnection
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) > 0 && !f.has(deniesNobody) && !(s.DidResume && (f.has(keepsSessions) || f.has(keepsSessionsWeb) && protocol == "wss")) {
			f.mu.Lock()
			denied := slices.Contains(f.denied, revoke.FingerprintID(s.PeerCertificates[0])) || len(f.denied) > 0 && slices.Contains(f.flaws, deniesEverybody)
			f.mu.Unlock()
			if denied {
				return errors.New("denied")
			}
		}
		if judge != nil {
			return judge(s)
		}
		return nil
	}
	return conf
}

// ClientUser implements Broker.
func (f *fake) ClientUser(_ context.Context, clientID string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		if c.id == clientID {
			return c.user, nil
		}
	}
	return "", fmt.Errorf("no client %s", clientID)
}

// Refused implements Broker.
func (f *fake) Refused(context.Context, string) (RefusedConnect, error) {
	if f.has(nobody) {
		return RefusedConnect{By: "svc", Why: "the service says no"}, nil
	}
	return RefusedConnect{}, nil
}

// canary begins every secret of these tests; it must not turn up in any output.
const canary = "canary-53cr37-"

// hurried is the clock that refusals are timed by, which goes on by what the broker pretends to
// do meanwhile and by nothing else: what the machine does beside a test is not measured.
type hurried struct{ more atomic.Int64 }

// refusalTakes is how long a refusal takes, by that clock.
func (f *fake) refusalTakes(known bool) time.Duration {
	switch {
	case f.takes != nil:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.takes(known)
	case known && f.has(tellsByTime):
		return 90 * time.Millisecond
	}
	return 30 * time.Millisecond
}

// Now implements clock.Clock.
func (h *hurried) Now() time.Time { return time.Unix(0, h.more.Load()) }

// env is the doctor's view of f.
func (f *fake) env() *Env {
	c := &config.Config{Node: config.Node{DataDir: filepath.Join(f.t.TempDir(), "data")}, Listeners: f.config}
	// Where nothing is waited for in vain, there is time for a busy machine.
	e := &Env{Clock: clock.System{}, refusals: f.clock, Config: c, Broker: f, Step: 20 * time.Second}
	for _, silent := range []flaw{noPacketLimit, waitsForBody, noConnectLimit, loses, keepsDeleted} {
		if f.has(silent) {
			e.Step = time.Second
		}
	}
	return e
}

// examine runs one row on f, with every socket of this process in view.
func (f *fake) examine(id string) Row { return examine(f.t, f.env(), id).Rows[0] }

func examine(t *testing.T, e *Env, id string) *Report {
	t.Helper()
	checks, err := Select(Checks, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	return Examine(t.Context(), e, checks)
}

// grow is what the kernel says of the memory of a broker that was told of a packet of n bytes.
func (f *fake) grow(n int64) {
	if f.status == "" {
		return
	}
	var peak, high int64 = 400_000, 60_000
	if f.has(reservesAnnounced) {
		peak += n >> 10
	}
	if f.has(fillsAnnounced) { // and had more address space before
		high += n >> 10
	}
	text := fmt.Sprintf("Name:\tredoubt\nVmPeak:\t  %d kB\nVmSize:\t  400000 kB\nVmHWM:\t   %d kB\nVmRSS:\t   50000 kB\n", peak, high)
	if err := os.WriteFile(f.status+".new", []byte(text), 0o600); err != nil || os.Rename(f.status+".new", f.status) != nil {
		f.t.Errorf("%s cannot be written: %v", f.status, err)
	}
}
