package test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// accounts is a service over HTTPS that judges clients and has rules for them.
func accounts(token *atomic.Value, clock func() int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token.Load().(string) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		var q struct{ Username, Password string }
		answer := `{"result": "ignore"}`
		switch body := json.NewDecoder(r.Body); {
		case r.Method == http.MethodGet && r.URL.Path == "/mqtt/acl/ann":
			answer = `{"acl": [{"permission": "allow", "action": "all", "topics": ["plant/#", "secret/#"]}]}`
		case r.Method == http.MethodGet:
			answer = `{"acl": []}`
		case body.Decode(&q) != nil:
			w.WriteHeader(http.StatusBadRequest)
			return
		case q.Password == "wrong":
			answer = `{"result": "deny"}`
		case q.Username == "ann":
			answer = `{"result": "allow", "is_superuser": true, "acl": [{"permission": "deny", "action": "publish", "topic": "secret/#"}]}`
		case q.Username == "short":
			answer = fmt.Sprintf(`{"result": "allow", "expire_at": %d}`, clock()+2)
		}
		_, _ = io.WriteString(w, answer)
	}
}

// TestHTTPService (A125): who a service lets in comes in, with the rules it has for him, each
// named by its source; he is closed when the service says so; what is no answer lets nobody
// in; our credential is changed by a reload.
func TestHTTPService(t *testing.T) {
	t.Parallel()
	var token atomic.Value
	token.Store("credential-1")
	svc := httptest.NewTLSServer(accounts(&token, func() int64 { return time.Now().Unix() }))
	defer svc.Close()
	dir := testkit.TempDir(t)
	ca, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	testkit.WriteFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: svc.Certificate().Raw})))
	testkit.WriteFile(t, secret, "credential-1\n")
	b := newBanned(t, start(t, testkit.Options{Config: fmt.Sprintf(`
backends:
  accounts:
    type: http
    url: %s/mqtt
    password: "file:%s"
    tls: {ca: [%q]}
authn:
  chains: {default: [svc, builtin]}
  http:
    svc:
      backend: accounts
      query: >-
        POST /auth/${clientid} {"username": "${username}", "password": "${password}"}
      cache: {entries: 0}
authz:
  order: [claims, rights]
  lookup:
    rights: {backend: accounts, query: "GET /acl/${username}", refresh: 1h, stale_max: 1h}
`, svc.URL, secret, ca)}))
	d := b.doors[0]
	as := func(name, password string) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) { c.Username, c.Password = name, []byte(password) }
	}
	ann := as("ann", "right")
	in, code := b.come(d, mqtt.V5, here, "ann-1", ann)
	if code != 0 {
		t.Fatalf("CONNACK %#x\n%s", code, b.b.Log())
	}
	for topic, want := range map[string]mqtt.ReasonCode{"plant/1": 0x10, "secret/1": mqtt.NotAuthorized, "other/1": mqtt.NotAuthorized} {
		if got := in.tell(topic, "x", 1); got != want {
			t.Errorf("publish to %s: %#x, want %#x", topic, got, want)
		}
	}
	for topic, where := range map[string]string{"plant/1": "rights:1", "secret/1": "claims"} {
		if r := b.b.Redoubt("", "why", "ann-1", "publish", topic); !strings.Contains(r.Stdout, where) {
			t.Errorf("why %s does not name %s:\n%s", topic, where, r.Text())
		}
	}
	r := pub(t, b.b, "5", "x", "x", "-u", "ann", "-P", "wrong", "-i", "ann-9", "-q", "1")
	if r.Code == 0 {
		t.Error("a wrong password is taken")
	}
	if r := b.b.Redoubt("", "why", "ann-9"); !strings.Contains(r.Stdout, "the service says no") || !refTold.MatchString(r.Stdout) {
		t.Errorf("why a wrong password: %s", r.Text())
	}
	b.told("a name that is more than one", d, mqtt.V5, here, "../../acl", wrongPassword, ann)
	b.told("a user of the broker's own", d, mqtt.V5, here, "own", 0)
	short, code := b.come(d, mqtt.V5, here, "short", as("short", "right"))
	if code != 0 {
		t.Fatalf("CONNACK %#x\n%s", code, b.b.Log())
	}

	token.Store("credential-2")
	b.told("with an old credential of ours", d, mqtt.V5, here, "ann-2", 0x88, ann)
	testkit.WriteFile(t, secret, "credential-2\n")
	if r := b.b.Redoubt("", "reload"); r.Code != 0 {
		t.Fatalf("reload: %s", r.Text())
	}
	b.told("with the next one", d, mqtt.V5, here, "ann-3", 0, ann)
	short.wantDisconnect(mqtt.NotAuthorized)
	svc.Close()
	b.told("the service is gone", d, mqtt.V5, here, "ann-4", 0x88, ann)
	b.stays("who was in all the time", in)
	if log := b.b.Log(); strings.Contains(log, "credential-") || strings.Contains(log, `"right"`) {
		t.Error("the log has a credential")
	}
}
