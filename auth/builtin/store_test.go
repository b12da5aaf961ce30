package builtin

import (
	"errors"
	"io"
	"io/fs"
	"math/rand"
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

// fixedRandom is a source that repeats itself, so that a test can.
func fixedRandom(seed int64) io.Reader { return rand.New(rand.NewSource(seed)) }

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, clock.NewManual(start))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUsersSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if s.Len() != 0 || len(s.List()) != 0 || s.Known("alice") {
		t.Error("a new store has users")
	}
	if _, err := os.Stat(s.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Error("opening made a file")
	}
	if _, err := s.Add("bob", secret.FromString(canary)); err != nil {
		t.Fatal(err)
	}
	u, v, err := s.AddGenerated("alice")
	if err != nil || u.Kind != "generated" || !generatedForm(v.Reveal()) || !u.Created.Equal(start) {
		t.Fatalf("%+v %v", u, err)
	}
	st, err := os.Stat(s.Path())
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	again := open(t, dir)
	if l := again.List(); len(l) != 2 || l[0].Name != "alice" || l[1].Kind != "chosen" {
		t.Errorf("%+v", l)
	}
	if !slices.Equal(again.List(), s.List()) {
		t.Error("what is in force is not what was written")
	}
	if c := again.lookup("alice").cred; !c.fits(v.Reveal()) {
		t.Error("the secret does not fit after a restart")
	}
	if err := again.Delete("bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetPassword("bob", secret.FromString(canary)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a change did not start from what the file holds: %v", err)
	}
}

func TestAddSetDelete(t *testing.T) {
	s := open(t, t.TempDir())
	var told []string
	s.OnChange(func(names []string) { told = append(told, names...) })
	if _, err := s.Add("alice", secret.FromString(canary)); err != nil {
		t.Fatal(err)
	}
	first := s.lookup("alice")
	if _, err := s.Add("alice", secret.FromString("other-password")); !errors.Is(err, ErrExists) {
		t.Error("added twice:", err)
	}
	if _, _, err := s.AddGenerated("alice"); !errors.Is(err, ErrExists) {
		t.Error("added twice:", err)
	}
	if s.lookup("alice") != first {
		t.Error("a refused change changed something")
	}
	if _, err := s.SetPassword("nobody", secret.FromString(canary)); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := s.Delete("nobody"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if len(told) != 0 {
		t.Errorf("told %v, and nobody lost a credential", told)
	}
	s.clock.(*clock.Manual).Advance(time.Hour)
	u, err := s.SetPassword("alice", secret.FromString("other-password"))
	if err != nil || !u.Created.Equal(start) || !u.Changed.Equal(start.Add(time.Hour)) {
		t.Errorf("%+v %v", u, err)
	}
	if _, _, err := s.SetGenerated("alice"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("alice"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []string{"alice", "alice", "alice"}) {
		t.Errorf("told %v", told)
	}
}

func TestNamesAndPasswordsThatAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	for name, says := range map[string]string{
		"":                       "needs a name",
		"a/b":                    "could never expand ${username}",
		"+":                      "could never expand ${username}",
		"a#":                     "could never expand ${username}",
		"$SYS":                   "starts with $",
		"a\x00b":                 "U+0000",
		"a\nb":                   "U+000A",
		"a\x7f":                  "U+007F",
		"a\u0085":                "space",
		"a\u202eb":               "U+202E",
		"a\u200bb":               "U+200B",
		" a":                     "space",
		"a\xff":                  "UTF-8",
		strings.Repeat("a", 257): "at most 256 bytes",
	} {
		if _, err := s.Add(name, secret.FromString(canary)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", name, err, says)
		}
		if _, _, err := s.AddGenerated(name); err == nil {
			t.Errorf("%q was given a secret", name)
		}
	}
	v, err := generate(fixedRandom(3))
	if err != nil {
		t.Fatal(err)
	}
	for password, says := range map[string]string{
		"":                        "empty",
		"1234567":                 "fewer than 8",
		strings.Repeat("x", 1025): "more than 1024",
		string(v.Reveal()):        "form of a generated secret",
	} {
		if _, err := s.Add("alice", secret.FromString(password)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bytes: %v, want %q", len(password), err, says)
		}
	}
	for _, name := range []string{"ünïcode", "a b", "a@example.com", strings.Repeat("a", 256), "a\\b", "日本"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if s.Len() != 0 {
		t.Error("a refused user exists")
	}
}

// The file is judged by the opened descriptor, and the message is the command.
func TestAFileThatOthersCouldReadOrChangeIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, _, err := s.AddGenerated("alice"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666} {
		if err := os.Chmod(s.Path(), mode); err != nil {
			t.Fatal(err)
		}
		want := "run: chmod 600 " + s.Path()
		_, err := Open(dir, clock.NewManual(start))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%o: %v, want %q", mode, err, want)
		}
		if _, err := s.Verify(); err == nil {
			t.Errorf("%o: reloaded", mode)
		}
		if _, _, err := s.AddGenerated("bob"); err == nil {
			t.Errorf("%o: changed", mode)
		}
	}
	if err := os.Chmod(s.Path(), 0o400); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkGuard("/x y/users.json", st, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "'/x y/users.json'") || !strings.Contains(err.Error(), "belongs to uid") {
		t.Error("a foreign owner:", err)
	}
	if err := checkFolder(dir, os.Geteuid()+1); err == nil {
		t.Error("a first file in a foreign folder")
	}
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	for what, make := range map[string]func() error{
		"symbolic link": func() error { return os.Symlink("/dev/null", s.Path()) },
		"regular file":  func() error { return syscall.Mkfifo(s.Path(), 0o600) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, clock.NewManual(start)); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if err := os.Remove(s.Path()); err != nil {
			t.Fatal(err)
		}
	}
	if got := shellQuote("/a'b"); got != `'/a'\''b'` {
		t.Error(got)
	}
}

// A102: a reload that cannot be believed leaves the users in force.
func TestReloadHasTwoPhases(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, v, err := s.AddGenerated("alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddGenerated("bob"); err != nil {
		t.Fatal(err)
	}
	var told []string
	s.OnChange(func(names []string) { told = names })
	good, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	kept := s.lookup("alice")
	for _, bad := range []string{"", "{", `{"version":2,"users":[]}`, string(good[:len(good)/2])} {
		if err := os.WriteFile(s.Path(), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Verify(); err == nil || r != nil || !strings.Contains(err.Error(), s.Path()) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Error("a missing file means no users:", err)
	}
	if _, _, err := s.AddGenerated("carol"); err == nil {
		t.Error("a change wrote a file without the users in force")
	}
	if s.Len() != 2 {
		t.Fatal("refused reloads changed the users")
	}
	if err := os.WriteFile(s.Path(), []byte(strings.Replace(string(good), `"bob"`, `"carol"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Verify()
	if err != nil || r.Len() != 2 || s.Known("carol") {
		t.Fatal("Verify changed something:", err)
	}
	s.Apply(r)
	if !s.Known("carol") || s.Known("bob") || !slices.Equal(told, []string{"bob"}) {
		t.Errorf("told %v", told)
	}
	if c := s.lookup("alice"); c != kept || !c.cred.fits(v.Reveal()) {
		t.Error("a user that did not change was replaced")
	}
	r, err = s.Verify()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("carol"); err != nil {
		t.Fatal(err)
	}
	s.Apply(r)
	if s.Known("carol") {
		t.Error("a reload brought back a user deleted after it was read")
	}
}

func TestTwoProgramsDoNotUndoEachOther(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	if _, _, err := a.AddGenerated("alice"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.AddGenerated("bob"); err != nil {
		t.Fatal(err)
	}
	if l := open(t, dir).List(); len(l) != 2 {
		t.Errorf("%+v", l)
	}
	unlock, err := lockChanges(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.AddGenerated("carol"); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Error("changed in spite of the lock:", err)
	}
	unlock()
	if _, _, err := a.AddGenerated("carol"); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d files are left, %v; want the users and the lock", len(entries), err)
	}
	if filepath.Base(a.Path()) != "users.json" {
		t.Error(a.Path())
	}
}
