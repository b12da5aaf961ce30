package main

import (
	"os"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/admin"
)

// A reload is refused, with the words of config set, if a start would be, and then nothing
// has changed.
func TestReloadThatAStartWouldRefuse(t *testing.T) {
	n, _ := layeredNode(t, "")
	before, next := n.loaded.Load(), n.next.Load()
	if err := n.refuseUnsafe(layers{next: next}); err != nil {
		t.Fatalf("a start with what is in force: %v", err)
	}
	open := before.Config.Authz.RulesFile
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := n.Reload(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "the broker would not start with it: refusing to start: P2.2: ") || !strings.Contains(err.Error(), open) {
		t.Errorf("a reload with rules that others can write: %v", err)
	}
	if n.loaded.Load() != before || n.next.Load() != next {
		t.Error("the configuration in force has changed")
	}
}

// What a change did is one line with one pair of brackets.
func TestChangeText(t *testing.T) {
	for want, c := range map[string]admin.SettingChange{
		"a: 1 -> 2 (set at run time now)\n":                                          {Reload: "live"},
		"a: 1 -> 2, for new connections (set at run time now)\n":                     {Reload: "new connections"},
		"a: 1 -> 2, from the next start on (set at run time now; pending restart)\n": {Reload: "restart", PendingRestart: true},
	} {
		c.Key, c.From, c.To, c.Origin = "a", "1", "2", "set at run time now"
		if got := changeText(&c); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}

// Whoever leaves out the value, or has the key nearly right, is told what may stand there.
func TestConfigSetWithoutAValue(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "a key and its value are missing: redoubt config set KEY VALUE"},
		{[]string{"limits.inflight"}, "limits.inflight has no value: write a number, 1 to 65535; the default is 32. What it is now: redoubt config get limits.inflight."},
		{[]string{"limits.inflght"}, "limits.inflght is no key. Did you mean limits.inflight?"},
		{[]string{"mqtt.versions", "[a,", "b]"}, "mqtt.versions: 2 values. A list is one value in quotes"},
	} {
		_, err, code := command(t, "", append([]string{"config", "set"}, c.args...)...)
		if code != 2 || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("config set %q: exit code %d, %v\nwant %s", c.args, code, err, c.want)
		}
	}
	if err := noSuchKey("limits.inflght"); !strings.Contains(err.Error(), "Did you mean limits.inflight?") {
		t.Errorf("%v", err)
	}
	if err := noSuchKey("listeners.other.bind"); !strings.Contains(err.Error(), "listeners.other.bind has no value on the running broker") {
		t.Errorf("%v", err)
	}
}
