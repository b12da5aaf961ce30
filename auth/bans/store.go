package bans

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// Keeper keeps the bans of operators; cmd has one over the log. Its methods are not called
// at the same time.
type Keeper interface {
	// Bans calls fn for every ban. content is valid during the call only.
	Bans(fn func(name string, content []byte) error) error

	// Write makes, replaces and removes bans. When it answers nil all of it is durable and
	// applied, and after an error nothing may be counted on. The values are kept in steps of
	// WriteMax, in the order given; each step is there whole or not at all.
	Write(values ...Kept) error
}

// Kept is a ban as a Keeper has it.
type Kept struct {
	Name    string
	Content []byte // nil: it is gone
}

// WriteMax is how many bans are kept in one step: what one batch of the log has room for.
const WriteMax = 50_000

// KeepError says that a change could not be kept.
type KeepError struct{ Err error }

// Error says what the Keeper said.
func (e *KeepError) Error() string { return fmt.Sprintf("nothing was changed: %v", e.Err) }

// Unwrap is what the Keeper said.
func (e *KeepError) Unwrap() error { return e.Err }

// Bans are those of one node, from all sources. Asking never waits for the disk; changes
// are made one at a time and are kept before they are in force. It is safe for concurrent
// use; a nil *Bans shuts out nobody.
type Bans struct {
	ledger   ledger
	flapping flapping
	count    atomic.Int64 // of kept and file

	mu   sync.RWMutex // guards everything below
	kept *Set
	file *Set
	list []*Ban // of both, in order; nil: to be made anew
	gen  uint64 // goes up with each change
}

// ledger is the Keeper with who may write to it. Its lock is taken before that of Bans, and
// held while the Keeper keeps.
type ledger struct {
	mu     sync.Mutex // guards keeper, and changes of Bans.kept
	keeper Keeper
}

// Open reads the bans that a Keeper has. One that cannot be read is refused: without it
// somebody could come in, and nobody would know why.
func Open(keeper Keeper) (*Bans, error) {
	b := &Bans{ledger: ledger{keeper: keeper}, kept: newSet(), file: newSet()}
	b.flapping.by = make(map[flapKey]*Ban)
	err := keeper.Bans(func(name string, content []byte) error {
		ban, err := decode(content)
		if err != nil {
			return fmt.Errorf("ban %s cannot be read from the log: %w. Start the version of redoubt that wrote it, or restore the data directory from a backup", shown(name), err)
		}
		b.kept.put(ban)
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.counted()
	return b, nil
}

// Address is the ban of an address; nil: there is none.
func (b *Bans) Address(now time.Time, a netip.Addr) *Ban {
	if b == nil || b.count.Load() == 0 {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ban := b.kept.Address(now, a); ban != nil {
		return ban
	}
	return b.file.Address(now, a)
}

// Judge is the ban of a client that has proved who it is; nil: there is none.
func (b *Bans) Judge(now time.Time, by *auth.Principal) *Ban {
	if ban := b.Ordered(now, by); ban != nil || b == nil {
		return ban
	}
	return b.flapping.judge(now, by)
}

// Ordered is Judge without what the broker has decided itself: a client that flaps is kept
// out, and what it has left is still published.
func (b *Bans) Ordered(now time.Time, by *auth.Principal) *Ban {
	if b == nil || b.count.Load() == 0 {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ban := b.kept.Judge(now, by); ban != nil {
		return ban
	}
	return b.file.Judge(now, by)
}

// counted is called after a change, with mu held or before anybody asks.
func (b *Bans) counted() {
	b.count.Store(int64(b.kept.Len() + b.file.Len()))
	b.list = nil
	b.gen++
}

// Add makes bans, all of them or none, and replaces those there are of the same kind, name
// and identity. They were checked and are the caller's no more. before is called when they
// are durable and before they are in force; replaced are those that are no more.
func (b *Bans) Add(list []*Ban, before func(replaced []*Ban)) (replaced []*Ban, err error) {
	b.ledger.mu.Lock()
	defer b.ledger.mu.Unlock()
	fresh, patterns, size := make(map[key]*Ban, len(list)), 0, 0
	values := make([]Kept, 0, len(list))
	b.mu.RLock()
	for _, ban := range list {
		k := ban.key()
		if b.file.byKey[k] != nil {
			b.mu.RUnlock()
			return nil, fmt.Errorf("%s %s: %w, which is read at start and by redoubt reload; change it there", ban.As, shown(ban.Who), ErrFile)
		}
		old := b.kept.byKey[k]
		if old != nil {
			replaced = append(replaced, old)
			size -= old.size
		} else if fresh[k] == nil && (ban.As == ClientIDRe || ban.As == UsernameRe) {
			patterns++
		}
		fresh[k] = ban
		size += ban.size
	}
	more := size > 0 // what is there from before this bound may be made less
	total := b.kept.Len() - len(replaced) + len(fresh)
	patterns += len(b.kept.patterns)
	size += b.kept.size
	b.mu.RUnlock()
	if len(fresh) != len(list) {
		return nil, errors.New("the same ban twice")
	}
	if total > Max {
		return nil, fmt.Errorf("%w: it would be %d, the most is %d. Delete some, or ban networks in place of addresses", ErrFull, total, Max)
	}
	if patterns > PatternsMax {
		return nil, fmt.Errorf("%w: it would be %d patterns, the most is %d, because each is tried on every client. Join several with |", ErrFull, patterns, PatternsMax)
	}
	if more && size > InstructionsMax {
		return nil, fmt.Errorf("%w: %s", ErrFull, tooLarge(size))
	}
	for _, ban := range list {
		values = append(values, Kept{ban.name(), ban.encode()})
	}
	if err := b.ledger.keeper.Write(values...); err != nil {
		return nil, &KeepError{err}
	}
	if before != nil {
		before(replaced)
	}
	b.inForce(list, func(ban *Ban) { b.kept.put(ban) })
	return replaced, nil
}

// inForceStep is how many bans are changed before those who ask have a turn.
const inForceStep = 512

func (b *Bans) inForce(list []*Ban, do func(*Ban)) {
	for len(list) > 0 {
		n := min(len(list), inForceStep)
		b.mu.Lock()
		for _, ban := range list[:n] {
			do(ban)
		}
		b.counted()
		b.mu.Unlock()
		list = list[n:]
	}
}

// SetFile replaces the bans of the file, which were checked. It answers those that were not
// there before, or ended earlier.
func (b *Bans) SetFile(list []*Ban) (fresh *Set) {
	s := SetOf(list)
	b.mu.Lock()
	old := b.file
	b.file = s
	b.counted()
	b.mu.Unlock()
	fresh = newSet()
	for _, ban := range list {
		if was := old.byKey[ban.key()]; was == nil || was.Until != ban.Until {
			fresh.put(ban)
		}
	}
	return fresh
}

// Wanted selects one ban. An identity or a network that is nil is any.
type Wanted struct {
	As       As
	Who      string
	Identity *string
	From     *netip.Prefix
}

func (w *Wanted) fits(b *Ban) bool {
	return b.As == w.As && b.Who == w.Who && (w.Identity == nil || *w.Identity == b.Identity) && (w.From == nil || *w.From == b.From)
}

// Delete removes one ban; before is called when that is durable and before it is in force.
func (b *Bans) Delete(now time.Time, w Wanted, before func(*Ban)) (*Ban, error) {
	one := Ban{As: w.As, Who: w.Who}
	if one.As == Peerhost || one.As == PeerhostNet { // as it is listed
		if err := one.Check(); err != nil {
			return nil, err
		}
		w.Who = one.Who
	}
	b.ledger.mu.Lock()
	defer b.ledger.mu.Unlock()
	ban, kept, err := b.find(now, &w)
	if err != nil {
		return nil, err
	}
	if kept {
		if err := b.ledger.keeper.Write(Kept{Name: ban.name()}); err != nil {
			return nil, &KeepError{err}
		}
	}
	if before != nil {
		before(ban)
	}
	if !kept {
		b.flapping.remove(ban)
		return ban, nil
	}
	b.inForce([]*Ban{ban}, b.kept.remove)
	return ban, nil
}

// find is the ban that w fits, and whether it is the keeper's.
func (b *Bans) find(now time.Time, w *Wanted) (found *Ban, kept bool, err error) {
	n, inFile := 0, false
	b.mu.RLock()
	for _, ban := range b.kept.byKey {
		if w.fits(ban) {
			found, kept = ban, true
			n++
		}
	}
	for _, ban := range b.file.byKey {
		inFile = inFile || w.fits(ban)
	}
	b.mu.RUnlock()
	for _, ban := range b.flapping.active(now) {
		if w.fits(ban) {
			found, kept = ban, false
			n++
		}
	}
	switch {
	case n > 1:
		return nil, false, fmt.Errorf("%w: %d of %s %s. Say which, by its identity or the network that it is for", ErrAmbiguous, n, w.As, shown(w.Who))
	case n == 1:
		return found, kept, nil
	case inFile:
		return nil, false, fmt.Errorf("%s %s: %w; take it out there, and redoubt reload", w.As, shown(w.Who), ErrFile)
	}
	return nil, false, fmt.Errorf("%w: %s %s", ErrUnknown, w.As, shown(w.Who))
}

// Sweep forgets bans for flapping that are over, and answers how many are left. Somebody
// calls it every few seconds.
func (b *Bans) Sweep(now time.Time) (left int64) {
	b.flapping.purge(now)
	return b.flapping.len()
}

// Purge forgets bans of operators that are over, at most max of them, and answers how many.
func (b *Bans) Purge(now time.Time, max int) (purged int, err error) {
	b.ledger.mu.Lock()
	defer b.ledger.mu.Unlock()
	var over []*Ban
	b.mu.RLock()
	for _, ban := range b.kept.byKey {
		if ban.Over(now) {
			if over = append(over, ban); len(over) == max {
				break
			}
		}
	}
	b.mu.RUnlock()
	if len(over) == 0 {
		return 0, nil
	}
	values := make([]Kept, 0, len(over))
	for _, ban := range over {
		values = append(values, Kept{Name: ban.name()})
	}
	if err := b.ledger.keeper.Write(values...); err != nil {
		return 0, &KeepError{err}
	}
	b.inForce(over, b.kept.remove)
	return len(over), nil
}
