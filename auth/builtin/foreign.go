package builtin

import (
	"fmt"
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/auth/hash"
)

// A user who came from another broker has the hash that one made, until his next login:
// then the password is there, and its argon2id takes the hash's place (upgrade.go).
//
// Such hashes cost other times than ours, and there the rule of this package would end: a
// refusal in 100 ms is of a user who came with bcrypt. So while any user has one, every
// check of a password that a person could have chosen costs one argon2id and one hash of
// each kind that is there, whoever the user is, with stand-ins for those that are not the
// user's. A kind is an algorithm with its parameters. When the last user of a kind has
// logged in, got another password or was deleted, nobody pays for it any more.
//
// What is left to see: that there are such users (all checks take longer), but not who they
// are; and what the algorithms themselves leak of the length of what is hashed, which is
// microseconds beside argon2id's milliseconds.

// ForeignKindsMax bounds how many kinds there can be at once, and so what a check can
// cost: what brings another one is refused.
const ForeignKindsMax = 4

// foreignHash is an imported hash with the name of its kind.
type foreignHash struct {
	*hash.Hash
	kind string
}

func newForeign(h *hash.Hash) *foreignHash { return &foreignHash{h, h.Cost()} }

func decodeForeign(encoded string) (*foreignHash, error) {
	h, err := hash.Decode(encoded)
	if err != nil {
		return nil, err
	}
	return newForeign(h), nil
}

// foreignKind is one that some user has.
type foreignKind struct {
	standIn *foreignHash // shared with nobody, and fits nothing that matters
	users   int
}

// foreignKinds are all there are. It is immutable once shared.
type foreignKinds []foreignKind

// changed is ks with one user of a kind more or less; nil is of no kind.
func (ks foreignKinds) changed(gone, come *foreignHash) foreignKinds {
	out := slices.Clone(ks)
	if come != nil {
		if i := out.of(come.kind); i >= 0 {
			out[i].users++
		} else {
			out = append(out, foreignKind{newForeign(come.StandIn()), 1})
		}
	}
	if gone != nil {
		if i := out.of(gone.kind); i >= 0 {
			if out[i].users--; out[i].users == 0 {
				out = slices.Delete(out, i, i+1)
			}
		}
	}
	return out
}

func (ks foreignKinds) of(kind string) int {
	return slices.IndexFunc(ks, func(k foreignKind) bool { return k.standIn.kind == kind })
}

// kindsOf counts from the start.
func kindsOf(t table) (ks foreignKinds) {
	for _, r := range t {
		if r.imported != nil {
			ks = ks.changed(nil, r.imported)
		}
	}
	return ks
}

func tooManyKinds(ks foreignKinds) error {
	return fmt.Errorf("the users would have imported hashes of %d kinds (algorithm with parameters), and there are at most %d at once, because every check of a password costs one of each until their users have logged in. Import them in turns, or set new passwords", len(ks), ForeignKindsMax)
}

// spendForeign evaluates one hash of each kind that any user has, r's own where it is of
// it, and tells whether r's fits.
func (a *Authenticator) spendForeign(r *record, password []byte) (fits bool) {
	var own *foreignHash
	if r != nil {
		own = r.imported
	}
	for _, k := range *a.store.kinds.Load() {
		h := k.standIn
		if own != nil && own.kind == h.kind {
			fits, own = a.evaluateForeign(own, password), nil
			continue
		}
		a.evaluateForeign(h, password)
	}
	if own != nil { // its last user was changed since r was looked up
		fits = a.evaluateForeign(own, password)
	}
	return fits
}

// heavy is held while a hash is evaluated that takes more memory than ours, for which the
// number of workers was chosen: such hashes are evaluated one at a time.
type heavy struct {
	mu sync.Mutex // guards memory, not a field
}

// evaluateForeign spends one.
func (a *Authenticator) evaluateForeign(h *foreignHash, password []byte) bool {
	a.foreign.Add(1)
	if h.MemoryBytes() > argonMemoryKiB<<10 {
		a.heavy.mu.Lock()
		defer a.heavy.mu.Unlock()
	}
	return h.Fits(password)
}
