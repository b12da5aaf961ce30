package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestRedoubtPubSub is the README's other way to publish and subscribe.
func TestRedoubtPubSub(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	usual := []string{"-p", port(b), "--cafile", b.CA(), "-u", user, "-P", password, "-t", "devices/" + user + "/cli", "-q", "1"}
	sub := testkit.Go(t, "", append([]string{testkit.Binary(t), "sub", "-C", "1", "-v", "-d"}, usual...)...)
	if _, ok := sub.Stderr.WaitFor(patience, 0, "SUBACK"); !ok {
		t.Fatalf("redoubt sub did not subscribe:\n%s%s", sub.Stdout, sub.Stderr)
	}
	if r := testkit.Exec(t, patience, "", append([]string{testkit.Binary(t), "pub", "-m", "21.5"}, usual...)...); r.Code != 0 {
		t.Fatalf("redoubt pub: exit code %d\n%s", r.Code, r.Text())
	}
	if r := sub.Wait(patience); r.Code != 0 || !strings.Contains(r.Stdout, "devices/"+user+"/cli 21.5\n") {
		t.Errorf("redoubt sub: exit code %d\n%s", r.Code, r.Text())
	}
}

// TestUserWithoutCredentialsIsCut: a deleted user and one with a new password are
// disconnected, and the old password is worth nothing.
func TestUserWithoutCredentialsIsCut(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	for _, words := range [][]string{{"user", "passwd", user, "--password-stdin"}, {"user", "delete", user}} {
		w := connect(t, b, mqtt.V5, "cut")
		if r := b.Redoubt("another-good-password-3\n", words...); r.Code != 0 {
			t.Fatalf("%v: exit code %d\n%s", words, r.Code, r.Text())
		}
		w.wantDisconnect(mqtt.AdministrativeAction)
		if r := pub(t, b, "mqttv5", "devices/"+user+"/x", "hello", "-q", "1"); r.Code == 0 {
			t.Errorf("%v: the old password still counts", words)
		}
		if words[1] == "passwd" {
			if r := b.Redoubt(password+"\n", words...); r.Code != 0 { // and back
				t.Fatal(r.Text())
			}
		}
	}
	if r := b.Redoubt("", "user", "list", "-o", "json"); strings.Contains(r.Stdout, user) || !strings.Contains(r.Stdout, other) {
		t.Errorf("user list:\n%s", r.Text())
	}
}

// TestStatusAndPages: what an operator and a scraper see of a running broker.
func TestStatusAndPages(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	w := connect(t, b, mqtt.V5, "seen")
	w.wantAlive()
	var status struct {
		Connections int    `json:"connections"`
		Status      string `json:"status"`
		Retained    *int   `json:"retained_messages"` // $SYS is not among them
	}
	r := b.Redoubt("", "status", "-o", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &status); err != nil || r.Code != 0 || status.Connections != 1 || status.Status != "running" || status.Retained == nil || *status.Retained != 0 {
		t.Errorf("status: %+v, %v\n%s", status, err, r.Text())
	}
	for path, want := range map[string]string{"/livez": "", "/readyz": "", "/metrics": "redoubt_connections"} {
		code, text := get(t, fmt.Sprintf("http://127.0.0.1:%d%s", b.Metrics, path))
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d\n%.2000s", path, code, text)
		}
	}
	if r := b.Stop(); r.Code != 0 {
		t.Fatal(r.Text())
	}
	if r := b.Redoubt("", "status"); r.Code != 3 || !strings.Contains(r.Text(), "admin.sock") {
		t.Errorf("status without a broker: exit code %d\n%s", r.Code, r.Text())
	}
}

// get reads a page.
func get(t *testing.T, url string) (code int, text string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
