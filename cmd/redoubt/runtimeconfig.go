package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// settingKeeper is where settings of run time survive.
type settingKeeper interface {
	Read() ([]config.Kept, error)
	// Write answers when the value is durable and Read has it; after an error it may or may
	// not be there after the next start.
	Write(fact.Value) error
}

// settingRecords keeps settings as records of the log. It implements settingKeeper.
type settingRecords struct {
	log     store.Log
	view    *view.View
	within  time.Duration
	applied func(context.Context, store.Seq) error // waits until a record was applied
}

// Read implements settingKeeper.
func (k *settingRecords) Read() (out []config.Kept, err error) {
	err = k.view.Values(store.Config, func(key string, content []byte) error {
		out = append(out, config.ReadKept(key, content))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is set at run time: %w", err)
	}
	return out, nil
}

// Write implements settingKeeper.
func (k *settingRecords) Write(v fact.Value) error {
	return keep(k.log, k.applied, k.within, store.Config, v)
}

// openSettings layers what was set at run time over the defaults, and says what of it
// does not count. Changes wait with applied.
func (n *node) openSettings(applied func(context.Context, store.Seq) error) error {
	n.kept = &settingRecords{log: n.durable.log, view: n.durable.view, within: keepWithin, applied: applied}
	kept, err := n.kept.Read()
	if err != nil {
		return err
	}
	l, err := n.loaded.Load().With(kept, n.judge)
	if err != nil {
		return err
	}
	n.restarted = map[string]config.Kept{}
	for _, k := range kept {
		if l.NeedsRestart(k.Key) && l.Origin(k.Key).Kind == config.FromRunTime {
			n.restarted[k.Key] = k
		}
	}
	n.next.Store(l)
	if len(kept) == 0 {
		n.loaded.Store(l)
		return nil
	}
	budget, err := n.budget(l.Config)
	if err != nil {
		return err
	}
	n.loaded.Store(l)
	n.limitMemory(budget)
	for _, i := range l.Idle() {
		if i.Pinned {
			n.log.Info("a key is set at run time and has another owner", "key", i.Key, "why", i.Why)
			continue
		}
		n.log.Warn("a key that was set at run time does not fit any more and is left out; set it anew, or redoubt config unset it", "key", i.Key, "value", i.Value, "why", i.Why)
	}
	n.log.Info("settings of run time are in force", "keys", len(kept)-len(l.Idle()), "left_out", len(l.Idle()))
	n.configureLevel(l)
	return nil
}

// judge refuses a configuration that this machine could not start with, or run.
func (n *node) judge(c *config.Config) error {
	connections, _, err := connectionsMax(c)
	if err != nil {
		return err
	}
	if _, err := memory.Plan(int64(c.Limits.Memory), memory.Read(os.DirFS("/")), n.environment); err != nil {
		return err
	}
	_, err = listener.NewDoor(doorLimits(c, connections), n.count)
	return err
}

// takeTurn waits for its turn to change the configuration. Each change is judged with
// what the one before has left.
func (n *node) takeTurn(ctx context.Context) (done func(), err error) {
	select {
	case n.turn <- struct{}{}:
		return func() { <-n.turn }, nil
	case <-ctx.Done():
		return nil, &admin.NotKeptError{Err: errors.New("another change of the configuration is not done yet. Try again")}
	}
}

// layers are a configuration as it may be put in force and as the next start would have
// it. They differ in keys that need a restart.
type layers struct{ now, next *config.Loaded }

// layer puts settings of run time under what base has from elsewhere.
func (n *node) layer(base *config.Loaded, kept []config.Kept) (c layers, err error) {
	if c.next, err = base.With(kept, n.judge); err != nil {
		return c, err
	}
	var running []config.Kept
	for _, k := range kept {
		if !base.NeedsRestart(k.Key) {
			running = append(running, k)
		}
	}
	for _, key := range sortedKeys(n.restarted) {
		running = append(running, n.restarted[key])
	}
	if len(running) == len(kept) && len(n.restarted) == 0 { // they are the same
		c.now = c.next
		return c, nil
	}
	c.now, err = base.With(running, n.judge)
	return c, err
}

// leftOut finds a key that counted until now and would not any more, for another reason
// than that the file has it.
func (n *node) leftOut(c layers) (config.Idle, bool) {
	for _, side := range [][2]*config.Loaded{{n.next.Load(), c.next}, {n.loaded.Load(), c.now}} {
		for _, i := range side[1].Idle() {
			if !i.Pinned && side[0].Origin(i.Key).Kind == config.FromRunTime {
				return i, true
			}
		}
	}
	return config.Idle{}, false
}

// nowPinned says which keys the file has taken over from run time.
func nowPinned(old, now *config.Loaded) (lines []string) {
	for _, i := range now.Idle() {
		if i.Pinned && old.Origin(i.Key).Kind == config.FromRunTime {
			lines = append(lines, fmt.Sprintf("%s: %s over what is set at run time (%s)", i.Key, i.Why, i.Value))
		}
	}
	return lines
}

// SetSetting implements admin.Settings.
func (n *node) SetSetting(ctx context.Context, key, value string, by int, before func(admin.SettingChange)) (admin.SettingChange, error) {
	return n.changeSetting(ctx, key, before, func(kept []config.Kept) ([]config.Kept, fact.Value, error) {
		if err := n.next.Load().Settable(key); err != nil {
			return nil, fact.Value{}, err
		}
		k := config.Kept{Key: key, Value: value, At: n.clock.Now().UTC(), UID: by}
		return append(without(kept, key), k), fact.Value{Name: key, Content: k.Content()}, nil
	})
}

// UnsetSetting implements admin.Settings. What was set can be taken back also where the
// key is unknown by now, or pinned.
func (n *node) UnsetSetting(ctx context.Context, key string, _ int, before func(admin.SettingChange)) (admin.SettingChange, error) {
	return n.changeSetting(ctx, key, before, func(kept []config.Kept) ([]config.Kept, fact.Value, error) {
		left := without(kept, key)
		if len(left) == len(kept) {
			return nil, fact.Value{}, n.notSet(key, kept)
		}
		return left, fact.Value{Name: key, Gone: true}, nil
	})
}

// notSet says why there is nothing to take back: the key is another one, or its value comes
// from somewhere else.
func (n *node) notSet(key string, kept []config.Kept) error {
	what := "is not set at run time, so there is nothing to take back"
	if s, there := n.next.Load().Setting(key); there {
		if n.next.Load().Origin(key).Kind == config.FromDefault {
			return &config.KeyError{Key: key, Fault: config.Unknown, What: fmt.Sprintf("%s: %s is its default", what, s.Text)}
		}
		return &config.KeyError{Key: key, Fault: config.Unknown, What: fmt.Sprintf("%s: %s is from %s. Change it there", what, s.Text, s.Origin)}
	}
	var keys []string
	for _, k := range kept {
		keys = append(keys, k.Key)
	}
	var known *config.KeyError
	switch near := config.NearestKey(key, keys); {
	case near != "":
		what += ". Did you mean " + near + ", which is?"
	case errors.As(config.Known(key), &known):
		what = known.What
	default:
		what += ". redoubt config diff lists what is"
	}
	return &config.KeyError{Key: key, Fault: config.Unknown, What: what}
}

func without(kept []config.Kept, key string) []config.Kept {
	return slices.DeleteFunc(slices.Clone(kept), func(k config.Kept) bool { return k.Key == key })
}

// changeSetting judges what edit makes of the settings, then makes it durable, then puts
// it in force. The file is not read again: a change of it that nobody reloaded is nobody's
// wish yet.
func (n *node) changeSetting(ctx context.Context, key string, before func(admin.SettingChange), edit func([]config.Kept) ([]config.Kept, fact.Value, error)) (admin.SettingChange, error) {
	var none admin.SettingChange
	done, err := n.takeTurn(ctx)
	if err != nil {
		return none, err
	}
	defer done()
	kept, err := n.kept.Read() // and not what we remember: a write may have been slow and be there after all
	if err != nil {
		return none, &admin.NotKeptError{Err: err}
	}
	kept, record, err := edit(kept)
	if err != nil {
		return none, err
	}
	old, was := n.loaded.Load(), n.next.Load()
	c, err := n.layer(old, kept)
	if err != nil {
		return none, err
	}
	for _, i := range c.next.Idle() {
		if i.Key == key && !record.Gone {
			if strings.HasPrefix(i.Why, key+" ") { // whoever refused it says what it is about
				return none, errors.New(i.Why)
			}
			return none, fmt.Errorf("%s: %s", key, i.Why)
		}
	}
	if i, found := n.leftOut(c); found {
		return none, fmt.Errorf("%s is set at run time to %s, which would not fit any more: %s", i.Key, i.Value, i.Why)
	}
	if err := c.now.Verify(old.Config); err != nil {
		return none, err
	}
	enforce, changed, err := n.settle(c)
	if err != nil {
		return none, err
	}
	if err := n.refuseUnsafe(c); err != nil {
		return none, err
	}
	report := changeOf(key, was, c.next, changed)
	report.PendingRestart = slices.ContainsFunc(config.Diff(n.loaded.Load().Config, c.next.Config), func(d config.Change) bool { return d.Key == key }) &&
		report.Reload == string(config.Restart)
	if err := n.kept.Write(record); err != nil {
		return none, &admin.NotKeptError{Err: err}
	}
	before(report)
	if key == logLevelKey { // somebody has said anew what it shall be
		n.mu.Lock()
		n.levelChosen = false
		n.mu.Unlock()
	}
	enforce()
	return report, nil
}

// changeOf says what becomes of key, and of the others.
func changeOf(key string, was, next *config.Loaded, changed []string) admin.SettingChange {
	r := admin.SettingChange{Key: key, Origin: next.Origin(key).String(), Reload: string(config.Live)}
	if s, there := was.Setting(key); there {
		r.From = s.Text
	}
	if s, there := next.Setting(key); there {
		r.To, r.Reload = s.Text, string(next.ReloadOf(key))
	}
	for _, line := range changed {
		if !strings.HasPrefix(line, key+": ") {
			r.Changed = append(r.Changed, line)
		}
	}
	return r
}

// pending are the keys that the next start changes.
func (n *node) pending() []config.Change {
	return config.Diff(n.loaded.Load().Config, n.next.Load().Config)
}

// unsettled are lines about settings of run time that are not in force: those that wait
// for a start, and those that do not fit.
func (n *node) unsettled() (pending, idle []string) {
	for _, d := range n.pending() {
		pending = append(pending, fmt.Sprintf("%s: %s -> %s", d.Key, d.From, d.To))
	}
	for _, i := range n.next.Load().Idle() {
		if !i.Pinned {
			idle = append(idle, fmt.Sprintf("%s: %s", i.Key, i.Why))
		}
	}
	return pending, idle
}

// Settings implements admin.Settings.
func (n *node) Settings() admin.SettingsReport {
	loaded := n.loaded.Load()
	pending := map[string]string{}
	for _, d := range n.pending() {
		pending[d.Key] = d.To
	}
	r := admin.SettingsReport{File: loaded.File}
	for _, s := range loaded.Settings() {
		out := admin.Setting{Key: s.Key, Value: s.Value, Text: s.Text, Origin: s.Origin, Pinned: loaded.Origin(s.Key).Pinned(), Reload: string(loaded.ReloadOf(s.Key))}
		if to, waits := pending[s.Key]; waits {
			out.Pending = &to
		}
		r.Data = append(r.Data, out)
	}
	for _, i := range n.next.Load().Idle() {
		r.NotInForce = append(r.NotInForce, admin.SettingNoForce{Key: i.Key, Value: i.Value, Pinned: i.Pinned, Why: i.Why})
	}
	return r
}
