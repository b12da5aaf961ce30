package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// field is one key of a section and the struct field that holds it.
type field struct {
	name  string
	index []int
}

// fieldsOf lists a section's keys in order; embedded structs are part of it.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.Anonymous {
			for _, inner := range fieldsOf(f.Type) {
				out = append(out, field{inner.name, append([]int{i}, inner.index...)})
			}
			continue
		}
		out = append(out, field{name, []int{i}})
	}
	return out
}

// leaf is one effective key and its value.
type leaf struct {
	key   string // with names
	row   *Row
	value reflect.Value
}

// leaves lists every effective key, in the order of the reference page and
// then by name. The TLS section of a plaintext listener has none, and what is
// about WebSocket is no key of another listener.
func leaves(c *Config) []leaf {
	var out []leaf
	var section func(pattern, path string, v reflect.Value)
	add := func(pattern, path string, v reflect.Value) {
		row := rowOf[pattern]
		if row == nil || row.Kind == KindSection {
			if row == nil || pattern == "listeners.<name>.mqtt" || !v.IsZero() { // a listener may offer nothing
				section(pattern, path, v)
			}
			return
		}
		if row.webSocketOnly() && v.IsZero() {
			return // derive took it off
		}
		out = append(out, leaf{path, row, v})
	}
	section = func(pattern, path string, v reflect.Value) {
		for _, f := range fieldsOf(v.Type()) {
			p, at, fv := join(pattern, f.name), join(path, f.name), v.FieldByIndex(f.index)
			if rowOf[p].Kind != KindNames {
				add(p, at, fv)
				continue
			}
			for _, name := range sortedNames(fv) {
				add(join(p, "<name>"), join(at, name), fv.MapIndex(reflect.ValueOf(name)))
			}
		}
	}
	section("", "", reflect.ValueOf(c).Elem())
	return out
}

// sortedNames are the keys of a map by name.
func sortedNames(m reflect.Value) []string {
	var names []string
	for _, k := range m.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

// sorted are the names of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
