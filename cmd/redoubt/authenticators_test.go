package main

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// loadedWith is a configuration of authenticators and back ends.
func loadedWith(t *testing.T, text string) *config.Config {
	t.Helper()
	dir := testkit.TempDir(t)
	path := filepath.Join(dir, "redoubt.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{File: path, DataDir: dir, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Config
}

// conditional is a chain of an authenticator that has a condition and one that lets in who
// says that he is from the hall.
const conditional = `
backends:
  db: {type: redis, servers: ["127.0.0.1:1"], tls: {mode: "off"}, timeout: 100ms, breaker: {failures: 1}}
authn:
  chains: {default: [gate, users, late]}
  cinfo:
    gate: {when: %q, checks: [{is_match: ["true"], result: allow, identity: username}]}
    late: {checks: [{is_match: ["true"], result: deny}]}
  lookup:
    users: {when: %q, backend: db, query: "HMGET u:${username} password_hash salt"}
`

// A condition says who an authenticator is about: where it does not hold the next one is
// asked, and where it cannot be judged the client is refused. Another condition is no other
// authenticator: it keeps what it knows.
func TestConditionsOfAuthenticators(t *testing.T) {
	n := quietNode(t, testkit.TempDir(t), slog.New(slog.DiscardHandler))
	n.alarms, n.users = alarm.New(n.log), &builtin.Store{}
	n.memory.Store(&memory.Budget{Bytes: 1 << 30})
	defer n.endAuthenticators()
	var chain *auth.Chain
	enter := func(gate, users string) {
		t.Helper()
		c := loadedWith(t, fmt.Sprintf(conditional, gate, users))
		asking, err := n.prepareAuthenticators(c)
		if err != nil {
			t.Fatal(err)
		}
		chains, leave := asking.enter(c)
		leave()
		chain = chains["mqtts"]
	}
	login := func(name, clientID string) string {
		got := make(chan auth.Result, 1)
		chain.Authenticate(&auth.Request{Username: name, HasUsername: name != "", ClientID: clientID, HasPassword: true, Password: secret.FromString("p"), Listener: "mqtts", Addr: netip.MustParseAddr("192.0.2.1")},
			func(r auth.Result) { got <- r })
		r := <-got
		return fmt.Sprintf("%v %#x %s", r.Outcome, byte(r.Reason), r.Detail)
	}
	enter("clientid.startsWith('hall-') && username != 'root'", "has_certificate && cert_common_name == username")
	for who, want := range map[[2]string]string{
		{"ann", "hall-1"}:  "allow",
		{"root", "hall-1"}: "deny 0x87 late: check 1 denies",
		{"ann", "x"}:       "deny 0x87 late: check 1 denies",
		{"", "hall-1"}:     "deny 0x87 the condition of authenticator gate cannot be judged for this client",
	} {
		if got := login(who[0], who[1]); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s, want %s", who, got, want)
		}
	}
	n.reportAnswers()
	page := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`{authenticator="gate",outcome="allow"} 1`, `{authenticator="gate",outcome="deny"} 1`, `{authenticator="late",outcome="deny"} 2`, `{authenticator="late",outcome="ignore"} 0`,
		`redoubt_authn_answer_seconds_bucket{authenticator="gate",le="+Inf"} 2`, `redoubt_authn_answer_seconds_bucket{authenticator="users",le="+Inf"} 0`} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(page.Body.String(), `authenticator="x509"`) {
		t.Error("who no listener asks has series")
	}
	n.alarms.Raise(n.clock.Now(), alarm.KeySetUnavailable, "gone", "it cannot be read")
	gate, users := n.asked["gate"].Authenticator, n.asked["users"].Authenticator
	enter("false", "username == 'ann'")
	if n.alarms.Count(alarm.KeySetUnavailable) != 0 {
		t.Error("an alarm about an authenticator that is gone lasts")
	}
	if n.asked["gate"].Authenticator != gate || n.asked["users"].Authenticator != users {
		t.Error("an authenticator is another one because of its condition")
	}
	if got := login("ann", "hall-1"); !strings.HasPrefix(got, "unavailable "+fmt.Sprintf("%#x", byte(mqtt.ServerUnavailable))) {
		t.Error("the next condition is not in force: ", got)
	}
	if got := login("bob", "hall-1"); !strings.HasPrefix(got, "deny") {
		t.Error(got)
	}
}
