package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/local"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
	"github.com/redoubtmq/redoubt/store/view"
)

// userCanary is the password of the users of these tests, and oldHash a hash of it as the
// first releases wrote it.
const (
	userCanary = "canary-5up3r-53cr37"
	oldHash    = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$qY4Qi6r9JZu7U7wwseNEIOXTiq+BSPk8mBBA8hO8dNQ"
)

// quietNode is a node that has its store and nothing else, until the end of the test.
func quietNode(t *testing.T, dir string, log *slog.Logger) *node {
	t.Helper()
	loaded, err := config.Load(config.Options{DataDir: dir, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{clock: clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), log: log, metrics: metrics.New()}
	n.loaded.Store(loaded)
	n.commits = n.metrics.NewShard()
	if err := n.openStore(loaded.Config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.closeStore)
	return n
}

// deck is a log on a disk that can fail, its index, and the keeper over both.
type deck struct {
	t      *testing.T
	disk   *faultfs.FS
	index  vfs.FS
	log    *local.Log
	view   *view.View
	keeper *userRecords
}

// newDeck opens one; with run the index follows by itself, as in a broker.
func newDeck(t *testing.T, disk *faultfs.FS, index vfs.FS, run bool) *deck {
	t.Helper()
	d := &deck{t: t, disk: disk, index: index}
	var err error
	if d.log, _, err = local.OpenOn(disk, local.Options{ReserveBytes: -1}); err != nil {
		t.Fatal(err)
	}
	if d.view, err = view.Open(t.Context(), view.Options{Log: d.log, Folder: "index", FS: index}); err != nil {
		t.Fatal(err)
	}
	d.keeper = &userRecords{log: d.log, view: d.view, within: 20 * time.Second, applied: d.view.CatchUp}
	if run {
		d.view.Run(silent{})
		d.keeper.applied = d.view.Wait
	}
	t.Cleanup(d.close)
	return d
}

type silent struct{}

func (silent) Applied(store.Seq, []view.Item) {}

func (d *deck) close() {
	_ = d.view.Close()
	_ = d.log.Close()
}

// killed is the deck after a kill -9: the log has what was written, the index what was
// flushed.
func (d *deck) killed(run bool) *deck {
	d.t.Helper()
	disk, index := d.disk.Kill(), d.index.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	d.close()
	return newDeck(d.t, disk, index, run)
}

func (d *deck) users() *builtin.Store {
	d.t.Helper()
	s, err := builtin.Open(d.keeper, clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)))
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// enters tells whether a password is a user's.
func enters(t *testing.T, s *builtin.Store, name, password string) bool {
	t.Helper()
	a, err := builtin.New(s, clock.System{}, builtin.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	got := make(chan auth.Result, 1)
	a.Authenticate(&auth.Request{Username: name, HasUsername: true, HasPassword: true, Password: secret.FromString(password)}, func(r auth.Result) { got <- r })
	return (<-got).Outcome == auth.Allow
}

// What a change of users said is done is there after the process was killed: with the
// index behind, and with it away.
func TestUsersAreRecords(t *testing.T) {
	for _, run := range []bool{true, false} {
		d := newDeck(t, faultfs.New(), vfs.NewCrashableMem(), run)
		s := d.users()
		if _, err := s.Add("alice", secret.FromString(userCanary)); err != nil {
			t.Fatal(err)
		}
		_, own, err := s.AddGenerated("dev")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.AddGenerated("gone"); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete("gone"); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := d.keeper.Users(func(string, []byte) error { n++; return nil }); err != nil || n != 2 {
			t.Errorf("the index has %d at once, %v", n, err)
		}
		d = d.killed(!run)
		s = d.users()
		if !enters(t, s, "alice", userCanary) || !enters(t, s, "dev", string(own.Reveal())) || s.Known("gone") || s.Len() != 2 {
			t.Errorf("after a kill: %+v", s.List())
		}
		if err := s.Delete("alice"); err != nil {
			t.Fatal(err)
		}
		d.index = vfs.NewCrashableMem()
		d = d.killed(run)
		if l := d.users().List(); len(l) != 1 || l[0].Name != "dev" {
			t.Errorf("from the log alone: %+v", l)
		}
	}
}

// The log refuses in words, and then nothing has changed.
func TestUsersWhenTheLogRefuses(t *testing.T) {
	broken := errors.New("the disk is on fire")
	for name, c := range map[string]struct {
		spoil func(d *deck)
		says  string
	}{
		"full": {func(d *deck) { d.disk.Space(0) }, "Make room on the disk"},
		"a write fails": {func(d *deck) {
			d.disk.Fault(func(op faultfs.Op, _ string) error { return map[faultfs.Op]error{faultfs.Write: broken}[op] })
		}, broken.Error()},
		"a flush fails": {func(d *deck) {
			d.disk.Fault(func(op faultfs.Op, _ string) error { return map[faultfs.Op]error{faultfs.SyncFile: broken}[op] })
		}, "start the broker again"},
		"closed": {func(d *deck) { _ = d.log.Close() }, "Try again"},
		"not applied": {func(d *deck) {
			d.keeper.within = time.Millisecond
			d.keeper.applied = func(ctx context.Context, _ store.Seq) error { <-ctx.Done(); return ctx.Err() }
		}, "may count after the next start"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeck(t, faultfs.New(), vfs.NewCrashableMem(), true)
			s := d.users()
			if _, _, err := s.AddGenerated("dev"); err != nil {
				t.Fatal(err)
			}
			c.spoil(d)
			_, _, err := s.AddGenerated("new")
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `user "new" was not changed`) || s.Known("new") {
				t.Errorf("add: %v", err)
			}
			if err := s.Delete("dev"); err == nil || !s.Known("dev") {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

// A disk that does not answer is not waited for for ever.
func TestUsersWhenTheDiskHangs(t *testing.T) {
	d := newDeck(t, faultfs.New(), vfs.NewCrashableMem(), true)
	s := d.users()
	free, hung := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.disk.Fault(func(op faultfs.Op, _ string) error {
		if op == faultfs.SyncFile {
			once.Do(func() { close(hung); <-free })
		}
		return nil
	})
	d.keeper.within = 20 * time.Millisecond
	if _, _, err := s.AddGenerated("dev"); err == nil || !strings.Contains(err.Error(), "the disk has not written it within 20ms") || s.Known("dev") {
		t.Errorf("%v", err)
	}
	<-hung
	close(free)
	d.keeper.within = 20 * time.Second
	if _, _, err := s.AddGenerated("dev"); err != nil || !s.Known("dev") {
		t.Errorf("when it answers again: %v", err)
	}
}

// More users than a batch of the log has room for come in several.
func TestManyUsersAtOnce(t *testing.T) {
	d := newDeck(t, faultfs.New(), vfs.NewCrashableMem(), false)
	users := make([]builtin.Kept, builtin.PutMax+1)
	for i := range users {
		users[i] = builtin.Kept{Name: "u" + hex.EncodeToString([]byte{byte(i >> 16), byte(i >> 8), byte(i)}), Content: make([]byte, 66)}
	}
	if builtin.PutMax > store.BatchRecordsMax {
		t.Fatal("a step is no batch")
	}
	if err := d.keeper.Put(users...); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := d.keeper.Users(func(name string, _ []byte) error {
		if name != users[n].Name {
			return errors.New("out of order: " + name)
		}
		n++
		return nil
	}); err != nil || n != len(users) {
		t.Errorf("%d, %v", n, err)
	}
}

// oldUsersFile puts a users file of the first releases into dir: alice has userCanary.
func oldUsersFile(t *testing.T, dir string) {
	t.Helper()
	const text = `{
  "version": 1,
  "users": [
    {
      "name": "alice",
      "hash": "` + oldHash + `",
      "created": "2026-01-01T00:00:00Z",
      "changed": "2026-02-01T00:00:00Z"
    }
  ]
}
`
	if err := os.WriteFile(filepath.Join(dir, builtin.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The power goes at every change the log makes while a users file is taken over: the
// next start has everybody once, and no secret is shown on the way.
func TestMigrationSurvivesPowerCuts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for cut, done := 1, false; !done; cut++ {
		dir := t.TempDir()
		oldUsersFile(t, dir)
		disk := faultfs.New()
		d := newDeck(t, disk, vfs.NewCrashableMem(), false)
		disk.PowerAt(cut)
		_, migrated, err := builtin.Migrate(dir, d.keeper)
		if done = migrated; !migrated && err == nil {
			t.Fatal("no file and no error")
		}
		if err != nil && strings.Contains(err.Error(), oldHash[40:]) {
			t.Errorf("a hash is shown: %v", err)
		}
		after := disk.Crash(rnd)
		d.close()
		d = newDeck(t, after, vfs.NewCrashableMem(), false)
		if _, again, err := builtin.Migrate(dir, d.keeper); err != nil || again == migrated {
			t.Errorf("power cut %d: %v, %v after %v", cut, again, err, migrated)
		}
		if s := d.users(); s.Len() != 1 || !enters(t, s, "alice", userCanary) {
			t.Errorf("power cut %d: %+v", cut, s.List())
		}
		if _, err := os.Stat(filepath.Join(dir, builtin.FileName)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("power cut %d: the file is there: %v", cut, err)
		}
		if cut > 50 {
			t.Fatal("it never gets through")
		}
	}
}

// A start says once what became of the users file, and neither that nor what it refuses
// shows a secret. They are in the store, whose folders are closed to others.
func TestStartTakesTheUsersFileOver(t *testing.T) {
	dir := dataDir(t)
	oldUsersFile(t, dir)
	var log bytes.Buffer
	n := quietNode(t, dir, slog.New(slog.NewJSONHandler(&log, nil)))
	c := n.loaded.Load().Config
	if err := n.openUsers(c, n.durable.view.CatchUp); err != nil {
		t.Fatal(err)
	}
	if !enters(t, n.users, "alice", userCanary) {
		t.Error("alice does not come in")
	}
	if strings.Count(log.String(), builtin.MigratedName) != 1 {
		t.Errorf("the log says\n%s", &log)
	}
	if err := n.openUsers(c, n.durable.view.CatchUp); err != nil || strings.Count(log.String(), builtin.MigratedName) != 1 {
		t.Errorf("again: %v, the log says\n%s", err, &log)
	}
	if err := n.users.Delete("alice"); err != nil {
		t.Fatal(err)
	}
	oldUsersFile(t, dir) // somebody puts his copy back
	stale := n.openUsers(c, n.durable.view.CatchUp)
	if stale == nil || !strings.Contains(stale.Error(), `"alice"`) || n.users.Known("alice") {
		t.Errorf("an old file: %v", stale)
	}
	if err := os.Remove(filepath.Join(dir, builtin.FileName)); err != nil {
		t.Fatal(err)
	}
	body := (&fact.Value{Name: "mallory", Content: []byte("\x02" + userCanary)}).Append(nil)
	told := make(chan store.Seq, 1)
	n.durable.log.Submit(0, []store.Record{{Kind: store.User, Body: body}}, func(seq store.Seq, _ error) { told <- seq })
	if err := n.durable.view.CatchUp(t.Context(), <-told); err != nil {
		t.Fatal(err)
	}
	newer := n.openUsers(c, n.durable.view.CatchUp)
	if newer == nil || !strings.Contains(newer.Error(), `user "mallory" cannot be read from the log`) {
		t.Errorf("a newer record: %v", newer)
	}
	for what, shown := range map[string]string{"the log": log.String(), "stale": stale.Error(), "newer": newer.Error()} {
		if strings.Contains(shown, userCanary) || strings.Contains(shown, oldHash[40:]) {
			t.Errorf("%s shows a secret: %s", what, shown)
		}
	}
	for _, folder := range []string{".", "store", "store/log", "store/view"} {
		if st, err := os.Stat(filepath.Join(dir, folder)); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", folder, st, err)
		}
	}
}

// Making a data directory is nothing about users: a file waits for the first start.
func TestInitLeavesUsersAlone(t *testing.T) {
	dir := dataDir(t)
	oldUsersFile(t, dir)
	if out, err, _ := command(t, "", "init", "--data-dir", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, builtin.FileName)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "store")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a store: %v", err)
	}
}

// The commands without a broker take the file over as a start does, and leave nothing
// that others can read.
func TestUserCommandsTakeTheUsersFileOver(t *testing.T) {
	dir := dataDir(t)
	oldUsersFile(t, dir)
	var page struct {
		Data []struct {
			UserID string `json:"user_id"`
		}
	}
	if out, err, _ := command(t, "", "user", "add", "bob", "--data-dir", dir); err != nil || !strings.Contains(out, `user "bob" is added`) || !strings.Contains(out, builtin.MigratedName) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err, _ := command(t, "", "user", "list", "-o", "json", "--data-dir", dir)
	if err != nil || json.Unmarshal([]byte(out), &page) != nil || len(page.Data) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if st, err := d.Info(); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", path, st.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	oldUsersFile(t, dir)
	if _, err, _ := command(t, "", "user", "delete", "alice", "--data-dir", dir); err != nil {
		t.Errorf("a file that says nothing new: %v", err)
	}
	oldUsersFile(t, dir)
	if _, err, code := command(t, "", "user", "list", "--data-dir", dir); err == nil || code != 1 || !strings.Contains(err.Error(), "mv ") {
		t.Errorf("exit code %d, %v", code, err)
	}
}
