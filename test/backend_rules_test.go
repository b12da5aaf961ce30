package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// allow sets what ann may.
func (f *fakeRedis) allow(topicsAndActions ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = map[string][]string{"mqtt:acl:ann": topicsAndActions}
}

// subscribes answers the reason code of a SUBSCRIBE.
func subscribes(w *wire, filter string) byte {
	body := append([]byte{0, 7, 0, 0, byte(len(filter))}, filter...)
	body = append(body, 0)
	w.send(append([]byte{0x82, byte(len(body))}, body...))
	p := w.want(mqtt.SUBACK).Body
	return p[len(p)-1]
}

// TestRulesOfABackend: who connects has the rules that a back end has for it; a rule that is
// taken there ends what is subscribed at the next refresh; a back end that does not answer
// lets nobody in, and takes from who is in nothing before stale_max.
func TestRulesOfABackend(t *testing.T) {
	t.Parallel()
	redis := newFakeRedis(t, "")
	redis.allow("plant/#", "all", "gone/a", "subscribe")
	b := newBanned(t, start(t, testkit.Options{Config: fmt.Sprintf(`
backends:
  db:
    type: redis
    servers: [%q]
    tls: {mode: "off"}
    timeout: 300ms
    breaker: {failures: 1000}
authn:
  chains: {default: [users]}
  lookup:
    users: {backend: db, query: "HMGET mqtt:user:${username} password_hash salt", hash: {algorithm: sha256}}
authz:
  order: [rights]
  lookup:
    rights: {backend: db, query: "HGETALL mqtt:acl:${username}", refresh: 2s, stale_max: 5s}
`, redis.Addr())}))
	ann := func(c *mqtt.Connect) { c.Username, c.Password = "ann", []byte("ann's password") }
	in, code := b.come(b.doors[0], mqtt.V5, here, "ann-1", ann)
	if code != 0 {
		t.Fatalf("CONNACK %#x\n%s", code, b.b.Log())
	}
	for filter, want := range map[string]byte{"plant/1": 0, "gone/a": 0, "other/x": 0x87} {
		if got := subscribes(in, filter); got != want {
			t.Errorf("SUBACK of %s: %#x, want %#x", filter, got, want)
		}
	}
	has := func(filter string) bool {
		r := b.b.Redoubt("", "clients", "show", "ann-1")
		if r.Code != 0 {
			t.Fatalf("clients show: %s", r.Text())
		}
		return strings.Contains(r.Stdout, filter)
	}
	redis.allow("plant/#", "all")
	if r := b.b.Redoubt("", "acl", "refresh", "ann-1"); r.Code != 0 || !strings.Contains(r.Stdout, "1 read") {
		t.Errorf("acl refresh: %s", r.Text())
	}
	if has("gone/a") || !has("plant/1") {
		t.Error("a rule was taken, and what is subscribed is not as it should be")
	}
	if !strings.Contains(b.b.Log(), "rules read again by an operator") {
		t.Error("nothing is written of the refresh")
	}

	redis.stall(true)
	b.told("while the back end says nothing", b.doors[0], mqtt.V5, here, "ann-2", 0x88, ann)
	if r := b.b.Redoubt("", "acl", "refresh"); r.Code != 1 || !strings.Contains(r.Stdout, "1 failed") || !has("plant/1") {
		t.Errorf("a refresh that fails, old rules count: %s", r.Text())
	}
	if !within(20*time.Second, func() bool { return !has("plant/1") }) {
		t.Error("rules that are too old still count")
	}
	b.stays("who was in", in)
	redis.stall(false)
	if !within(10*time.Second, func() bool { return subscribes(in, "plant/2") == 0 }) {
		t.Errorf("rules do not come back by themselves\n%s", b.b.Log())
	}
}
