package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestTheBrokerJudgesItself: a key that others can read is in the gauges, the log and an alarm soon
// after somebody has tried to reload, and gone from them when it is closed again.
func TestTheBrokerJudgesItself(t *testing.T) {
	t.Parallel()
	// It rests 99 times as long as a look took, which with the detector is minutes.
	b := testkit.Start(t, testkit.Options{Repeats: true, Config: "mqtt: { sys_interval: 1s }\n", Rules: "version: 1\nrules:\n  - {allow: subscribe, users: [ops], topics: [\"$SYS/broker/hardening/#\"]}\n"})
	wait := func(mark int, parts ...string) {
		t.Helper()
		if line, ok := b.Stderr.WaitFor(5*patience, mark, parts...); !ok {
			t.Fatalf("%q did not come, %s\n%s", parts, line, b.Log())
		}
	}
	const series = `redoubt_hardening_check{id="P2.2",phase="2",scope="files",severity="high"}`
	b.Redoubt("", "reload") // so that it does not wait until those are back who come after a start
	wait(0, `"event":"hardening_first"`)
	page := pageOf(t, b)
	if v, ok := page["redoubt_hardening_score"]; page[series] != 1 || !ok || v == 0 || page["redoubt_hardening_last_run_timestamp_seconds"] == 0 {
		t.Errorf("%v %v", page[series], v)
	}
	for _, name := range []string{"redoubt_connections_accepted_total", `redoubt_hardening_waivers{state="active"}`} { // it connects to nothing
		if v, ok := page[name]; !ok || v != 0 {
			t.Errorf("%s: %v, %v", name, v, ok)
		}
	}
	key := filepath.Join(b.DataDir, "certs", "server.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	mark := len(b.Stderr.String())
	if r := b.Redoubt("", "reload"); r.Code != 1 || !strings.Contains(r.Text(), "P2.2") || !strings.Contains(r.Text(), "chmod 0600 "+key) {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	wait(mark, `"event":"hardening_row"`, `"id":"P2.2-private-files"`, `"from":"pass","to":"fail"`, key)
	wait(mark, `"alarm":"hardening_failed"`, "P2.2-private-files (high, files)")
	wait(mark, `"alarm":"hardening_score"`)
	page = pageOf(t, b)
	if v, ok := page[series]; !ok || v != 0 || page[`redoubt_alarms{alarm="hardening_failed"}`] != 1 {
		t.Errorf("%v, %v", v, ok)
	}
	if r := b.Redoubt("", "status"); !strings.Contains(r.Stdout, "alarm              hardening_failed since ") || !strings.Contains(r.Stdout, "\nhardening ") || !strings.Contains(r.Stdout, "fails ") || !strings.Contains(r.Stdout, "P2.2") {
		t.Error(r.Text())
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	mark = len(b.Stderr.String())
	if r := b.Redoubt("", "reload"); r.Code != 0 {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	wait(mark, `"event":"hardening_row"`, `"id":"P2.2-private-files"`, `"from":"fail","to":"pass"`)
	wait(mark, `"msg":"alarm cleared"`, `"alarm":"hardening_failed"`)
	if v := pageOf(t, b)[series]; v != 1 {
		t.Error(v)
	}
	// Its score is in $SYS for whom a rule lets read it, and its reports are signed.
	for _, user := range []string{"ops", "other"} {
		b.AddUser(user, "a long password")
		r := b.Redoubt("", "sub", "-L", fmt.Sprintf("mqtts://%s:a%%20long%%20password@%s/$SYS/broker/hardening/score", user, b.Addr()), "--cafile", b.CA(), "-C", "1", "-W", "10")
		if told := regexp.MustCompile(`^[0-9]{1,3}\n$`).MatchString(r.Stdout); told != (user == "ops") {
			t.Errorf("%s: exit code %d\n%s", user, r.Code, r.Text())
		}
	}
	if r := b.Redoubt("", "doctor", "--verify", filepath.Join(b.DataDir, "reports")); r.Code != 0 || !strings.Contains(r.Stdout, "the chain is whole") {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
}
