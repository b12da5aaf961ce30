package builtin

import (
	"crypto/rand"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/auth/scram"
	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// upgradesMax is how many users may wait to be kept anew. One that finds no room is
// upgraded at the next login.
const upgradesMax = 256

// upgrade is a user who has just proved a password: what the record becomes.
type upgrade struct {
	r        *record
	sum      [sumBytes]byte // its argon2id, of the salt in r
	password secret.Value   // for SCRAM keys; empty: none are wanted
}

// upgrades keeps users anew after a login, one batch after the other, in a goroutine of its
// own: who logs in does not wait for the disk, and a disk that is slow holds up no check.
// Until a batch is durable the old hash counts; a crash leaves one or the other.
type upgrades struct {
	store      *Store
	guard      func(do, undo func())
	waiting    chan upgrade
	closing    atomic.Bool
	ended      sync.WaitGroup
	kept, lost atomic.Uint64
}

func startUpgrades(s *Store, guard func(do, undo func())) *upgrades {
	u := &upgrades{store: s, guard: guard, waiting: make(chan upgrade, upgradesMax)}
	u.ended.Add(1)
	go u.work()
	return u
}

// offer takes a user for whom there is something to do. It never blocks.
func (u *upgrades) offer(r *record, sum [sumBytes]byte, password secret.Value) {
	if r.cred.kind != foreign && !r.wants {
		return
	}
	up := upgrade{r: r, sum: sum}
	if r.wants {
		up.password = password
	}
	select {
	case u.waiting <- up:
	default:
	}
}

// close drops what waits. Nobody may offer any more.
func (u *upgrades) close() {
	u.closing.Store(true)
	close(u.waiting)
	u.ended.Wait()
}

func (u *upgrades) work() {
	defer u.ended.Done()
	cores.Behind(0)
	for up := range u.waiting {
		if u.closing.Load() {
			continue
		}
		batch := []upgrade{up}
		for more := true; more && len(batch) < upgradesMax; {
			select {
			case up, open := <-u.waiting:
				if more = open; open {
					batch = append(batch, up)
				}
			default:
				more = false
			}
		}
		u.guard(func() { u.keep(batch) }, func() { u.lost.Add(uint64(len(batch))) })
	}
}

func (u *upgrades) keep(batch []upgrade) {
	done, err := u.store.upgrade(batch)
	if err != nil {
		u.lost.Add(uint64(len(batch)))
		return
	}
	u.kept.Add(uint64(done)) //nolint:gosec // at most upgradesMax
}

// become is the record after the upgrade. Its credential has the same salt, so whoever was
// let in by it stays in.
func (s *Store) become(up upgrade) *record {
	r := *up.r
	if r.cred.kind == foreign {
		r.cred.kind, r.cred.sum, r.imported = chosen, up.sum, nil
	}
	if r.wants {
		// A password of which there are no keys is not asked again: it would be in vain.
		r.wants = false
		r.keys, _ = s.deriveKeys(up.password)
	}
	return &r
}

// upgrade keeps what the users become whose records are still those that were checked. It
// answers how many those were; several logins of one are one.
func (s *Store) upgrade(batch []upgrade) (done int, err error) {
	next := make(map[*record]*record, len(batch))
	for _, up := range batch {
		if next[up.r] == nil {
			next[up.r] = s.become(up) // without the lock: SCRAM keys take their time
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.users.Load()
	now, ks := maps.Clone(old), *s.kinds.Load()
	kept := make([]Kept, 0, len(next))
	for _, up := range batch {
		r := next[up.r]
		if r == nil || old[r.name] != up.r {
			continue
		}
		delete(next, up.r)
		now[r.name] = r
		ks = ks.changed(up.r.imported, r.imported)
		kept = append(kept, Kept{r.name, r.content()})
	}
	if len(kept) == 0 {
		return 0, nil
	}
	if err := s.keeper.Put(kept...); err != nil {
		return 0, &KeepError{kept[0].Name, err}
	}
	s.replace(&now)
	s.kinds.Store(&ks)
	return len(kept), nil
}

// scramSettings are what new keys are made with.
type scramSettings struct {
	algorithms []scram.Algorithm
	iterations int
}

// SetSCRAM says what new SCRAM keys are made with.
func (s *Store) SetSCRAM(algorithms []scram.Algorithm, iterations int) {
	s.scram.Store(&scramSettings{algorithms, iterations})
}

// deriveKeys makes the keys of a password, sorted by algorithm.
func (s *Store) deriveKeys(password secret.Value) (keys []*scram.Keys, err error) {
	with := s.scram.Load()
	if with == nil {
		with = &scramSettings{scram.Algorithms, scram.IterationsDefault}
	}
	for _, a := range scram.Algorithms {
		for _, wanted := range with.algorithms {
			if a != wanted {
				continue
			}
			k, err := scram.Derive(rand.Reader, a, with.iterations, password.Reveal())
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
	}
	return keys, nil
}
