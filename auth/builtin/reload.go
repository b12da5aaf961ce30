package builtin

import (
	"errors"
	"io/fs"
)

// Reload is a users file that was read and found good.
type Reload struct {
	users table
	base  *table // what was in force when it was read
}

// Len is how many users the file holds.
func (r *Reload) Len() int { return len(r.users) }

// Verify reads the file again and changes nothing. A broken, missing or open file
// is refused and the users in force stay (A102).
func (s *Store) Verify() (*Reload, error) {
	base := s.users.Load()
	t, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		if len(*base) > 0 {
			return nil, s.gone()
		}
		t, err = table{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &Reload{t, base}, nil
}

// Apply puts in force what Verify read. If the users were changed in between, that
// change started from the same file and is newer, and stays.
func (s *Store) Apply(r *Reload) {
	s.mu.Lock()
	var names []string
	if s.users.Load() == r.base {
		names = s.replace(r.users)
	}
	fns := s.onChange
	s.mu.Unlock()
	tell(fns, names)
}
