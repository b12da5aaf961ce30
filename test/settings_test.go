package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// must runs a command of the program that has to succeed and answers what it printed.
func must(t *testing.T, b *testkit.Broker, words ...string) string {
	t.Helper()
	r := b.Redoubt("", words...)
	if r.Code != 0 {
		t.Fatalf("redoubt %s: exit code %d\n%s", strings.Join(words, " "), r.Code, r.Text())
	}
	return r.Stdout
}

// refused runs one that has to be refused, with these words in what it says.
func refused(t *testing.T, b *testkit.Broker, want string, words ...string) {
	t.Helper()
	if r := b.Redoubt("", words...); r.Code != 1 || !strings.Contains(r.Stderr, want) {
		t.Errorf("redoubt %s: exit code %d, want %q\n%s", strings.Join(words, " "), r.Code, want, r.Text())
	}
}

// grantedMore is the reason code for one more subscription.
func grantedMore(t *testing.T, w *wire, level int) mqtt.ReasonCode {
	t.Helper()
	w.send((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: fmt.Sprintf("devices/%s/%d", user, level), QoS: 1}}}).Append(nil, mqtt.V5, 0))
	p := w.want(mqtt.SUBACK)
	return mqtt.ReasonCode(p.Body[len(p.Body)-1])
}

// threeKiBRefused tells whether a new client is refused a packet of 3 KiB.
func threeKiBRefused(t *testing.T, b *testkit.Broker) bool {
	t.Helper()
	w := connect(t, b, mqtt.V5, "large")
	w.send(publishOf(t, mqtt.V5, "devices/"+user+"/x", 3<<10))
	p, err := w.next()
	if err != nil {
		t.Fatal(err)
	}
	return p.Header.Type == mqtt.DISCONNECT
}

// TestSettingsSurviveAKill: a limit that is set acts on clients at once, and after a
// kill it still does; taken back, it is gone, and stays so.
func TestSettingsSurviveAKill(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	w := connect(t, b, mqtt.V5, "live")
	if rc := grantedMore(t, w, 1); rc != 1 || threeKiBRefused(t, b) {
		t.Fatalf("before: %v", rc)
	}
	if out := must(t, b, "config", "set", "limits.subscriptions_total", "1"); !strings.HasPrefix(out, "limits.subscriptions_total: 5000000 -> 1 (set at run time 2") {
		t.Errorf("said %q", out)
	}
	if rc := grantedMore(t, w, 2); rc != mqtt.QuotaExceeded {
		t.Errorf("the client that is connected is told %v", rc)
	}
	must(t, b, "config", "set", "limits.packet_bytes", "2KiB")
	must(t, b, "config", "set", "limits.retained_messages_total", "77")
	if !strings.Contains(must(t, b, "status"), "pending restart    limits.retained_messages_total: 1000000 -> 77\n") {
		t.Error("status says nothing of what waits for a restart")
	}
	refused(t, b, `"1000" is out of range. Range: 1 to 128`, "config", "set", "limits.topic_levels", "1000")
	refused(t, b, "must not pass limits.packet_bytes (2KiB)", "config", "set", "limits.topic_bytes", "4KiB")
	log := b.Log()
	if !strings.Contains(log, fmt.Sprintf(`"msg":"setting changed by an operator","peer_uid":%d,`, os.Getuid())) || !strings.Contains(log, `"key":"limits.subscriptions_total","from":"5000000","to":"1"`) {
		t.Errorf("the log has no line of the change:\n%s", log)
	}
	b = reborn(t, b)
	if rc := grantedMore(t, connect(t, b, mqtt.V5, "again"), 1); rc != 1 {
		t.Errorf("the first subscription: %v", rc)
	}
	if rc := grantedMore(t, connect(t, b, mqtt.V5, "other"), 2); rc != mqtt.QuotaExceeded || !threeKiBRefused(t, b) {
		t.Errorf("after a kill: %v", rc)
	}
	if out := must(t, b, "config", "get", "limits.retained_messages_total"); !strings.HasPrefix(out, "77 (set at run time ") || strings.Contains(must(t, b, "status"), "pending") {
		t.Errorf("after the restart it waited for: %s", out)
	}
	must(t, b, "reload")
	must(t, b, "config", "unset", "limits.packet_bytes")
	if out := must(t, b, "config", "unset", "limits.subscriptions_total"); out != "limits.subscriptions_total: 1 -> 5000000 (default)\n" {
		t.Errorf("said %q", out)
	}
	b = reborn(t, b)
	if rc := grantedMore(t, connect(t, b, mqtt.V5, "other"), 2); rc != 1 || threeKiBRefused(t, b) {
		t.Errorf("after it was taken back: %v", rc)
	}
}

// TestPinnedSettings: what the file has, only the file changes, and it says so; a file
// that takes a key over wins at the reload, and gives it back.
func TestPinnedSettings(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{Config: "limits:\n  topic_levels: 8\n"})
	text, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Count(string(text[:strings.Index(string(text), "topic_levels")]), "\n") + 1
	place := fmt.Sprintf("%s:%d", b.Config, line)
	refused(t, b, "limits.topic_levels is set at "+place+", and the file comes first", "config", "set", "limits.topic_levels", "9")
	refused(t, b, "belongs to the file: it says where the log is", "config", "set", "node.data_dir", "/tmp")
	must(t, b, "config", "set", "limits.inflight", "64")
	testkit.WriteFile(t, b.Config, strings.Replace(string(text), "topic_levels: 8", "inflight: 16", 1))
	out := must(t, b, "reload")
	for _, want := range []string{"limits.inflight: 64 -> 16\n", "limits.topic_levels: 8 -> 10\n", "limits.inflight: the value of " + place + " holds over what is set at run time (64)\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("reload does not say %q:\n%s", want, out)
		}
	}
	out = must(t, b, "config", "show", "--origin")
	for _, want := range []string{"# " + place + "\n", "# set at run time and not in force: limits.inflight: 64: the value of " + place + " holds\n", "# flag --data-dir\n", "# default\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("config show --origin does not say %q:\n%s", want, out)
		}
	}
	testkit.WriteFile(t, b.Config, string(text))
	if out := must(t, b, "reload"); !strings.Contains(out, "limits.inflight: 16 -> 64\n") {
		t.Errorf("reload:\n%s", out)
	}
	if out := must(t, b, "config", "diff"); !strings.Contains(out, "limits.inflight: 32 -> 64 (set at run time ") || !strings.Contains(out, "limits.topic_levels: 10 -> 8 ("+place+")") {
		t.Errorf("config diff:\n%s", out)
	}
	must(t, b, "config", "set", "limits.mqueue_bytes", "64MiB")
	must(t, b, "config", "set", "limits.packet_bytes", "32MiB")
	b.Stop()
	b = testkit.Start(t, testkit.Options{DataDir: b.DataDir, Config: "limits:\n  mqueue_bytes: 16MiB\n"})
	if out := must(t, b, "status"); !strings.Contains(out, "not in force       limits.packet_bytes: limits.packet_bytes (32MiB) must not pass limits.mqueue_bytes (16MiB)") {
		t.Errorf("status after a start in which two do not go together:\n%s", out)
	}
	if log := b.Log(); !strings.Contains(log, `"key":"limits.packet_bytes","value":"32MiB"`) || !strings.HasPrefix(must(t, b, "config", "get", "limits.inflight"), "64 (set at run time") {
		t.Errorf("what does not fit is not named, or cost more than itself:\n%s", log)
	}
	must(t, b, "config", "unset", "limits.packet_bytes")
	b.Stop()
	if r := b.Redoubt("", "config", "show", "--origin"); r.Code != 0 || strings.Contains(r.Stdout, "run time") || !strings.Contains(r.Stderr, "what is set at run time is not shown") {
		t.Errorf("without a broker: exit code %d\n%s", r.Code, r.Text())
	}
	if r := b.Redoubt("", "config", "set", "limits.inflight", "5"); r.Code != 3 {
		t.Errorf("without a broker: exit code %d\n%s", r.Code, r.Text())
	}
}

// TestSettingsAtTheSameTime: of many at once each is judged with what the others left:
// two that do not go together are never both taken.
func TestSettingsAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	sets := [][2]string{{"limits.packet_bytes", "8MiB"}, {"limits.mqueue_bytes", "4MiB"}, {"limits.inflight", "7"}, {"limits.awaiting_rel", "9"}}
	var running []*testkit.Process
	for _, s := range sets {
		running = append(running, testkit.Go(t, "", testkit.Command(t), "config", "set", s[0], s[1], "--config", b.Config, "--data-dir", b.DataDir))
	}
	var runs []testkit.Run
	for _, p := range running {
		runs = append(runs, p.Wait(patience))
	}
	if runs[2].Code != 0 || runs[3].Code != 0 || runs[0].Code+runs[1].Code != 1 {
		t.Errorf("%+v", runs)
	}
	b = reborn(t, b)
	for i, s := range sets {
		if out := must(t, b, "config", "get", s[0]); strings.HasPrefix(out, s[1]+" (set at run time") != (runs[i].Code == 0) {
			t.Errorf("%s: exit code %d, and now %s", s[0], runs[i].Code, out)
		}
	}
}
