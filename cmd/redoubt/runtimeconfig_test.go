package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

func (d *deck) settings() *settingRecords {
	return &settingRecords{log: d.log, view: d.view, within: d.keeper.within, applied: d.keeper.applied}
}

// setTo is the record of a setting, made at a minute.
func setTo(minute int, key, value string) fact.Value {
	k := config.Kept{Key: key, Value: value, At: time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC), UID: 7}
	return fact.Value{Name: key, Content: k.Content()}
}

// What was set is there after the process was killed, and what was taken back is not.
func TestSettingsAreRecords(t *testing.T) {
	d := newDeck(t, faultfs.New(), vfs.NewCrashableMem(), true)
	for _, v := range []fact.Value{setTo(1, "log.level", "warn"), setTo(2, "limits.inflight", "5"), setTo(3, "log.level", "debug"), {Name: "limits.inflight", Gone: true}} {
		if err := d.settings().Write(v); err != nil {
			t.Fatal(err)
		}
	}
	d.users() // shares the log and not the names
	for range 2 {
		kept, err := d.settings().Read()
		if err != nil || len(kept) != 1 || kept[0].Key != "log.level" || kept[0].Value != "debug" || kept[0].UID != 7 || kept[0].At.Minute() != 3 {
			t.Errorf("%+v, %v", kept, err)
		}
		d = d.killed(false)
	}
	d.disk.Space(0)
	if err := d.settings().Write(setTo(4, "log.level", "info")); err == nil || !strings.Contains(err.Error(), "Make room on the disk") {
		t.Errorf("a full disk: %v", err)
	}
}

// settingsNode is a node on which nothing runs, as far as its settings are concerned.
func settingsNode(t *testing.T, dir, file string) (*node, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	n := quietNode(t, dir, slog.New(slog.NewTextHandler(&out, nil)))
	n.count, n.level, n.environment, n.turn, n.audit = n.metrics.NewShard(), &slog.LevelVar{}, memory.Unlimited, make(chan struct{}, 1), audit.New(n.log, n.metrics.NewShard())
	path := filepath.Join(t.TempDir(), "redoubt.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	n.load = func() (*config.Loaded, error) {
		return config.Load(config.Options{File: path, DataDir: dir, Now: time.Now()})
	}
	l, err := n.load()
	if err != nil {
		t.Fatal(err)
	}
	n.loaded.Store(l)
	budget, err := n.budget(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	n.memory.Store(&budget)
	return n, &out
}

// A start takes what fits and names the rest, whatever is in the log.
func TestStartWithSettings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n, out := settingsNode(t, dir, "limits:\n  inflight: 9\n")
	keeper := &settingRecords{log: n.durable.log, view: n.durable.view, within: keepWithin, applied: n.durable.view.CatchUp}
	for _, v := range []fact.Value{
		setTo(1, "limits.topic_levels", "4"), setTo(2, "limits.inflight", "64"), setTo(3, "limits.no_such_key", "1"), setTo(4, "limits.topic_aliases", "5000"),
		setTo(5, "limits.memory", "16TiB"), setTo(6, "limits.connections_total", "10000000"), setTo(7, "limits.topic_bytes", "3KiB"), setTo(8, "limits.packet_bytes", "2KiB"),
		setTo(9, "limits.retained_messages_total", "50"), setTo(10, "log.level", "warn"), {Name: "limits.subscriptions", Content: []byte("7")},
	} {
		if err := keeper.Write(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.openSettings(n.durable.view.CatchUp); err != nil {
		t.Fatal(err)
	}
	c := n.loaded.Load().Config
	if c.Limits.TopicLevels != 4 || c.Limits.Inflight != 9 || c.Limits.TopicBytes != 3<<10 || c.Limits.PacketBytes != 1<<20 || c.Limits.RetainedMessagesTotal != 50 ||
		c.Limits.TopicAliases != 32 || c.Limits.Memory != config.AutoSize || c.Limits.ConnectionsTotal != config.Auto || c.Limits.Subscriptions != 100 {
		t.Errorf("%s", n.loaded.Load().YAML(true))
	}
	if n.level.Level() != slog.LevelWarn {
		t.Errorf("the level is %v", n.level.Level())
	}
	log := out.String()
	for _, key := range []string{"limits.no_such_key", "limits.topic_aliases", "limits.memory", "limits.connections_total", "limits.packet_bytes", "limits.subscriptions"} {
		if !strings.Contains(log, "level=WARN msg=\"a key that was set at run time does not fit any more and is left out; set it anew, or redoubt config unset it\" key="+key+" ") {
			t.Errorf("no warning names %s:\n%s", key, log)
		}
	}
	if !strings.Contains(log, "level=INFO msg=\"a key is set at run time and has another owner\" key=limits.inflight") {
		t.Errorf("nothing is said of the pinned key:\n%s", log)
	}
	pending, idle := n.unsettled()
	if len(pending) != 0 || len(idle) != 6 {
		t.Errorf("pending %q, idle %q", pending, idle)
	}
	if _, kept := n.restarted["limits.retained_messages_total"]; !kept || len(n.restarted) != 1 {
		t.Errorf("restarted: %v", n.restarted)
	}
}

// memo is a keeper that remembers, and refuses when it is told to.
type memo struct {
	kept []config.Kept
	fail error
}

func (m *memo) Read() ([]config.Kept, error) { return m.kept, nil }

func (m *memo) Write(v fact.Value) error {
	if m.fail == nil {
		m.kept = without(m.kept, v.Name)
		if !v.Gone {
			m.kept = append(m.kept, config.ReadKept(v.Name, v.Content))
		}
	}
	return m.fail
}

// layeredNode has settings in force, and a log that takes nothing more.
func layeredNode(t *testing.T, file string, kept ...string) (*node, *memo) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n, _ := settingsNode(t, dir, file)
	if err := ensureRules(n.loaded.Load().Config); err != nil {
		t.Fatal(err)
	}
	m := &memo{}
	for i := 0; i < len(kept); i += 2 {
		v := setTo(i, kept[i], kept[i+1])
		m.kept = append(m.kept, config.ReadKept(v.Name, v.Content))
	}
	n.kept = m
	c, err := n.layer(n.loaded.Load(), m.kept)
	if err != nil {
		t.Fatal(err)
	}
	n.loaded.Store(c.now)
	n.next.Store(c.next)
	m.fail = errors.New("the disk is full")
	return n, m
}

// What the log does not take is not in force, and what is refused does not reach the log.
func TestSettingsThatAreNotKept(t *testing.T) {
	n, _ := layeredNode(t, "limits:\n  inflight: 9\n", "limits.mqueue_bytes", "64MiB", "limits.packet_bytes", "32MiB")
	before, next := n.loaded.Load(), n.next.Load()
	never := func(admin.SettingChange) { t.Error("it would have been in force") }
	set := func(key, value string) error {
		_, err := n.SetSetting(t.Context(), key, value, 7, never)
		return err
	}
	var kept *admin.NotKeptError
	if err := set("limits.topic_levels", "3"); !errors.As(err, &kept) || err.Error() != "nothing has changed: the disk is full" {
		t.Errorf("set: %v", err)
	}
	if _, err := n.UnsetSetting(t.Context(), "limits.packet_bytes", 7, never); !errors.As(err, &kept) {
		t.Errorf("unset: %v", err)
	}
	for _, c := range []struct{ key, value, want string }{
		{"limits.topic_levels", "300", `limits.topic_levels: "300" is out of range`},
		{"limits.mqueue_bytes", "16MiB", "limits.packet_bytes (32MiB) must not pass limits.mqueue_bytes (16MiB)"},
		{"limits.inflight", "3", ":2, and the file comes first"},
		{"limits.connections_total", "10000000", "limits.connections_total is 10000000, but the open file limit holds fewer"},
		{"limits.memory", "16TiB", "limits.memory"},
		{"node.data_dir", "/tmp", "belongs to the file"},
	} {
		if err := set(c.key, c.value); err == nil || errors.As(err, &kept) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.key, c.value, err)
		}
	}
	if _, err := n.UnsetSetting(t.Context(), "limits.mqueue_bytes", 7, never); err == nil || !strings.HasPrefix(err.Error(), "limits.packet_bytes is set at run time to 32MiB, which would not fit any more: ") {
		t.Errorf("unset of what another needs: %v", err)
	}
	if _, err := n.UnsetSetting(t.Context(), "limits.topic_levels", 7, never); err == nil || err.Error() != "limits.topic_levels is not set at run time, so there is nothing to take back: 10 is its default" {
		t.Errorf("unset of what is not set: %v", err)
	}
	for key, want := range map[string]string{
		"limits.inflight":     "limits.inflight is not set at run time, so there is nothing to take back: 9 is from ",
		"limits.mqueue_byte":  "limits.mqueue_byte is not set at run time, so there is nothing to take back. Did you mean limits.mqueue_bytes, which is?",
		"limits.inflght":      "limits.inflght is no key. Did you mean limits.inflight?",
		"limits.publish_rate": "limits.publish_rate is not set at run time, so there is nothing to take back. redoubt config diff lists what is",
	} {
		if _, err := n.UnsetSetting(t.Context(), key, 7, never); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("unset of %s: %v\nwant %s", key, err, want)
		}
	}
	if err := os.Remove(n.loaded.Load().Config.Authz.RulesFile); err != nil {
		t.Fatal(err)
	}
	if err := set("limits.topic_levels", "3"); err == nil || errors.As(err, &kept) || !strings.HasPrefix(err.Error(), "the broker would not start with it: ") {
		t.Errorf("with a start that would be refused: %v", err)
	}
	if n.loaded.Load() != before || n.next.Load() != next {
		t.Error("the configuration in force has changed")
	}
}

// Whoever waits too long for his turn is told so and has changed nothing.
func TestSettingsWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		n.turn = make(chan struct{}, 1)
		done, err := n.takeTurn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var kept *admin.NotKeptError
		if _, err := n.SetSetting(ctx, "log.level", "warn", 7, nil); !errors.As(err, &kept) {
			t.Errorf("%v", err)
		}
		done()
		if done, err = n.takeTurn(t.Context()); err != nil {
			t.Fatal(err)
		}
		done()
	})
}

// A reload keeps what is set at run time, says what the file has taken over, and is
// refused if the two do not go together.
func TestReloadWithSettings(t *testing.T) {
	n, m := layeredNode(t, "", "limits.packet_bytes", "32MiB", "limits.mqueue_bytes", "64MiB", "limits.inflight", "5")
	reload := func(file string) (layers, error) {
		l, err := config.Load(config.Options{File: written(t, file), DataDir: n.loaded.Load().Config.Node.DataDir, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return n.layer(l, m.kept)
	}
	c, err := reload("limits: {inflight: 7}\n")
	if _, found := n.leftOut(c); err != nil || found || c.now.Config.Limits.Inflight != 7 || c.now.Config.Limits.PacketBytes != 32<<20 {
		t.Errorf("%v, %s", err, c.now.YAML(true))
	}
	if said := nowPinned(n.loaded.Load(), c.now); len(said) != 1 || !strings.HasPrefix(said[0], "limits.inflight: the value of ") || !strings.HasSuffix(said[0], "redoubt.yaml:1 holds over what is set at run time (5)") {
		t.Errorf("said %q", said)
	}
	c, err = reload("limits: {mqueue_bytes: 16MiB}\n")
	if i, found := n.leftOut(c); err != nil || !found || i.Key != "limits.packet_bytes" {
		t.Errorf("%v, %+v", err, i)
	}
	n.load = func() (*config.Loaded, error) {
		return config.Load(config.Options{File: written(t, "limits: {mqueue_bytes: 16MiB}\n"), Now: time.Now()})
	}
	if _, _, err := n.verify(newEase(t.Context(), n.clock)); err == nil || !strings.HasPrefix(err.Error(), "limits.packet_bytes is set at run time to 32MiB, which does not go with the file any more: ") {
		t.Errorf("%v", err)
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "redoubt.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A key that needs a restart stays as the start had it until the next one, whatever is
// set, unset or reloaded meanwhile.
func TestSettingsThatNeedARestart(t *testing.T) {
	n, m := layeredNode(t, "", "limits.retained_messages_total", "50")
	if v := n.loaded.Load().Config.Limits.RetainedMessagesTotal; v != 1000000 {
		t.Errorf("in force without a start: %d", v)
	}
	if p, _ := n.unsettled(); len(p) != 1 || p[0] != "limits.retained_messages_total: 1000000 -> 50" {
		t.Errorf("pending %q", p)
	}
	n.restarted = map[string]config.Kept{"limits.retained_messages_total": m.kept[0]}
	for _, kept := range [][]config.Kept{m.kept, nil} {
		c, err := n.layer(n.loaded.Load(), kept)
		if err != nil || c.now.Config.Limits.RetainedMessagesTotal != 50 || (kept == nil) != (c.next.Config.Limits.RetainedMessagesTotal == 1000000) {
			t.Errorf("%v: now %d, next %d", err, c.now.Config.Limits.RetainedMessagesTotal, c.next.Config.Limits.RetainedMessagesTotal)
		}
		s := n.Settings()
		if len(s.Data) == 0 {
			t.Error("no settings")
		}
	}
}
