// Package acl keeps the built-in rules: lists of rules for a client id, a user or
// everybody, which operators change while the broker runs. A Keeper has them (in the
// broker, as records of the log), an auth.Book judges by them. It opens no file and
// starts no goroutine.
//
// Rules: shapes and order of EMQX's built-in database; checklist row P4.2.
package acl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/auth"
)

// Keeper keeps lists of rules; cmd has one over the log. Its methods are not called at
// the same time.
type Keeper interface {
	// Rules calls fn for every list, in the order of their names. content is valid during
	// the call only.
	Rules(fn func(name string, content []byte) error) error

	// Write makes, replaces and removes lists, all in one step. When it answers nil all of
	// it is durable and applied, and after an error nothing may be counted on.
	Write(lists ...Kept) error
}

// Kept is a list as a Keeper has it.
type Kept struct {
	Name    string
	Content []byte // nil: it is gone
}

// ErrUnknown says that there is no such rule.
var ErrUnknown = errors.New("does not exist")

// KeepError says that a change could not be kept.
type KeepError struct{ Err error }

// Error says what the Keeper said.
func (e *KeepError) Error() string { return fmt.Sprintf("the rules were not changed: %v", e.Err) }

// Unwrap is what the Keeper said.
func (e *KeepError) Unwrap() error { return e.Err }

// Store is the rules of one Keeper. Reading never blocks; changes are made one at a time
// and are kept before they are in force. It is safe for concurrent use.
type Store struct {
	book   atomic.Pointer[auth.Book]
	force  force
	mu     sync.Mutex // serialises changes; held while keeper keeps
	keeper Keeper
}

// force is what has rules judged by. Its lock is taken after that of the Store, and is never
// held while something is kept.
type force struct {
	mu      sync.Mutex // guards the book of the Store while changed is told of it
	changed func(*auth.Book)
}

// Open reads the rules that a Keeper has. A list that cannot be read is refused: without
// it somebody might do what a rule denies, and nobody would know why.
func Open(keeper Keeper) (*Store, error) {
	s := &Store{keeper: keeper}
	s.force.changed = func(*auth.Book) {}
	var all []auth.RuleSpec // of everybody, whose rules are in several records
	book, err := auth.Fill(func(add func(auth.Subject, []auth.RuleSpec) error) error {
		err := keeper.Rules(func(name string, content []byte) error {
			specs, err := decode(content)
			who, isAll := subjectOf(name)
			if err == nil && isAll {
				all = append(all, specs...)
				return nil
			}
			if err == nil && who == auth.Everybody() {
				err = errors.New("its name says nothing")
			}
			if err == nil {
				err = add(who, specs)
			}
			if err != nil {
				return fmt.Errorf("rules %q cannot be read from the log: %w. Start the version of redoubt that wrote them, or restore the data directory from a backup", clipped(name), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return add(auth.Everybody(), all)
	})
	if err != nil {
		return nil, err
	}
	s.book.Store(book)
	return s, nil
}

// OnChange has fn called with the rules after each change, from the goroutine that made
// it, one at a time. It does not block.
func (s *Store) OnChange(fn func(*auth.Book)) {
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	s.force.changed = fn
}

// Hold calls fn with the rules while none are put in force, so that whoever puts a whole
// policy in force does not lose a change to them. fn does not block.
func (s *Store) Hold(fn func(*auth.Book)) {
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	fn(s.Book())
}

// Book is the rules as they are judged.
func (s *Store) Book() *auth.Book { return s.book.Load() }

// List is the rules of a subject, in their order.
func (s *Store) List(who auth.Subject) []Entry {
	rules := s.Book().Rules(who)
	out := make([]Entry, len(rules))
	for i := range rules {
		out[i] = entryOf(&rules[i])
	}
	return out
}

// Change replaces the rules of a subject by what edit makes of them; none removes it.
// before is called when that is durable and before it is in force.
func (s *Store) Change(who auth.Subject, edit func([]Entry) ([]Entry, error), before func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.List(who)
	entries, err := edit(append([]Entry{}, old...))
	if err != nil {
		return err
	}
	specs, err := specsOf(entries)
	if err != nil {
		return err
	}
	next, err := s.Book().With(who, specs)
	if err != nil {
		return err
	}
	if lists := changes(who, old, entries); len(lists) > 0 {
		if err := s.keeper.Write(lists...); err != nil {
			return &KeepError{err}
		}
	}
	before()
	s.force.mu.Lock()
	defer s.force.mu.Unlock()
	s.book.Store(next)
	s.force.changed(next)
	return nil
}

// The rules of everybody are records of chunkSize, so that a change writes little.
const chunkSize = 100

const (
	allPrefix    = "all\x00"
	userPrefix   = "user\x00"
	clientPrefix = "client\x00"
)

// changes are the records to write.
func changes(who auth.Subject, old, entries []Entry) (lists []Kept) {
	if who != auth.Everybody() {
		kept := Kept{Name: nameOf(who)}
		if len(entries) > 0 {
			kept.Content = encode(entries)
		}
		return []Kept{kept}
	}
	for i := 0; i*chunkSize < max(len(old), len(entries)); i++ {
		was, is := chunk(old, i), chunk(entries, i)
		kept := Kept{Name: fmt.Sprintf("%s%06d", allPrefix, i)}
		if len(is) > 0 {
			kept.Content = encode(is)
			if len(was) > 0 && bytes.Equal(kept.Content, encode(was)) {
				continue
			}
		}
		lists = append(lists, kept)
	}
	return lists
}

func chunk(list []Entry, i int) []Entry {
	return list[min(i*chunkSize, len(list)):min((i+1)*chunkSize, len(list))]
}

// nameOf is the key of the record of a user or a client. No name holds a zero byte.
func nameOf(who auth.Subject) string {
	if who.IsUser() {
		return userPrefix + who.Name()
	}
	return clientPrefix + who.Name()
}

// subjectOf is whose record has that name; of everybody there are several.
func subjectOf(name string) (who auth.Subject, all bool) {
	if strings.HasPrefix(name, allPrefix) {
		return who, true
	}
	if n, ok := strings.CutPrefix(name, userPrefix); ok && CheckName(n) == nil {
		return auth.UserNamed(n), false
	}
	if n, ok := strings.CutPrefix(name, clientPrefix); ok && CheckName(n) == nil {
		return auth.ClientNamed(n), false
	}
	return who, false
}

// contentVersion is the form of the JSON. Another one is refused, never guessed.
const contentVersion = 1

type content struct {
	Version int     `json:"v"`
	Rules   []Entry `json:"rules"`
}

func encode(entries []Entry) []byte {
	out, err := json.Marshal(content{contentVersion, entries})
	if err != nil {
		panic("BUG: acl: rules that are no JSON: " + err.Error())
	}
	return out
}

func decode(b []byte) ([]auth.RuleSpec, error) {
	var c content
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return nil, err
	}
	if c.Version != contentVersion {
		return nil, fmt.Errorf("its form is %d and this version reads %d", c.Version, contentVersion)
	}
	if len(c.Rules) == 0 {
		return nil, errors.New("it is empty")
	}
	return specsOf(c.Rules)
}
