package builtin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// What a change of users can be refused for, besides a bad name or password.
var (
	ErrExists  = errors.New("exists already")
	ErrUnknown = errors.New("does not exist")
)

// KeepError says that a change could not be kept: the user is as before.
type KeepError struct {
	Name string
	Err  error // the Keeper's
}

// Error names the user.
func (e *KeepError) Error() string { return fmt.Sprintf("user %q was not changed: %v", e.Name, e.Err) }

// Unwrap is what the Keeper said.
func (e *KeepError) Unwrap() error { return e.Err }

// User is what may be shown of a user.
type User struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`            // chosen | generated | imported
	Hash    string    `json:"hash"`            // the algorithm, with its cost where it varies
	SCRAM   string    `json:"scram,omitempty"` // the mechanisms it has keys for, with spaces; or SCRAMLater
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"` // of the password
}

// Store is the users of one Keeper. Reading it never blocks; changes are made one at a
// time and are kept before they are in force. It is safe for concurrent use.
type Store struct {
	keeper Keeper
	clock  clock.Clock
	random io.Reader // crypto/rand but for tests

	users     atomic.Pointer[table]
	kinds     atomic.Pointer[foreignKinds] // of users
	counts    atomic.Pointer[scramCounts]  // of users
	scram     atomic.Pointer[scramSettings]
	temporary temporaries
	audience  audience

	mu     sync.Mutex // serialises changes; held while users is replaced, and while the keeper keeps
	secret *[32]byte  // of SCRAMSecret; nil: not made yet
}

// Open reads the users a Keeper has. None means that nobody is admitted. One that
// cannot be read is refused: without it somebody could not come in, and nobody would
// know why.
func Open(keeper Keeper, clk clock.Clock) (*Store, error) {
	s := &Store{keeper: keeper, clock: clk, random: rand.Reader}
	t := table{}
	err := keeper.Users(func(name string, content []byte) error {
		if name == secretName {
			return s.readSecret(content)
		}
		r, err := decodeKept(name, content)
		if err != nil {
			return fmt.Errorf("user %s cannot be read from the log: %w. Start the version of redoubt that wrote it, or restore the data directory from a backup", shownName(name), err)
		}
		t[name] = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(t) > UsersMax {
		return nil, fmt.Errorf("the log has %d users; at most %d are allowed. Start the version of redoubt that wrote them, or restore the data directory from a backup", len(t), UsersMax)
	}
	ks := kindsOf(t)
	s.replace(&t)
	s.kinds.Store(&ks)
	return s, nil
}

// shownName keeps a name that nobody should have short.
func shownName(name string) string {
	if len(name) > NameBytesMax {
		return fmt.Sprintf("%q...", name[:NameBytesMax])
	}
	return fmt.Sprintf("%q", name)
}

// audience is who hears of changes. It has a lock of its own, so that what must be told
// at once does not wait for a change that is being kept.
type audience struct {
	mu  sync.Mutex // guards fns
	fns []func(names []string)
}

// OnChange has fn called with every user that was deleted or got another password,
// after the change is in force and from the goroutine that made it. The owner of
// connections closes theirs. An Allow that is on its way then is not among them:
// who registers a client asks Known afterwards.
func (s *Store) OnChange(fn func(names []string)) {
	a := &s.audience
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fns = append(a.fns[:len(a.fns):len(a.fns)], fn)
}

// tell calls everybody, without a lock, if there is anything to tell.
func (a *audience) tell(names ...string) {
	if len(names) == 0 {
		return
	}
	a.mu.Lock()
	fns := a.fns
	a.mu.Unlock()
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

func (r *record) user() User {
	u := User{Name: r.name, Kind: r.cred.kind.String(), Hash: hash.Argon2id, Created: r.created, Changed: r.changed}
	switch r.cred.kind {
	case generated:
		u.Hash = hash.SHA256 // of 160 random bits
	case foreign:
		u.Hash = r.imported.kind
	}
	for _, k := range r.keys {
		u.SCRAM = strings.TrimPrefix(u.SCRAM+" "+k.Algorithm.Method(), " ")
	}
	if r.wants {
		u.SCRAM = SCRAMLater
	}
	return u
}

// SCRAMLater says that a user gets keys at the next login with a password.
const SCRAMLater = "at next login"

// Extra is what a new password brings with it.
type Extra uint8

// The extras. Without one a user keeps having SCRAM keys, or having none.
const (
	WithSCRAM Extra = iota + 1
	WithoutSCRAM
)

func (s *Store) lookup(name string) *record {
	if r := (*s.users.Load())[name]; r != nil {
		return r
	}
	return s.temporary.lookup(s.clock.Now, name)
}

// Add makes a user with a password a person chose. It evaluates one argon2id in
// the calling goroutine (19 MiB, tens of milliseconds).
func (s *Store) Add(name string, password secret.Value, with ...Extra) (User, error) {
	return s.set(name, password, true, with)
}

// SetPassword gives a user another chosen password. Verified credentials of the
// old one are worthless from here on.
func (s *Store) SetPassword(name string, password secret.Value, with ...Extra) (User, error) {
	return s.set(name, password, false, with)
}

// AddGenerated makes a user with a generated secret, which is returned this once
// and stored nowhere.
func (s *Store) AddGenerated(name string, with ...Extra) (User, secret.Value, error) {
	return s.setGenerated(name, true, with)
}

// SetGenerated gives a user a new generated secret.
func (s *Store) SetGenerated(name string, with ...Extra) (User, secret.Value, error) {
	return s.setGenerated(name, false, with)
}

func (s *Store) set(name string, password secret.Value, add bool, with []Extra) (User, error) {
	if err := CheckName(name); err != nil {
		return User{}, err
	}
	if err := checkPassword(password); err != nil {
		return User{}, err
	}
	return s.put(name, chosen, password, add, with)
}

func (s *Store) setGenerated(name string, add bool, with []Extra) (User, secret.Value, error) {
	if err := CheckName(name); err != nil {
		return User{}, secret.Value{}, err
	}
	v, err := generate(s.random)
	if err != nil {
		return User{}, secret.Value{}, err
	}
	u, err := s.put(name, generated, v, add, with)
	if err != nil {
		return User{}, secret.Value{}, err
	}
	return u, v, nil
}

func (s *Store) put(name string, k kind, password secret.Value, add bool, with []Extra) (User, error) {
	now := s.clock.Now().UTC().Truncate(time.Second)
	r := &record{name: name, created: now, changed: now}
	err := s.change(name, func(t table) (*record, error) {
		old := t[name]
		switch {
		case add && old != nil:
			return nil, fmt.Errorf("user %q %w; use another name, or set its password", name, ErrExists)
		case !add && old == nil:
			return nil, fmt.Errorf("user %q %w; add it first", name, ErrUnknown)
		case add && len(t) >= UsersMax:
			return nil, fmt.Errorf("there are %d users already, which is the most there can be", len(t))
		case old != nil:
			r.created = old.created
		}
		var err error
		if slices.Contains(with, WithSCRAM) || old.hasSCRAM() && !slices.Contains(with, WithoutSCRAM) {
			if r.keys, err = s.deriveKeys(password); err != nil {
				return nil, err
			}
		}
		r.cred, err = newCredential(s.random, k, password.Reveal())
		return r, err
	})
	if err != nil {
		return User{}, err
	}
	return r.user(), nil
}

// Delete removes a user.
func (s *Store) Delete(name string) error {
	return s.change(name, func(t table) (*record, error) {
		if t[name] == nil {
			return nil, fmt.Errorf("user %q %w", name, ErrUnknown)
		}
		return nil, nil
	})
}

// change asks judge what a user becomes, nil for nobody, has it kept, and only then
// puts it in force.
func (s *Store) change(name string, judge func(table) (*record, error)) error {
	s.mu.Lock()
	was, err := s.changeLocked(name, judge)
	s.mu.Unlock()
	if err == nil && was {
		s.audience.tell(name)
	}
	return err
}

// changeLocked also tells whether the user was one before, who has lost a credential.
func (s *Store) changeLocked(name string, judge func(table) (*record, error)) (was bool, err error) {
	old := *s.users.Load()
	r, err := judge(old)
	if err != nil {
		return false, err
	}
	now := maps.Clone(old)
	ks := *s.kinds.Load()
	if gone := old[name]; gone != nil && gone.imported != nil {
		ks = ks.changed(gone.imported, nil)
	}
	if r == nil {
		err = s.keeper.Delete(name)
		delete(now, name)
	} else {
		err = s.keeper.Put(Kept{name, r.content()})
		now[name] = r
	}
	if err != nil {
		return false, &KeepError{name, err}
	}
	s.replace(&now)
	s.kinds.Store(&ks)
	return old[name] != nil, nil
}

// hasSCRAM tells whether a user has keys, or is to have them.
func (r *record) hasSCRAM() bool { return r != nil && (len(r.keys) > 0 || r.wants) }
