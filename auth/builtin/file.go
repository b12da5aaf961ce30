package builtin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth/scram"
)

// formatVersion is the version of users.json this code reads.
const formatVersion = 1

// UsersMax bounds the users: beyond it a directory or a database is the right back end.
// FileBytesMax bounds a users file to match.
const (
	UsersMax     = 100_000
	FileBytesMax = 64 << 20
)

// record is one user. It is immutable: a change makes a new one, so that whoever
// holds an old one (a verified credential, a check in flight) can tell.
type record struct {
	name             string
	cred             credential
	created, changed time.Time

	imported *foreignHash  // what the password is checked against; nil but for kind foreign
	keys     []*scram.Keys // of the same password, by algorithm
	wants    bool          // keys are to be made at the next login with a password
}

// table is every user by name. It is immutable once shared.
type table map[string]*record

// userFile and userLine are users.json. Its keys are listed again in knownKeys.
type userFile struct {
	Version int        `json:"version"`
	Users   []userLine `json:"users"`
}

type userLine struct {
	Name    string `json:"name"`
	Hash    string `json:"hash"`
	Created string `json:"created"`
	Changed string `json:"changed"`
}

var knownKeys = []string{"version", "users", "name", "hash", "created", "changed"}

func (t table) sorted() []*record {
	out := make([]*record, 0, len(t))
	for _, r := range t {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *record) int { return strings.Compare(a.name, b.name) })
	return out
}

// decodeUsers reads users.json, which Migrate takes over, strictly: a key this version
// does not know may be a restriction this version would not enforce. Errors never show
// a hash.
func decodeUsers(data []byte) (table, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is not UTF-8; restore it from a backup") // encoding/json would bend the names
	}
	if err := strictKeys(data); err != nil {
		return nil, err
	}
	var f userFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, plainJSON(err)
	}
	if f.Version != formatVersion {
		return nil, fmt.Errorf("version: %d is not a version this program reads; it reads %d", f.Version, formatVersion)
	}
	if len(f.Users) > UsersMax {
		return nil, fmt.Errorf("users: %d users; at most %d are allowed", len(f.Users), UsersMax)
	}
	t := make(table, len(f.Users))
	for i, u := range f.Users {
		r, err := u.record()
		if err != nil {
			return nil, fmt.Errorf("users[%d]: %w", i, err)
		}
		if t[r.name] != nil {
			return nil, fmt.Errorf("users[%d]: %q is listed twice; remove one of them", i, r.name)
		}
		t[r.name] = r
	}
	return t, nil
}

func (u *userLine) record() (*record, error) {
	if err := CheckName(u.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	cred, err := decodeCredential(u.Hash)
	if err != nil {
		return nil, fmt.Errorf("%q: hash: %w", u.Name, err)
	}
	r := &record{name: u.Name, cred: cred}
	for _, f := range []struct {
		key, text string
		into      *time.Time
	}{{"created", u.Created, &r.created}, {"changed", u.Changed, &r.changed}} {
		*f.into, err = time.Parse(time.RFC3339, f.text)
		if at := f.into.Unix(); err != nil || at < timeMin || at > timeMax {
			return nil, fmt.Errorf("%q: %s: is not a time like 2026-01-31T12:00:00Z", u.Name, f.key)
		}
	}
	return r, nil
}

// depthMax is the nesting of a users file: the object, the list, a user.
const depthMax = 3

// strictKeys refuses what encoding/json lets pass: a key given twice (the second
// would silently win), a key in other capitals, and anything after the end.
func strictKeys(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	type open struct {
		object, value bool // value: the next token is a value and not a key
		seen          []string
	}
	var stack []open
	for first := true; ; first = false {
		tok, err := d.Token()
		if err == io.EOF && !first && len(stack) == 0 {
			return nil
		}
		if err != nil {
			return plainJSON(err)
		}
		if !first && len(stack) == 0 {
			return errors.New("there is something after the end of the object; remove it")
		}
		if delim, ok := tok.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if n := len(stack); n > 0 && stack[n-1].object {
			top := &stack[n-1]
			if !top.value {
				key, _ := tok.(string)
				if !slices.Contains(knownKeys, key) {
					return fmt.Errorf("%s: unknown key; known are %s", shown(key), strings.Join(knownKeys, ", "))
				}
				if slices.Contains(top.seen, key) {
					return fmt.Errorf("%s: given twice in one object; remove one", key)
				}
				top.seen, top.value = append(top.seen, key), true
				continue
			}
			top.value = false
		}
		if delim, ok := tok.(json.Delim); ok {
			if len(stack) == depthMax {
				return errors.New("is nested deeper than a users file ever is")
			}
			stack = append(stack, open{object: delim == '{'})
		}
	}
}

// shown keeps a key that should not be there short: it may be a misplaced value.
func shown(key string) string {
	if len(key) > 20 {
		return fmt.Sprintf("a key of %d bytes", len(key))
	}
	return fmt.Sprintf("%q", key)
}

// plainJSON says where a file is broken without showing its content.
func plainJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("is not JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("%s: is a JSON %s, want %s", kind.Field, strings.Fields(kind.Value + " ")[0], kind.Type)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("ends too early; restore it from a backup")
	}
	return errors.New("does not have the form of a users file; restore it from a backup")
}
