// Package tokens answers "was this token revoked?": by its name (jti), or because it was made
// for somebody before a certain time. What operators revoke is kept by a Keeper and survives
// a restart.
//
// It opens no file and no socket and starts no goroutine, and it knows nothing of what a
// token looks like.
//
// Rules: RFC 7519 §4.1.7; checklist row P4.1.
package tokens

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth"
)

const (
	// Max is how many revocations there may be: 100,000 take some 20 MB.
	Max = 100_000
	// WhoBytesMax bounds the name of a token or a subject, in bytes.
	WhoBytesMax = 1024
	// TextBytesMax bounds a reason, in bytes.
	TextBytesMax = 512
)

// What a revocation can go by.
const (
	ByID      = "jti"     // a token
	BySubject = "subject" // tokens of an identity that were made before a time
)

// The errors of a change.
var (
	ErrFull    = errors.New("no room for more revocations")
	ErrUnknown = errors.New("there is no such revocation")
)

// Revocation takes back one token, or those of somebody that were made before a time.
type Revocation struct {
	As     string // ByID or BySubject
	Who    string // the jti, or the identity
	Before int64  // of BySubject: tokens with an earlier iat, Unix seconds; a token without iat is earlier
	By     string // who made it
	Reason string // may be empty
	At     int64  // when, Unix seconds
	Until  int64  // when it is forgotten, Unix seconds; 0: never
}

// Check tells what is wrong with it.
func (r *Revocation) Check() error {
	switch {
	case r.As != ByID && r.As != BySubject:
		return fmt.Errorf("%q is nothing to revoke tokens by; there are %s and %s", r.As, ByID, BySubject)
	case r.Who == "":
		return fmt.Errorf("the %s is empty", r.As)
	case len(r.Who) > WhoBytesMax:
		return fmt.Errorf("the %s has %d bytes; the most is %d", r.As, len(r.Who), WhoBytesMax)
	case len(r.Reason) > TextBytesMax || len(r.By) > TextBytesMax:
		return fmt.Errorf("a reason has at most %d bytes", TextBytesMax)
	case (r.As == BySubject) != (r.Before > 0):
		return errors.New("a subject needs the time before which its tokens were made, and a jti has none")
	case r.Until < 0 || r.Until > 0 && r.Until <= r.At:
		return errors.New("its end is in the past")
	}
	for _, text := range []string{r.Who, r.Reason, r.By} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return errors.New("it has text that is not UTF-8, or control characters")
		}
	}
	return nil
}

// Over tells whether it is forgotten.
func (r *Revocation) Over(now time.Time) bool { return r.Until != 0 && now.Unix() >= r.Until }

// hits tells whether it is about such a token.
func (r *Revocation) hits(now time.Time, issued time.Time) bool {
	return r != nil && !r.Over(now) && (r.As == ByID || issued.Unix() < r.Before)
}

// Why is what operators are told of a token that it hits.
func (r *Revocation) Why() string {
	text := "revoked"
	if r.As == BySubject {
		text = "made before " + time.Unix(r.Before, 0).UTC().Format(time.RFC3339) + ", and such are revoked for this subject"
	}
	if r.By != "" {
		text += ", by " + r.By
	}
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}

type key struct{ as, who string }

// Keeper keeps revocations; cmd has one over the log. Its methods are not called at the same
// time.
type Keeper interface {
	// Tokens calls fn for every one. content is valid during the call only.
	Tokens(fn func(content []byte) error) error
	// Write makes and removes some (content nil). When it answers nil all of it is durable.
	Write(values ...Kept) error
}

// Kept is a revocation as a Keeper has it.
type Kept struct {
	Name    string
	Content []byte // nil: it is gone
}

// KeepError says that a change could not be kept.
type KeepError struct{ Err error }

// Error says what the Keeper said.
func (e *KeepError) Error() string { return fmt.Sprintf("nothing was changed: %v", e.Err) }

// Unwrap is what the Keeper said.
func (e *KeepError) Unwrap() error { return e.Err }

// Revoked is what was revoked on one node. Asking never waits for the disk. It is safe for
// concurrent use; of a nil *Revoked nothing was.
type Revoked struct {
	ledger ledger
	count  atomic.Int64

	mu  sync.RWMutex // guards everything below
	all map[key]*Revocation
}

// ledger is the Keeper with who may write to it. Its lock is taken before that of Revoked, and
// held while the Keeper keeps.
type ledger struct {
	mu     sync.Mutex // guards keeper, and changes of Revoked.all
	keeper Keeper
	max    int
}

// Open reads what a Keeper has. What cannot be read is refused: without it somebody could
// come in again.
func Open(keeper Keeper) (*Revoked, error) {
	v := &Revoked{ledger: ledger{keeper: keeper, max: Max}, all: map[key]*Revocation{}}
	err := keeper.Tokens(func(content []byte) error {
		r, err := decode(content)
		if err != nil {
			return fmt.Errorf("a revocation of a token cannot be read from the log: %w. Start the version of redoubt that wrote it, or restore the data directory from a backup", err)
		}
		v.all[key{r.As, r.Who}] = r
		return nil
	})
	v.count.Store(int64(len(v.all)))
	return v, err
}

// Why says why a token is not good any more, by its jti (empty: it has none), its subject and
// when it was made (1970 if it does not say); empty: it is.
func (v *Revoked) Why(now time.Time, id, subject string, issued time.Time) string {
	if v == nil || v.count.Load() == 0 {
		return ""
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if id != "" {
		if r := v.all[key{ByID, id}]; r.hits(now, issued) {
			return r.Why()
		}
	}
	if r := v.all[key{BySubject, subject}]; r.hits(now, issued) {
		return r.Why()
	}
	return ""
}

// Judge is Why for a client that is connected, or about to be; empty also for one that has
// shown no token.
func (v *Revoked) Judge(now time.Time, by *auth.Principal) string {
	if by.Claims == nil || by.Claims.Issued.IsZero() {
		return ""
	}
	return v.Why(now, by.Claims.TokenID, by.Identity, by.Claims.Issued)
}

// Add makes one, in place of one of the same name. before is called when it is durable and
// before it is in force.
func (v *Revoked) Add(r *Revocation, before func()) error {
	v.ledger.mu.Lock()
	defer v.ledger.mu.Unlock()
	k := key{r.As, r.Who}
	if v.all[k] == nil && len(v.all) >= v.ledger.max { // changed by who holds the ledger only
		return fmt.Errorf("%w: there are %d, which is the most. Restore some, or revoke by subject", ErrFull, v.ledger.max)
	}
	if err := v.ledger.keeper.Write(Kept{r.name(), r.encode()}); err != nil {
		return &KeepError{err}
	}
	before()
	v.change(func() { v.all[k] = r })
	return nil
}

// Restore takes one back; before is called as by Add.
func (v *Revoked) Restore(as, who string, before func(*Revocation)) error {
	v.ledger.mu.Lock()
	defer v.ledger.mu.Unlock()
	k := key{as, who}
	r := v.all[k]
	if r == nil {
		return fmt.Errorf("%w: %s %s", ErrUnknown, as, strconv.Quote(who))
	}
	if err := v.ledger.keeper.Write(Kept{Name: r.name()}); err != nil {
		return &KeepError{err}
	}
	before(r)
	v.change(func() { delete(v.all, k) })
	return nil
}

// Purge forgets those that are over, at most max of them.
func (v *Revoked) Purge(now time.Time, max int) (purged int, err error) {
	v.ledger.mu.Lock()
	defer v.ledger.mu.Unlock()
	var gone []key
	var values []Kept
	for k, r := range v.all {
		if r.Over(now) && len(gone) < max {
			gone, values = append(gone, k), append(values, Kept{Name: r.name()})
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	if err := v.ledger.keeper.Write(values...); err != nil {
		return 0, &KeepError{err}
	}
	v.change(func() {
		for _, k := range gone {
			delete(v.all, k)
		}
	})
	return len(gone), nil
}

func (v *Revoked) change(do func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	do()
	v.count.Store(int64(len(v.all)))
}

// Len is how many there are, those that are over and not purged included.
func (v *Revoked) Len() int64 { return v.count.Load() }

// List is those that are not over, by kind and name. They are read-only.
func (v *Revoked) List(now time.Time) (list []*Revocation) {
	v.mu.RLock()
	for _, r := range v.all {
		if !r.Over(now) {
			list = append(list, r)
		}
	}
	v.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Revocation) int { return cmp.Or(cmp.Compare(a.As, b.As), cmp.Compare(a.Who, b.Who)) })
	return list
}
