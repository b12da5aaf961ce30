package builtin

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// oldHome is a data directory of the first releases: alice chose a password, dev has a
// generated secret.
func oldHome(t *testing.T) (dir, own string) {
	t.Helper()
	dir = t.TempDir()
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	own = d.addGenerated("dev")
	writeUsers(t, dir, d.file())
	return dir, own
}

func writeUsers(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// migrate takes dir over and says what is left in it.
func migrate(t *testing.T, dir string, k Keeper) (left string, err error) {
	t.Helper()
	_, _, err = Migrate(dir, k)
	entries, rerr := os.ReadDir(dir)
	if rerr != nil {
		t.Fatal(rerr)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " "), err
}

// deskOver is a desk whose users a keeper has.
func deskOver(t *testing.T, k *memory) *desk {
	t.Helper()
	clk := clock.NewManual(start)
	s := open(t, k)
	a, err := New(s, clk, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return &desk{t, s, a, clk, k}
}

func TestUsersOfAFileAreTakenOverOnce(t *testing.T) {
	dir, own := oldHome(t)
	if err := os.WriteFile(filepath.Join(dir, ".users.json.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	kept := newMemory()
	n, migrated, err := Migrate(dir, kept)
	if err != nil || n != 2 || !migrated {
		t.Fatal(n, migrated, err)
	}
	d := deskOver(t, kept)
	if !d.enters("alice", canary) || !d.enters("dev", own) || d.Len() != 2 || d.enters("alice", own) {
		t.Error("not everybody comes in")
	}
	if u := d.List()[0]; !u.Created.Equal(start) || !u.Changed.Equal(start) {
		t.Errorf("%+v", u)
	}
	st, err := os.Stat(filepath.Join(dir, MigratedName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, MigratedName)); err != nil || string(now) != string(file) {
		t.Errorf("the file is another one: %v", err)
	}
	before := maps.Clone(kept.users)
	if n, migrated, err := Migrate(dir, kept); err != nil || n != 0 || migrated || !slices.Equal(kept.steps, []int{2}) {
		t.Errorf("again: %v %v %v, steps %v", n, migrated, err, kept.steps)
	}
	if left, err := migrate(t, dir, kept); err != nil || left != MigratedName || !maps.EqualFunc(kept.users, before, slices.Equal) {
		t.Errorf("%v, left %s", err, left)
	}
	if left, err := migrate(t, t.TempDir(), newMemory()); err != nil || left != "" {
		t.Errorf("nothing to do: %v, left %q", err, left)
	}
}

// Cut off between any two steps, the next start goes on, and everybody is there once.
func TestMigrationThatWasCutOffGoesOn(t *testing.T) {
	dir, own := oldHome(t)
	kept := newMemory()
	kept.fail = errors.New("the log takes nothing")
	if left, err := migrate(t, dir, kept); !errors.Is(err, kept.fail) || left != FileName || len(kept.users) > 0 {
		t.Fatalf("before the records: %v, left %s", err, left)
	}
	// The records are there, the name is not: the folder cannot be changed.
	kept.fail = nil
	if err := os.Mkdir(filepath.Join(dir, MigratedName), 0o700); err != nil { // a name that cannot be taken
		t.Fatal(err)
	}
	if left, err := migrate(t, dir, kept); err == nil || left != FileName+" "+MigratedName || len(kept.users) > 0 {
		t.Fatalf("something was migrated before: %v, left %s", err, left)
	}
	if err := os.Remove(filepath.Join(dir, MigratedName)); err != nil {
		t.Fatal(err)
	}
	cut := &cutKeeper{kept, dir, t}
	if left, err := migrate(t, dir, cut); err == nil || !strings.Contains(err.Error(), "in the log now") || left != FileName+" "+MigratedName || len(kept.users) != 2 {
		t.Fatalf("before the rename: %v, left %s", err, left)
	}
	if err := os.Remove(filepath.Join(dir, MigratedName)); err != nil {
		t.Fatal(err)
	}
	if left, err := migrate(t, dir, kept); err != nil || left != MigratedName || !slices.Equal(kept.steps, []int{2}) {
		t.Fatalf("after it: %v, left %s, steps %v", err, left, kept.steps)
	}
	d := deskOver(t, kept)
	if !d.enters("alice", canary) || !d.enters("dev", own) || d.Len() != 2 {
		t.Error("not everybody comes in")
	}
}

// cutKeeper keeps, and lets nothing be renamed after that.
type cutKeeper struct {
	*memory
	dir string
	t   *testing.T
}

func (k *cutKeeper) Put(users ...Kept) error {
	if err := os.Mkdir(filepath.Join(k.dir, MigratedName), 0o700); err != nil {
		k.t.Fatal(err)
	}
	return k.memory.Put(users...)
}

// More users than one step has come in steps. Cut off in between, the next start does
// the rest; with anything else in the log it is not the rest.
func TestAMigrationOfManySteps(t *testing.T) {
	cred, err := dummy(fixedRandom(1), generated)
	if err != nil {
		t.Fatal(err)
	}
	tab := table{}
	for i := range PutMax + 10 {
		name := fmt.Sprintf("u%06d", i)
		tab[name] = &record{name: name, cred: cred, created: start, changed: start}
	}
	dir, kept := t.TempDir(), newMemory()
	lacks := func(want int) []Kept {
		missing, err := tab.missing(dir, kept)
		if err != nil || len(missing) != want {
			t.Fatalf("%d are missing, %v; want %d", len(missing), err, want)
		}
		return missing
	}
	kept.fail, kept.after = errors.New("power"), 1
	if err := kept.Put(lacks(len(tab))...); !errors.Is(err, kept.fail) || len(kept.users) != PutMax {
		t.Fatalf("%v, %d users", err, len(kept.users))
	}
	kept.fail = nil
	rest := lacks(10)
	content := kept.users["u000007"]
	delete(kept.users, "u000007") // by somebody who ran a broker without the file
	if missing, err := tab.missing(dir, kept); err == nil {
		t.Errorf("%d are missing", len(missing))
	}
	kept.users["u000007"] = content
	kept.users["z"] = content
	if missing, err := tab.missing(dir, kept); err == nil {
		t.Errorf("%d are missing", len(missing))
	}
	delete(kept.users, "z")
	if err := kept.Put(rest...); err != nil || !slices.Equal(kept.steps, []int{PutMax, 10}) {
		t.Errorf("%v, steps %v", err, kept.steps)
	}
	lacks(0)
}

// An old file must not bring back who was deleted, nor an old password.
func TestAnOldFileBesideTheRecords(t *testing.T) {
	dir, own := oldHome(t)
	text, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(s *Store) error
		says   string // "": the file says nothing new
	}{
		"nothing has changed": {func(*Store) error { return nil }, ""},
		"one was added":       {func(s *Store) error { _, _, err := s.AddGenerated("new"); return err }, ""},
		"one was deleted":     {func(s *Store) error { return s.Delete("dev") }, `of "dev";`},
		"all were deleted":    {func(s *Store) error { return errors.Join(s.Delete("dev"), s.Delete("alice")) }, `of "alice", "dev";`},
		"another password": {func(s *Store) error {
			_, err := s.SetPassword("alice", secret.FromString("another-password"))
			return err
		}, `of "alice";`},
	} {
		kept, dir := newMemory(), t.TempDir()
		writeUsers(t, dir, string(text))
		if _, err := migrate(t, dir, kept); err != nil {
			t.Fatal(err)
		}
		if err := c.change(open(t, kept)); err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(kept.users)
		writeUsers(t, dir, string(text))
		left, err := migrate(t, dir, kept)
		if c.says == "" {
			if err != nil || left != MigratedName {
				t.Errorf("%s: %v, left %s", name, err, left)
			}
		} else {
			path := filepath.Join(dir, FileName)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "mv "+path+" "+path+".old") || !strings.Contains(err.Error(), "redoubt user add") || left != FileName+" "+MigratedName {
				t.Errorf("%s: %v, left %s", name, err, left)
			}
			if s := fmt.Sprint(err); strings.Contains(s, "$") || strings.Contains(s, own) {
				t.Errorf("%s: a secret is shown: %s", name, s)
			}
		}
		if !maps.EqualFunc(kept.users, before, slices.Equal) {
			t.Errorf("%s: the records have changed", name)
		}
	}
	// Nothing was migrated here, and the log has somebody: it is not a first start either.
	kept := newMemory()
	if _, _, err := open(t, kept).AddGenerated("somebody"); err != nil {
		t.Fatal(err)
	}
	if left, err := migrate(t, dir, kept); err == nil || left != FileName || len(kept.users) != 1 {
		t.Errorf("%v, left %s", err, left)
	}
	many := table{}
	for i := range 10 {
		r := &record{name: fmt.Sprint("u", i), created: start, changed: start}
		many[r.name] = r
	}
	writeUsers(t, dir, fileOf(t, many))
	if _, err := migrate(t, dir, kept); err == nil || !strings.Contains(err.Error(), `of "u0", "u1", "u2", 7 more;`) {
		t.Error(err)
	}
}

// The file is judged by the opened descriptor, and the message is the command.
func TestAFileThatOthersCouldReadOrChangeIsRefused(t *testing.T) {
	dir, _ := oldHome(t)
	path, kept := filepath.Join(dir, FileName), newMemory()
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		want := "run: chmod 600 " + path
		if left, err := migrate(t, dir, kept); err == nil || !strings.HasSuffix(err.Error(), want) || left != FileName || len(kept.users) > 0 {
			t.Errorf("%o: %v, want %q", mode, err, want)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkGuard("/x y/users.json", st, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "'/x y/users.json'") || !strings.Contains(err.Error(), "belongs to uid") {
		t.Error("a foreign owner:", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for what, make := range map[string]func() error{
		"symbolic link": func() error { return os.Symlink("/dev/null", path) },
		"regular file":  func() error { return syscall.Mkfifo(path, 0o600) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if left, err := migrate(t, dir, kept); err == nil || !strings.Contains(err.Error(), what) || left != FileName {
			t.Errorf("%s: %v", what, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "{", `{"version":2,"users":[]}`} {
		writeUsers(t, dir, bad)
		if left, err := migrate(t, dir, kept); err == nil || !strings.Contains(err.Error(), path) || left != FileName {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := shellQuote("/a'b"); got != `'/a'\''b'` {
		t.Error(got)
	}
}

// Times of a file may be finer than those that are kept, and in any zone.
func TestTimesAreKeptInSeconds(t *testing.T) {
	text := strings.Replace(goodFile, `"2026-01-01T00:00:00Z"}`, `"2026-01-01T02:00:00.75+01:00"}`, 1)
	for range 2 { // the second time it says nothing new
		dir := t.TempDir()
		writeUsers(t, dir, text)
		kept := newMemory()
		for range 2 {
			if _, err := migrate(t, dir, kept); err != nil {
				t.Fatal(err)
			}
			writeUsers(t, dir, text)
		}
		if u := open(t, kept).List()[0]; u.Changed != time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC) {
			t.Errorf("%+v", u)
		}
	}
}
