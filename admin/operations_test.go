package admin

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

type nilPolicy struct{}

func (nilPolicy) Policy() *auth.Policy { return nil }

func TestStatus(t *testing.T) {
	r := newRig(t, nil)
	s, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "node1" || s.Version != "1.2.3" || s.Status != "running" || s.UptimeSeconds != 90 || !s.StartedAt.Equal(t0.Add(-90*1e9)) ||
		s.Connections != 3 || s.Sessions != 4 || s.Subscriptions != 5 || s.Retained != 6 || s.ConfigFile != "/etc/redoubt/redoubt.yaml" || s.DataDir != r.dir ||
		!slices.Equal(s.Listeners, []ListenerStatus{{"mqtts", "[::]:8883", "mqtts", "", 3}}) {
		t.Errorf("%+v", s)
	}
	r.fake.mu.Lock()
	r.fake.notReady, r.fake.status.Listeners = []string{"starting"}, nil
	r.fake.mu.Unlock()
	if s, err = r.client.Status(t.Context()); err != nil || s.Status != "not_ready" || !slices.Equal(s.NotReady, []string{"starting"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, body := r.raw(http.MethodGet, "/api/v5/status", ""); !strings.Contains(body, `"listeners":[]`) {
		t.Errorf("%s: want an empty list", body)
	}
}

func TestReload(t *testing.T) {
	r := newRig(t, nil)
	got, err := r.client.Reload(t.Context())
	if err != nil || !slices.Equal(got.Changed, []string{"limits.inflight: 32 -> 64"}) {
		t.Errorf("%+v, %v", got, err)
	}
	r.fake.mu.Lock()
	r.fake.reload = func(context.Context) (ReloadReport, error) { return ReloadReport{}, nil }
	r.fake.mu.Unlock()
	if _, body := r.raw(http.MethodPost, "/api/v5/reload", ""); !strings.Contains(body, `"changed":[]`) {
		t.Errorf("nothing to do: %s", body)
	}
	r.fake.mu.Lock()
	r.fake.reload = func(context.Context) (ReloadReport, error) {
		return ReloadReport{}, errors.New("redoubt.yaml:7:3: limits.inflight: 0 is out of range 1..65535. Nothing has been reloaded.")
	}
	r.fake.mu.Unlock()
	if _, err = r.client.Reload(t.Context()); status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "redoubt.yaml:7:3") {
		t.Errorf("refused: %v", err)
	}
}

// A caller that hangs up does not leave half a reload behind.
func TestReloadOutlivesItsCaller(t *testing.T) {
	r := newRig(t, nil)
	entered, gone, verdict := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r.fake.mu.Lock()
	r.fake.reload = func(ctx context.Context) (ReloadReport, error) {
		close(entered)
		<-gone
		verdict <- ctx.Err()
		return ReloadReport{}, nil
	}
	r.fake.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := r.client.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v", err)
	}
	close(gone)
	if err := <-verdict; err != nil {
		t.Errorf("the reload was cut off: %v", err)
	}
}

func TestCheckAccess(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		q       AccessQuery
		want    string
		partly  bool
		rule    string
		line    int
		builtIn bool
	}{
		{q: AccessQuery{Username: "a", Action: "publish", Topic: "devices/a/t", QoS: 1, Retain: true}, want: "allow", rule: "own", line: 4},
		{q: AccessQuery{Username: "a", Action: "publish", Topic: "devices/b/t"}, want: "deny", rule: "default", builtIn: true},
		{q: AccessQuery{Action: "publish", Topic: "devices//t"}, want: "deny", rule: "default", builtIn: true},
		{q: AccessQuery{Username: "a", Action: "subscribe", Topic: "site/#", ClientID: "c", IPAddress: "192.0.2.1"}, want: "allow", partly: true, rule: "rule 3", line: 10},
		{q: AccessQuery{Username: "a", Action: "subscribe", Topic: "site/secret/x"}, want: "deny", rule: "keep out", line: 7},
		{q: AccessQuery{Username: "a", Action: "receive", Topic: "site/hall"}, want: "allow", rule: "rule 3", line: 10},
	} {
		v, err := r.client.Check(t.Context(), c.q)
		if err != nil {
			t.Errorf("%+v: %v", c.q, err)
			continue
		}
		if v.Result != c.want || v.Allow() != (c.want == "allow") || v.Partly != c.partly || v.Rule.ID != c.rule || v.Rule.Line != c.line || v.Rule.Text == "" {
			t.Errorf("%+v: %+v", c.q, v)
		}
		if c.builtIn != (v.Rule.File == "") || !c.builtIn && v.Rule.File != "/etc/redoubt/rules.yaml" {
			t.Errorf("%+v: file %q", c.q, v.Rule.File)
		}
	}
	if v, err := r.client.Check(t.Context(), AccessQuery{Username: "a/b", Action: "publish", Topic: "devices/a/b/t"}); err != nil || v.Allow() || v.Note == "" {
		t.Errorf("a name that never expands: %+v, %v", v, err)
	}
}

func TestRules(t *testing.T) {
	r := newRig(t, nil)
	got, err := r.client.Rules(t.Context())
	if err != nil || len(got.Data) != 4 {
		t.Fatalf("%d rules, %v", len(got.Data), err)
	}
	var ids []string
	for _, x := range got.Data {
		ids = append(ids, x.ID)
	}
	if s := strings.Join(ids, ", "); s != "own, keep out, rule 3, default" {
		t.Errorf("rules %s", s)
	}
	if first, last := got.Data[0], got.Data[3]; !first.Allow || first.Where != "/etc/redoubt/rules.yaml:4" || last.Allow || last.File != "" || last.Where != "default" {
		t.Errorf("first %+v, last %+v", first, last)
	}
}

func TestUnreachableSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		make    func(path string)
		offline bool
		want    string
	}{
		"missing": {func(string) {}, true, "redoubt serve"},
		"stale":   {func(p string) { leaveSocket(t, p) }, true, "redoubt serve"},
		"a file":  {func(p string) { _ = os.WriteFile(p, nil, 0o600) }, true, "redoubt serve"},
	} {
		p := filepath.Join(dir, name)
		c.make(p)
		_, err := NewClient(p).Status(t.Context())
		var u *UnreachableError
		if !errors.As(err, &u) || u.Offline() != c.offline || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", name, err)
		}
	}
	denied := &UnreachableError{Socket: "s", Err: os.ErrPermission}
	if denied.Offline() || !strings.Contains(denied.Error(), "as root") {
		t.Errorf("%v, offline %v", denied, denied.Offline())
	}
	other := &UnreachableError{Socket: "s", Err: errors.New("odd")}
	if other.Offline() || !strings.Contains(other.Error(), "odd") {
		t.Errorf("%v", other)
	}
	if _, _, _, err := OpenUsers(t.Context(), strings.Repeat("x", 200), func() (Users, func(), error) {
		t.Error("a socket that cannot be asked was taken for an absent broker")
		return nil, nil, nil
	}); err == nil {
		t.Error("no error")
	}
}
