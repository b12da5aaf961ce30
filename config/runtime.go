package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source is everything that a configuration can be made from once more, with other
// settings of run time. The content of the file is as it was read.
type source struct {
	opts    Options
	secrets secretFinder
	data    []byte
}

// Idle is a key that was set at run time and does not count.
type Idle struct {
	Kept
	Pinned bool   // the file, the environment or a flag has the key
	Why    string // what follows the key in a sentence
}

// Idle lists what With left out, by key.
func (l *Loaded) Idle() []Idle { return l.idle }

// Fault says what is wrong with setting a key at run time, whatever the value.
type Fault uint8

// The faults.
const (
	Unknown       Fault = iota // there is no such key
	Pinned                     // the file, the environment or a flag has it
	BelongsToFile              // it cannot be set at run time
)

// KeyError says why a key cannot be set at run time, and what to do.
type KeyError struct {
	Key   string
	Fault Fault
	What  string // without the key
}

// Error is the key and what is wrong.
func (e *KeyError) Error() string { return printable(e.Key) + " " + e.What }

// Settable answers a *KeyError for a key that cannot be set at run time.
func (l *Loaded) Settable(key string) error {
	pattern, err := l.patternOf(key)
	if err != nil {
		return &KeyError{key, Unknown, strings.TrimPrefix(err.Error(), printable(key)+" ")}
	}
	row := rowOf[pattern]
	if name, below, _ := strings.Cut(strings.TrimPrefix(key, "listeners."), "."); strings.HasPrefix(pattern, "listeners.<name>.") && below != "" {
		if _, there := l.Config.Listeners[name]; !there {
			return &KeyError{key, Unknown, fmt.Sprintf("is of no listener: there is %s. Listeners are made in the file", oneOf(sorted(l.Config.Listeners)))}
		}
	}
	switch {
	case row == nil || row.Kind == KindSection || row.Kind == KindNames:
		return &KeyError{key, BelongsToFile, "is a section. Set its keys one by one; redoubt config explain " + printable(key) + " lists them"}
	case row.File != "":
		return &KeyError{key, BelongsToFile, "belongs to the file: " + row.File + ". Write it there and " + row.afterwards()}
	case row.fileOnly():
		return &KeyError{key, BelongsToFile, "belongs to the file: it is a list of sections, which is read as a whole. Write it there and " + row.afterwards()}
	}
	switch at := l.Origin(key); at.Kind {
	case FromFile:
		return &KeyError{key, Pinned, fmt.Sprintf("is set at %v, and the file comes first. Change it there and %s, or take it out there and set it here", at, row.afterwards())}
	case FromEnv, FromFlag:
		return &KeyError{key, Pinned, fmt.Sprintf("is set by %v, which comes first. Change it where the broker is started and start it again, or take it out there and set it here", at)}
	}
	return nil
}

// afterwards is what a change of the file needs.
func (r *Row) afterwards() string {
	if r.Reload == Restart {
		return "start the broker again"
	}
	return "run redoubt reload"
}

// ReloadOf says what a change of key needs; "" for what is no key with a value.
func (l *Loaded) ReloadOf(key string) Reload {
	if pattern, err := l.patternOf(key); err == nil && rowOf[pattern] != nil {
		return rowOf[pattern].Reload
	}
	return ""
}

// NeedsRestart tells whether a change of key waits for the next start.
func (l *Loaded) NeedsRestart(key string) bool { return l.ReloadOf(key) == Restart }

// vet answers what is wrong with k before its value is looked at.
func (l *Loaded) vet(k *Kept) error {
	if err := l.Settable(k.Key); err != nil {
		return err
	}
	switch {
	case k.unread != "":
		return errors.New(k.unread)
	case len(k.Value) > ValueBytesMax:
		return fmt.Errorf("the value has %d bytes; the most is %d", len(k.Value), ValueBytesMax)
	case !utf8.ValidString(k.Value) || strings.ContainsFunc(k.Value, unicode.IsControl):
		return errors.New("the value is not one line of text")
	}
	return nil
}

// With answers the configuration with what was set at run time, between the defaults and
// everything an operator wrote elsewhere. l stays as it is, and what kept has of an
// earlier call is not looked at: the file is judged as it was read.
//
// What does not count is left out and said by Idle, never an error: a key that is pinned
// or unknown, a value that is refused, and one that does not go with the others. The
// older one stays then, so that what was accepted once is not undone by what came later.
// judge may refuse a whole configuration for reasons this package does not know. An
// error is about the configuration without any of kept.
func (l *Loaded) With(kept []Kept, judge func(*Config) error) (*Loaded, error) {
	var fit []Kept
	var idle []Idle
	for i := range kept {
		err := l.vet(&kept[i])
		if err == nil {
			fit = append(fit, kept[i])
			continue
		}
		no := Idle{Kept: kept[i], Why: err.Error()}
		if ke := (*KeyError)(nil); errors.As(err, &ke) {
			no.Why = ke.What
			if no.Pinned = ke.Fault == Pinned; no.Pinned {
				no.Why = "the value of " + l.Origin(no.Key).String() + " holds"
			}
		}
		idle = append(idle, no)
	}
	slices.SortStableFunc(fit, func(a, b Kept) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Key, b.Key)) })
	out, err := l.layered(fit, judge)
	if err != nil {
		if out, err = l.layered(nil, judge); err != nil {
			return nil, err
		}
		var held []Kept
		for _, k := range fit {
			next, err := l.layered(append(held, k), judge)
			if err != nil {
				idle = append(idle, Idle{Kept: k, Why: strings.TrimPrefix(firstOf(err), k.Key+": ")})
				continue
			}
			out, held = next, append(held, k)
		}
	}
	slices.SortFunc(idle, func(a, b Idle) int { return cmp.Compare(a.Key, b.Key) })
	out.idle = idle
	return out, nil
}

// layered is With for settings that must all count.
func (l *Loaded) layered(kept []Kept, judge func(*Config) error) (out *Loaded, err error) {
	if len(kept) == 0 && l.plain {
		same := *l
		out = &same
	} else {
		again := &loader{opts: l.source.opts, secrets: l.source.secrets, kept: kept}
		out, err = again.load(l.File, l.source.data)
	}
	if err == nil && judge != nil {
		err = judge(out.Config)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// firstOf is one problem on one line.
func firstOf(err error) string {
	if all := (*Errors)(nil); errors.As(err, &all) {
		err = &all.Problems[0]
	}
	return strings.TrimSuffix(strings.ReplaceAll(err.Error(), "\n", "; "), ".")
}

// runTime decodes one vetted key over c. Nothing above it in the file gets another
// origin: somebody who set one key did not write its section.
func (l *loader) runTime(k *Kept, c *Config) {
	names := strings.Split(k.Key, ".")
	row := rowAt(names)
	at := k.origin()
	n := row.node(k.Value)
	if n == nil {
		l.problems.add(Problem{Origin: at, Key: k.Key, What: "takes YAML in one line here, such as " + row.envExample() + "."})
		return
	}
	d := l.layer(func(*yaml.Node) Origin { return at }, "")
	d.origins = nil
	n = document(names, n)
	d.into(n, n, "", "", reflect.ValueOf(c).Elem())
	l.origins[k.Key] = at
}

// rowAt finds the row of a key that was vetted.
func rowAt(names []string) *Row {
	pattern := ""
	for _, name := range names {
		if row := rowOf[pattern]; row != nil && row.Kind == KindNames {
			name = "<name>"
		}
		pattern = join(pattern, name)
	}
	return rowOf[pattern]
}

// Setting answers one effective key.
func (l *Loaded) Setting(key string) (Setting, bool) {
	for _, s := range l.Settings() {
		if s.Key == key {
			return s, true
		}
	}
	return Setting{}, false
}
