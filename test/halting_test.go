package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestListenersAreStoppedAndStarted is the command line and the API of listeners against the
// program, with clients of others: who is there stays, who comes is refused, and nobody but
// the operator at the administration socket can do it.
func TestListenersAreStoppedAndStarted(t *testing.T) {
	t.Parallel()
	plain := testkit.FreePort(t)
	b := start(t, testkit.Options{Listeners: fmt.Sprintf("  plain:\n    protocol: mqtt\n    bind: [\"127.0.0.1:%d\"]\n", plain)})
	cli := func(code int, want string, words ...string) string {
		t.Helper()
		r := b.Redoubt("", append([]string{"listeners"}, words...)...)
		if r.Code != code || !regexp.MustCompile(want).MatchString(r.Text()) {
			t.Errorf("listeners %v: exit code %d, want %d and %q\n%s", words, r.Code, code, want, r.Text())
		}
		return r.Stdout
	}
	topic := "devices/" + user + "/a"
	stays := sub(t, b, "5", topic, "-C", "1", "-k", "3600")
	cli(0, `(?m)^NAME +TYPE +BIND +ADVERTISED +STATE +CONNECTIONS +NO AUTH YET +TOO FAST +BACKLOG$`, "list")
	cli(0, fmt.Sprintf(`(?m)^mqtts +mqtts +\S*:%d +- +running +1/- +0 +0 +[0-9]+$`, b.Port), "list")
	cli(0, `(?m)^mqtts:mqtts is stopped; 1 connections go on$`, "stop", "mqtts")
	if r := pub(t, b, "5", topic, "x", "-q", "1"); r.Code == 0 || !strings.Contains(r.Text(), "refused") {
		t.Errorf("a listener that is stopped: %s", r.Text())
	}
	cli(0, `it was stopped already, at \S+Z by uid [0-9]+`, "stop", "ssl:mqtts")
	cli(0, `(?m)^mqtts +mqtts +\S*:[0-9]+ +- +stopped +1/- +0 +0 +-$`, "list")
	if r := b.Redoubt("", "status"); !regexp.MustCompile(`(?m)^listener +mqtts is stopped since .* by uid [0-9]+, 1 connections$`).MatchString(r.Stdout) {
		t.Errorf("status: %s", r.Text())
	}
	if r := b.Redoubt("", "doctor", "--only", "P3.6", "-o", "json"); !regexp.MustCompile(`(?s)"listener:mqtts".{0,200}"not_applicable"`).MatchString(r.Stdout) {
		t.Errorf("doctor: %s", r.Text())
	}
	cli(1, `there is no listener "nobody"; there is mqtts:mqtts, mqtt:plain`, "stop", "nobody")
	cli(2, `name one listener`, "stop")
	// A client that says so, or whoever reaches the pages, stops nothing.
	if w := plainAt(t, fmt.Sprintf("127.0.0.1:%d", plain)); w == nil || w.enters("listeners/mqtt:plain/stop", true) != mqtt.Success {
		t.Fatal("nobody gets in at the other listener")
	}
	if resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/api/v5/listeners/mqtt:plain/stop", b.Metrics), "", nil); err != nil || resp.StatusCode < 400 {
		t.Errorf("the pages stop a listener: %v %v", resp, err)
	} else {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if plainAt(t, fmt.Sprintf("127.0.0.1:%d", plain)) == nil {
		t.Error("the other listener is stopped")
	}
	cli(0, `(?m)^mqtts:mqtts is started: \S+:[0-9]+$`, "start", "mqtts:mqtts")
	if r := pub(t, b, "5", topic, "x", "-q", "1"); r.Code != 0 {
		t.Errorf("a listener that was started: %s", r.Text())
	}
	if r := stays.Wait(patience); r.Code != 0 {
		t.Errorf("who was there has lost its connection: exit code %d\n%s", r.Code, r.Text())
	}
	var done struct {
		Listener struct{ ID, State string }
		Changed  bool
	}
	if err := json.Unmarshal([]byte(cli(0, ``, "stop", "mqtts", "--disconnect", "-o", "json")), &done); err != nil || done.Listener.ID != "mqtts:mqtts" || done.Listener.State != "stopped" || !done.Changed {
		t.Errorf("%+v %v", done, err)
	}
	for _, line := range []string{"listener stopped by an operator", "listener started by an operator"} {
		if got, ok := b.Stderr.WaitFor(patience, 0, line, fmt.Sprintf(`"peer_uid":%d,`, os.Getuid()), "mqtts:mqtts"); !ok {
			t.Errorf("no line says %q: %s", line, got)
		}
	}
}
