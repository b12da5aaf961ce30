package builtin

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// FileName is the users file inside the data directory.
const FileName = "users.json"

// What a change of users can be refused for, besides a bad name or password.
var (
	ErrExists  = errors.New("exists already")
	ErrUnknown = errors.New("does not exist")
)

// User is what may be shown of a user.
type User struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // chosen | generated
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"` // of the password
}

// Store is the users of one file. Reading it never blocks; changes are made one
// at a time, are on disk and read back before they are in force, and start from
// what the file holds then, so that two programs can share it. It is safe for
// concurrent use.
type Store struct {
	path   string
	clock  clock.Clock
	random io.Reader // crypto/rand but for tests

	users     atomic.Pointer[table]
	temporary temporaries

	mu       sync.Mutex // serialises changes, held while users is replaced; guards onChange
	onChange []func(names []string)
}

// Open reads the users of a data directory. No file means no users yet: nobody is
// admitted, and Add makes the file.
func Open(dataDir string, clk clock.Clock) (*Store, error) {
	s := &Store{path: filepath.Join(dataDir, FileName), clock: clk, random: rand.Reader}
	t, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		t, err = table{}, nil
	}
	if err != nil {
		return nil, err
	}
	s.users.Store(&t)
	return s, nil
}

// Path is the users file.
func (s *Store) Path() string { return s.path }

// OnChange has fn called with every user that was deleted or got another password,
// after the change is in force and from the goroutine that made it. The owner of
// connections closes theirs. An Allow that is on its way then is not among them:
// who registers a client asks Known afterwards.
func (s *Store) OnChange(fn func(names []string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = append(s.onChange[:len(s.onChange):len(s.onChange)], fn)
}

// tell calls fns, without a lock, if there is anything to tell.
func tell(fns []func([]string), names []string) {
	if len(names) == 0 {
		return
	}
	for _, fn := range fns {
		fn(names)
	}
}

// Known tells whether the user exists.
func (s *Store) Known(name string) bool { return s.lookup(name) != nil }

// Len is how many users there are.
func (s *Store) Len() int { return len(*s.users.Load()) }

// List is every user, by name.
func (s *Store) List() []User {
	out := []User{}
	for _, r := range s.users.Load().sorted() {
		out = append(out, r.user())
	}
	return out
}

func (r *record) user() User { return User{r.name, r.cred.kind.String(), r.created, r.changed} }

func (s *Store) lookup(name string) *record {
	if r := (*s.users.Load())[name]; r != nil {
		return r
	}
	return s.temporary.lookup(s.clock.Now, name)
}

// Add makes a user with a password a person chose. It evaluates one argon2id in
// the calling goroutine (19 MiB, tens of milliseconds).
func (s *Store) Add(name string, password secret.Value) (User, error) {
	return s.set(name, password, true)
}

// SetPassword gives a user another chosen password. Verified credentials of the
// old one are worthless from here on.
func (s *Store) SetPassword(name string, password secret.Value) (User, error) {
	return s.set(name, password, false)
}

// AddGenerated makes a user with a generated secret, which is returned this once
// and stored nowhere.
func (s *Store) AddGenerated(name string) (User, secret.Value, error) {
	return s.setGenerated(name, true)
}

// SetGenerated gives a user a new generated secret.
func (s *Store) SetGenerated(name string) (User, secret.Value, error) {
	return s.setGenerated(name, false)
}

func (s *Store) set(name string, password secret.Value, add bool) (User, error) {
	if err := CheckName(name); err != nil {
		return User{}, err
	}
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	return s.put(name, chosen, password, add)
}

func (s *Store) setGenerated(name string, add bool) (User, secret.Value, error) {
	if err := CheckName(name); err != nil {
		return User{}, secret.Value{}, err
	}
	v, err := generate(s.random)
	if err != nil {
		return User{}, secret.Value{}, err
	}
	u, err := s.put(name, generated, v, add)
	if err != nil {
		return User{}, secret.Value{}, err
	}
	return u, v, nil
}

func (s *Store) put(name string, k kind, password secret.Value, add bool) (User, error) {
	now := s.clock.Now().UTC().Truncate(time.Second)
	r := &record{name: name, created: now, changed: now}
	err := s.change(func(t table) error {
		old := t[name]
		switch {
		case add && old != nil:
			return fmt.Errorf("user %q %w; use another name, or set its password", name, ErrExists)
		case !add && old == nil:
			return fmt.Errorf("user %q %w; add it first", name, ErrUnknown)
		case add && len(t) >= UsersMax:
			return fmt.Errorf("there are %d users already, which is the most one file holds", len(t))
		case old != nil:
			r.created = old.created
		}
		var err error
		if r.cred, err = newCredential(s.random, k, password.Reveal()); err != nil {
			return err
		}
		t[name] = r
		return nil
	})
	if err != nil {
		return User{}, err
	}
	return r.user(), nil
}

// Delete removes a user.
func (s *Store) Delete(name string) error {
	return s.change(func(t table) error {
		if t[name] == nil {
			return fmt.Errorf("user %q %w", name, ErrUnknown)
		}
		delete(t, name)
		return nil
	})
}

// change edits a copy of what the file holds now, writes it, reads it back, and
// only then puts it in force.
func (s *Store) change(edit func(table) error) error {
	s.mu.Lock()
	names, err := s.changeLocked(edit)
	fns := s.onChange
	s.mu.Unlock()
	tell(fns, names)
	return err
}

func (s *Store) changeLocked(edit func(table) error) (changed []string, err error) {
	unlock, err := lockChanges(s.path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		if s.Len() > 0 {
			return nil, s.gone()
		}
		t, err = table{}, checkFolder(filepath.Dir(s.path), os.Geteuid())
	}
	if err != nil {
		return nil, err
	}
	t = maps.Clone(t)
	if err := edit(t); err != nil {
		return nil, err
	}
	want, err := t.encode()
	if err != nil {
		return nil, err
	}
	if err := safefile.Write(s.path, want, 0o600); err != nil {
		return nil, err
	}
	got, err := readGuarded(s.path)
	if err != nil {
		return nil, fmt.Errorf("read the users back: %w", err)
	}
	if !bytes.Equal(got, want) {
		return nil, fmt.Errorf("%s does not hold what was just written to it; check the disk and who else writes there", s.path)
	}
	return s.replace(t), nil
}

func (s *Store) gone() error {
	return fmt.Errorf("%s is gone while users are in force; restore it from a backup, or restart to begin without users", s.path)
}

// read is the file as it is now.
func (s *Store) read() (table, error) {
	data, err := readGuarded(s.path)
	if err != nil {
		return nil, err
	}
	t, err := decodeUsers(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return t, nil
}

// replace puts t in force and answers the users that lost their credential.
// Records that did not change stay the same, and with them what was verified. It
// is called with mu held.
func (s *Store) replace(t table) (changed []string) {
	for _, old := range s.users.Load().sorted() {
		now := t[old.name]
		if now != nil && now.cred == old.cred {
			if now.created.Equal(old.created) && now.changed.Equal(old.changed) {
				t[old.name] = old
			}
			continue
		}
		changed = append(changed, old.name)
	}
	s.users.Store(&t)
	return changed
}
