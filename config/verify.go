package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Change is one key whose value differs between two configurations.
type Change struct {
	Key      string
	From, To string // in the file's notation, secrets by reference; "" when the key is not there
	Reload   Reload
	// Entry is what the key is a part of and has come or gone with as a whole, such as
	// listeners.mqtt; empty: it was there before and is now.
	Entry string
}

// Diff lists the keys that differ, in the order of the reference page; keys of
// listeners that are gone come last.
func Diff(from, to *Config) []Change {
	old := map[string]leaf{}
	before := leaves(from)
	for _, lf := range before {
		old[lf.key] = lf
	}
	var out []Change
	after := leaves(to)
	inherited := inheriting(before, after)
	for _, lf := range after {
		if inherited[lf.key] {
			continue
		}
		was, there := old[lf.key]
		delete(old, lf.key)
		switch {
		case !there:
			out = append(out, Change{lf.key, "", flow(nodeOf(lf.value)), lf.row.Reload, came(&lf, before)})
		case !reflect.DeepEqual(was.value.Interface(), lf.value.Interface()):
			c := Change{Key: lf.key, From: flow(nodeOf(was.value)), To: flow(nodeOf(lf.value)), Reload: lf.row.Reload}
			if c.From == c.To {
				c.To += " (new content)"
			}
			out = append(out, c)
		}
	}
	for _, lf := range before {
		if _, gone := old[lf.key]; gone && !inherited[lf.key] {
			out = append(out, Change{lf.key, flow(nodeOf(lf.value)), "", lf.row.Reload, came(&lf, after)})
		}
	}
	return out
}

// came is the entry of a name that lf is a part of, if the other side has nothing of it.
func came(lf *leaf, other []leaf) (entry string) {
	at := strings.Index(lf.row.Key, "<name>.")
	if at < 0 {
		return ""
	}
	name, _, _ := strings.Cut(lf.key[at:], ".") // no name has a dot
	entry = lf.key[:at] + name
	for i := range other {
		if strings.HasPrefix(other[i].key, entry+".") {
			return ""
		}
	}
	return entry
}

// inheriting are the keys of listeners that are the same as everybody's wherever they are:
// a change of them is one of the key for everybody, and none of their own.
func inheriting(sides ...[]leaf) map[string]bool {
	out := map[string]bool{}
	for _, leaves := range sides {
		of := map[string]leaf{}
		for _, lf := range leaves {
			of[lf.key] = lf
		}
		for _, lf := range leaves {
			name, found := strings.CutPrefix(lf.row.Key, "listeners.<name>.")
			all, there := of[name]
			if !found || !there || !strings.HasPrefix(name, "limits.") || strings.HasPrefix(name, "limits.publish_rate_total.") {
				continue
			}
			same := reflect.DeepEqual(lf.value.Interface(), all.value.Interface())
			if was, seen := out[lf.key]; seen {
				same = same && was
			}
			out[lf.key] = same
		}
	}
	return out
}

// Verify is the first phase of a reload: it refuses, with every reason, what
// only a restart can change. Nothing has changed when it refuses.
func (l *Loaded) Verify(from *Config) error {
	var ps problems
	for _, c := range Diff(from, l.Config) {
		if c.Reload != Restart || comesOrGoes(from, l.Config, c.Key) || goesWithProtocol(from, l.Config, &c) {
			continue
		}
		was, is := c.From, c.To
		if was == "" {
			was = "absent"
		}
		if is == "" {
			is = "absent"
		}
		ps.add(Problem{Origin: l.Origin(c.Key), Key: c.Key,
			What: fmt.Sprintf("changed from %s to %s, which needs a restart. Nothing has been reloaded.", was, is)})
	}
	return ps.err()
}

// comesOrGoes tells whether key is one of a listener that is not open in both
// configurations: then it is opened or closed as a whole.
func comesOrGoes(from, to *Config, key string) bool {
	rest, ok := strings.CutPrefix(key, "listeners.")
	name, _, _ := strings.Cut(rest, ".")
	return ok && (len(from.Listeners[name].Bind) == 0 || len(to.Listeners[name].Bind) == 0)
}

// goesWithProtocol tells whether c is there or not because its listener has another protocol,
// which is said by itself.
func goesWithProtocol(from, to *Config, c *Change) bool {
	rest, ok := strings.CutPrefix(c.Key, "listeners.")
	name, _, _ := strings.Cut(rest, ".")
	return ok && (c.From == "" || c.To == "") && from.Listeners[name].Protocol != to.Listeners[name].Protocol
}

// Verify is Loaded.Verify for callers that have no origins: the places of what
// is refused are not known.
func Verify(from, to *Config) error { return (&Loaded{Config: to}).Verify(from) }
