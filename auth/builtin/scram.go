package builtin

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/redoubtmq/redoubt/auth/scram"
)

// SCRAM implements scram.Users.
func (s *Store) SCRAM(name string, a scram.Algorithm) (k *scram.Keys, proof uint64) {
	r := s.lookup(name)
	if r == nil {
		return nil, 0
	}
	for _, k := range r.keys {
		if k.Algorithm == a {
			return k, r.cred.proof()
		}
	}
	return nil, 0
}

// scramCounts are how many users have keys of so many iterations, by algorithm.
type scramCounts map[scram.Algorithm][]scram.Count

// replace puts other users in force.
func (s *Store) replace(t *table) {
	counts := scramCounts{}
	for _, r := range *t {
		for _, k := range r.keys {
			list := counts[k.Algorithm]
			i, found := slices.BinarySearchFunc(list, k.Iterations, func(c scram.Count, n int) int { return cmp.Compare(c.Iterations, n) })
			if !found {
				list = slices.Insert(list, i, scram.Count{Iterations: k.Iterations})
			}
			list[i].Users++
			counts[k.Algorithm] = list
		}
	}
	s.counts.Store(&counts)
	s.users.Store(t)
}

// SCRAMCounts implements scram.Counter.
func (s *Store) SCRAMCounts(a scram.Algorithm) []scram.Count { return (*s.counts.Load())[a] }

var (
	_ scram.Users   = (*Store)(nil)
	_ scram.Counter = (*Store)(nil)
)

// secretName is where SCRAMSecret is kept: no user can have the name.
const secretName = "$scram"

const secretFormat = 1

// SCRAMSecret is what the salts of users are made of whom there are not. It is made at the
// first call and kept with the users, because it must outlive restarts as their salts do.
func (s *Store) SCRAMSecret() (secret [32]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret != nil {
		return *s.secret, nil
	}
	if _, err := io.ReadFull(s.random, secret[:]); err != nil {
		return secret, fmt.Errorf("read random bytes for the salts of SCRAM: %w", err)
	}
	if err := s.keeper.Put(Kept{secretName, append([]byte{secretFormat}, secret[:]...)}); err != nil {
		return secret, fmt.Errorf("keep the secret of SCRAM: %w", err)
	}
	s.secret = &secret
	return secret, nil
}

func (s *Store) readSecret(content []byte) error {
	if len(content) != 1+32 || content[0] != secretFormat {
		return errors.New("the secret of SCRAM cannot be read from the log. Start the version of redoubt that wrote it, or restore the data directory from a backup")
	}
	s.secret = (*[32]byte)(append([]byte(nil), content[1:]...))
	return nil
}
