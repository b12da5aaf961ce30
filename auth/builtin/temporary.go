package builtin

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// TemporaryMax is how many temporary users there may be at once, because they
// are not on any list an operator keeps.
const TemporaryMax = 4

// TemporaryLifeMax is how long one may last.
const TemporaryLifeMax = 5 * time.Minute

// ErrTooMany says that there are TemporaryMax temporary users already.
var ErrTooMany = errors.New("too many temporary users; wait until one ends")

// temporaries are users that end by themselves. They live in memory only: no keeper
// has them and a restart forgets them. In everything else they are users: the
// same record, found by the same lookup, checked by the same hash.
type temporaries struct {
	users atomic.Pointer[map[string]temporary]

	mu sync.Mutex // serialises changes of users
}

type temporary struct {
	*record
	until time.Time
}

// lookup is asked after the users that are kept: a name cannot be in both.
func (t *temporaries) lookup(now func() time.Time, name string) *record {
	users := t.users.Load()
	if users == nil {
		return nil
	}
	u, ok := (*users)[name]
	if !ok || !now().Before(u.until) {
		return nil
	}
	return u.record
}

// AddTemporary makes a user with a generated secret who ends after life. From
// then on nobody is admitted under the name; what is open is closed by
// EndTemporary and ExpireTemporary, as if the user had been deleted.
func (s *Store) AddTemporary(name string, life time.Duration) (secret.Value, time.Time, error) {
	if err := CheckName(name); err != nil {
		return secret.Value{}, time.Time{}, err
	}
	if life <= 0 || life > TemporaryLifeMax {
		return secret.Value{}, time.Time{}, fmt.Errorf("a temporary user lasts more than nothing and at most %v, not %v", TemporaryLifeMax, life)
	}
	v, err := generate(s.random)
	if err != nil {
		return secret.Value{}, time.Time{}, err
	}
	cred, err := newCredential(s.random, generated, v.Reveal())
	if err != nil {
		return secret.Value{}, time.Time{}, err
	}
	now := s.clock.Now()
	u := temporary{&record{name: name, cred: cred, created: now, changed: now}, now.Add(life)}
	err = s.temporary.change(func(users map[string]temporary) error {
		switch {
		case users[name].record != nil || s.lookup(name) != nil:
			return fmt.Errorf("user %q %w", name, ErrExists)
		case len(users) >= TemporaryMax:
			return ErrTooMany
		}
		users[name] = u
		return nil
	})
	if err != nil {
		return secret.Value{}, time.Time{}, err
	}
	return v, u.until, nil
}

// EndTemporary ends a temporary user before its time and tells OnChange.
func (s *Store) EndTemporary(name string) error {
	err := s.temporary.change(func(users map[string]temporary) error {
		if _, ok := users[name]; !ok {
			return fmt.Errorf("temporary user %q %w", name, ErrUnknown)
		}
		delete(users, name)
		return nil
	})
	if err == nil {
		s.audience.tell(name)
	}
	return err
}

// ExpireTemporary ends those whose time has come and tells OnChange. It answers
// who they were, and when the next one is due; zero: there is none.
func (s *Store) ExpireTemporary() (names []string, next time.Time) {
	now := s.clock.Now()
	_ = s.temporary.change(func(users map[string]temporary) error { // it never fails
		for name, u := range users {
			switch {
			case !now.Before(u.until):
				names = append(names, name)
				delete(users, name)
			case next.IsZero() || u.until.Before(next):
				next = u.until
			}
		}
		return nil
	})
	s.audience.tell(names...)
	return names, next
}

// change edits a copy and puts it in force.
func (t *temporaries) change(edit func(map[string]temporary) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	users := map[string]temporary{}
	if old := t.users.Load(); old != nil {
		maps.Copy(users, *old)
	}
	if err := edit(users); err != nil {
		return err
	}
	t.users.Store(&users)
	return nil
}
