package builtin

import (
	"errors"
	"io"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// fixedRandom is a source that repeats itself, so that a test can.
func fixedRandom(seed int64) io.Reader { return rand.New(rand.NewSource(seed)) }

func open(t *testing.T, k Keeper) *Store {
	t.Helper()
	s, err := Open(k, clock.NewManual(start))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUsersSurviveARestart(t *testing.T) {
	kept := newMemory()
	s := open(t, kept)
	if s.Len() != 0 || len(s.List()) != 0 || s.Known("alice") {
		t.Error("a new store has users")
	}
	if _, err := s.Add("bob", secret.FromString(canary)); err != nil {
		t.Fatal(err)
	}
	u, v, err := s.AddGenerated("alice")
	if err != nil || u.Kind != "generated" || !generatedForm(v.Reveal()) || !u.Created.Equal(start) {
		t.Fatalf("%+v %v", u, err)
	}
	again := open(t, kept)
	if l := again.List(); len(l) != 2 || l[0].Name != "alice" || l[1].Kind != "chosen" {
		t.Errorf("%+v", l)
	}
	if !slices.Equal(again.List(), s.List()) {
		t.Error("what is in force is not what was kept")
	}
	if c := again.lookup("alice").cred; !c.fits(v.Reveal()) {
		t.Error("the secret does not fit after a restart")
	}
	if err := again.Delete("bob"); err != nil {
		t.Fatal(err)
	}
	if l := open(t, kept).List(); len(l) != 1 || l[0].Name != "alice" {
		t.Errorf("%+v", l)
	}
}

// What could not be kept is not in force, and nobody is told of it.
func TestWhatIsNotKeptIsNotInForce(t *testing.T) {
	full := errors.New("the disk is full")
	d := newDesk(t, Options{Workers: 1})
	d.add("alice")
	var told []string
	d.OnChange(func(names []string) { told = append(told, names...) })
	before, was := d.List(), d.lookup("alice")
	d.kept.fail = full
	for what, change := range map[string]func() error{
		"add":      func() error { _, err := d.Add("bob", secret.FromString(canary)); return err },
		"generate": func() error { _, _, err := d.AddGenerated("bob"); return err },
		"password": func() error { _, err := d.SetPassword("alice", secret.FromString("another-password")); return err },
		"secret":   func() error { _, v, err := d.SetGenerated("alice"); return errors.Join(err, emptySecret(v)) },
		"delete":   func() error { return d.Delete("alice") },
	} {
		var keep *KeepError
		if err := change(); !errors.Is(err, full) || !errors.As(err, &keep) || !strings.Contains(err.Error(), keep.Name) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !slices.Equal(d.List(), before) || d.lookup("alice") != was || d.Known("bob") || len(told) > 0 {
		t.Errorf("it is %+v, told %v", d.List(), told)
	}
	if !d.enters("alice", canary) || d.enters("alice", "another-password") {
		t.Error("another password counts")
	}
	d.kept.fail = nil
	if err := d.Delete("alice"); err != nil || d.Known("alice") || !slices.Equal(told, []string{"alice"}) {
		t.Errorf("%v, told %v", err, told)
	}
}

func emptySecret(v secret.Value) error {
	if v.Empty() {
		return nil
	}
	return errors.New("a secret was given out that does not count")
}

// slowKeeper does not answer until it is let go.
type slowKeeper struct {
	*memory
	began, free chan struct{}
}

func (k slowKeeper) Put(users ...Kept) error {
	k.began <- struct{}{}
	<-k.free
	return k.memory.Put(users...)
}

// A disk that is slow holds up the next change, and nothing else: nobody who logs in,
// and not the end of a user whose time has come.
func TestASlowDiskHoldsUpOnlyChanges(t *testing.T) {
	k := slowKeeper{newMemory(), make(chan struct{}, 2), make(chan struct{})}
	s := open(t, k)
	if _, _, err := s.AddTemporary("tmp", time.Second); err != nil {
		t.Fatal(err)
	}
	var told []string
	s.OnChange(func(names []string) { told = append(told, names...) })
	done := make(chan error, 2)
	for _, name := range []string{"ann", "ann"} { // the second is judged by what the first made
		go func() { _, _, err := s.AddGenerated(name); done <- err }()
	}
	<-k.began
	if s.Known("ann") || !s.Known("tmp") {
		t.Error("a user is in force before he is kept")
	}
	s.clock.(*clock.Manual).Advance(time.Second)
	if names, _ := s.ExpireTemporary(); !slices.Equal(names, []string{"tmp"}) || !slices.Equal(told, names) {
		t.Errorf("expired %v, told %v", names, told)
	}
	close(k.free)
	a, b := <-done, <-done
	if (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), ErrExists) || !s.Known("ann") || len(k.began) != 0 {
		t.Errorf("%v, %v", a, b)
	}
}

// A record that cannot be read refuses the start, with whose it is and what to do.
func TestARecordThatCannotBeReadIsRefused(t *testing.T) {
	kept := newMemory()
	if _, _, err := open(t, kept).AddGenerated("alice"); err != nil {
		t.Fatal(err)
	}
	good := kept.users["alice"]
	change := func(at int, b byte) []byte {
		out := slices.Clone(good)
		out[at] = b
		return out
	}
	for name, c := range map[string]struct {
		user    string
		content []byte
		says    string
	}{
		"nothing":       {"alice", nil, `user "alice" cannot be read from the log: its record is empty`},
		"newer format":  {"alice", change(0, 3), "format 3 and this version reads 1 and 2"},
		"no format":     {"alice", change(0, 0), "format 0"},
		"another kind":  {"alice", change(1, 2), "kind 2"},
		"short":         {"alice", good[:len(good)-1], "65 bytes, want 66"},
		"long":          {"alice", append(slices.Clone(good), 0), "67 bytes, want 66"},
		"a late time":   {"alice", change(len(good)-8, 1), "time"},
		"an early time": {"alice", change(len(good)-16, 0xff), "time"},
		"a bad name":    {"a/b", good, `user "a/b" cannot be read`},
		"no name":       {"", good, `user "" cannot be read`},
		"a long name":   {strings.Repeat("n", 100_000), good, `nnn"... cannot be read`},
	} {
		kept.users = map[string][]byte{"bob": good, c.user: c.content}
		_, err := Open(kept, clock.NewManual(start))
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "restore the data directory from a backup") || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept.users = map[string][]byte{}
	for i := range UsersMax + 1 {
		kept.users["u"+strconv.Itoa(i)] = good
	}
	if _, err := Open(kept, clock.NewManual(start)); err == nil || !strings.Contains(err.Error(), "at most 100000") {
		t.Errorf("too many: %v", err)
	}
	delete(kept.users, "u0")
	s, err := Open(kept, clock.NewManual(start))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddGenerated("one-more"); err == nil || !strings.Contains(err.Error(), "100000 users already") {
		t.Errorf("one too many was added: %v", err)
	}
	if _, _, err := s.SetGenerated("u1"); err != nil {
		t.Errorf("a full house takes no new password: %v", err)
	}
}

func TestAddSetDelete(t *testing.T) {
	s := open(t, newMemory())
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
	s := open(t, newMemory())
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
