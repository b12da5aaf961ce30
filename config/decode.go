package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one layer. The schema has no recursion, so an alias can multiply
// only the width of what is read; visitsMax ends that.
const (
	visitsMax  = 100_000
	entriesMax = 256 // in one list, and names in one section
	textMax    = 1024
)

// decoder reads one layer, such as the file, over what the layers below it
// left. It goes on after an error, so that all of them are reported.
type decoder struct {
	problems *problems
	origins  map[string]Origin                // nil: not recorded, for the defaults
	origin   func(n *yaml.Node) Origin        // where a node of this layer is
	base     string                           // directory of relative paths; "": left as they are
	secret   func(ref string) (Secret, error) // finds a secret; base is applied already
	visits   int
}

// refuse records that the value at n cannot be taken.
func (d *decoder) refuse(n *yaml.Node, path, value, format string, args ...any) {
	if d.problems.full() {
		d.problems.more++
		return
	}
	what := fmt.Sprintf(format, args...)
	if path == "" && value == "" {
		what = "The file " + what
	}
	d.problems.add(Problem{Origin: d.origin(n), Key: path, Value: value, What: what})
}

// into decodes n over v, the value of path, whose row is the one of pattern.
// key is the node that names it, which is where its origin is.
func (d *decoder) into(key, n *yaml.Node, pattern, path string, v reflect.Value) {
	if d.visits++; d.visits > visitsMax {
		if d.visits == visitsMax+1 {
			d.refuse(n, "", "", "holds more values than any configuration has. Look for aliases of aliases.")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.origins != nil && path != "" {
		d.origins[path] = d.origin(key)
	}
	if n.Tag != "" && strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		d.refuse(n, path, "", "has the tag %s. Tags are not taken.", quote(n.Tag))
		return
	}
	row := rowOf[pattern]
	switch {
	case row == nil || row.Kind == KindSection:
		d.section(n, pattern, path, v)
	case row.Kind == KindNames:
		d.names(n, row, path, v)
	case isNull(n):
		d.refuse(n, path, "", "has no value. Write one%s.", row.orDefault(", or remove the key for the default (%s)"))
	case row.Kind == KindItems:
		d.items(n, row, path, v)
	case row.Kind == KindPrefixes:
		d.prefixes(n, row, path, v)
	case row.Kind == KindEnums || row.Kind == KindNameList || row.Kind == KindBinds || row.Kind == KindOrigins || row.Kind == KindPaths || row.Kind == KindTexts || row.Kind == KindNetworks || row.Kind == KindAccess || row.Kind == KindHosts:
		d.list(n, row, path, v)
	default:
		d.scalar(n, row, path, v)
	}
}

// pairs returns the keys and values of a mapping, having refused what is no
// key and what is there twice.
func (d *decoder) pairs(n *yaml.Node, path, want string) (out [][2]*yaml.Node) {
	if isNull(n) {
		return nil // a section whose every line is a comment
	}
	if n.Kind != yaml.MappingNode {
		d.refuse(n, path, "", "is %s where %s belongs.", describe(n), want)
		return nil
	}
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			d.refuse(k, path, "", "has a merge key (<<). Write the keys out, or use an alias for a whole section.")
		case k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str":
			d.refuse(k, path, "", "has %s for a key. Keys are text; put it in quotes if it is a name.", describe(k))
		case first[k.Value] != nil:
			d.refuse(k, join(path, k.Value), "", "is here twice; the first is on line %d. Keep one.", first[k.Value].Line)
		default:
			first[k.Value] = k
			out = append(out, [2]*yaml.Node{k, n.Content[i+1]})
		}
	}
	return out
}

// section decodes a mapping of known keys.
func (d *decoder) section(n *yaml.Node, pattern, path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
pairs:
	for _, kv := range d.pairs(n, path, "a section of keys") {
		for _, f := range fields {
			if f.name == kv[0].Value {
				d.into(kv[0], kv[1], join(pattern, f.name), join(path, f.name), v.FieldByIndex(f.index))
				continue pairs
			}
		}
		d.unknown(kv[0], pattern, path)
	}
}

// unknown words the refusal of a key that no row has. Its value is not shown:
// it may be a secret at the wrong place.
func (d *decoder) unknown(key *yaml.Node, pattern, path string) {
	at := join(path, key.Value)
	if d.problems.full() {
		d.problems.more++
		return
	}
	if part := partOf(join(pattern, key.Value), ""); part != "" {
		d.refuse(key, at, "", "is not built yet: it joins with %s. Remove it until then.", part)
		return
	}
	if s := suggestKey(pattern, path, key.Value); s != "" {
		d.refuse(key, at, "", "is no key of this file. Did you mean %s?", s)
		return
	}
	d.refuse(key, at, "", "is no key of this file. redoubt config schema lists them all.")
}

// nameShape is what listeners and chains may be called.
var nameShape = regexp.MustCompile(`^[a-z](?:[a-z0-9-]|_[a-z0-9-])*$`)

func validName(s string) bool { return len(s) <= 32 && nameShape.MatchString(s) }

// names decodes entries under names. One that is there already is changed key
// by key; a new one starts from the defaults.
func (d *decoder) names(n *yaml.Node, row *Row, path string, v reflect.Value) {
	pattern := join(row.Key, "<name>")
	for _, kv := range d.pairs(n, path, "a section of names") {
		at := join(path, kv[0].Value)
		if !validName(kv[0].Value) {
			d.refuse(kv[0], at, "", "is no name. Names are %s.", row.Form)
			continue
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		name := reflect.ValueOf(kv[0].Value)
		entry := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(name); old.IsValid() {
			entry.Set(old)
		} else if v.Len() == entriesMax {
			d.refuse(kv[0], at, "", "is one too many: at most %d names.", entriesMax)
			return
		} else if entry.Kind() == reflect.Struct {
			applyDefaults(pattern, entry)
		}
		d.into(kv[0], kv[1], pattern, at, entry)
		v.SetMapIndex(name, entry)
	}
}

// items decodes a list of sections, which replaces the one before.
func (d *decoder) items(n *yaml.Node, row *Row, path string, v reflect.Value) {
	if !d.isList(n, path, "a list of sections", row.entries()) {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		applyDefaults(row.Key+"[]", out.Index(i))
		d.into(item, item, row.Key+"[]", at, out.Index(i))
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		if item.Kind != yaml.MappingNode {
			continue
		}
		for _, name := range childrenOf[row.Key+"[]"] {
			if child := rowOf[row.Key+"[]."+name]; child.Need && !hasKey(item, name) {
				d.refuse(item, at, "", "has no %s (%s).", name, child.describe())
			}
		}
	}
	v.Set(out)
}

// list decodes a list of scalars, which replaces the one before.
func (d *decoder) list(n *yaml.Node, row *Row, path string, v reflect.Value) {
	if !d.isList(n, path, row.listWords(), entriesMax) {
		return
	}
	out := []string{}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		d.visits++
		text, ok := d.text(item, row, at)
		if !ok {
			continue
		}
		for _, before := range out {
			if before == text {
				d.refuse(item, at, quote(text), "is in the list twice.")
				ok = false
			}
		}
		if ok {
			out = append(out, text)
		}
	}
	v.Set(reflect.ValueOf(out))
}

// prefixes decodes numbers by prefix length. Lengths that are not named keep
// their number, so that loosening one does not remove another.
func (d *decoder) prefixes(n *yaml.Node, row *Row, path string, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, kv := range d.pairs(n, path, `a section ({"/24": 500})`) {
		at := join(path, kv[0].Value)
		if !prefixLength(kv[0].Value) {
			d.refuse(kv[0], at, "", `is no prefix length. Write "/24": %s.`, row.Form)
			continue
		}
		if isNull(kv[1]) {
			d.refuse(kv[1], at, "", "has no value. Write a number from %s.", row.Range())
			continue
		}
		number := reflect.New(v.Type().Elem()).Elem()
		one := *row
		one.Kind, one.Default = KindInt, ""
		value := kv[1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		d.visits++
		if d.scalar(value, &one, at, number) {
			v.SetMapIndex(reflect.ValueOf(kv[0].Value), number)
		}
	}
}

func (d *decoder) isList(n *yaml.Node, path, want string, most int) bool {
	if n.Kind != yaml.SequenceNode {
		d.refuse(n, path, "", "is %s where %s belongs.", describe(n), want)
		return false
	}
	if len(n.Content) > most {
		d.refuse(n, path, "", "has %d entries. The most is %d.", len(n.Content), most)
		return false
	}
	return true
}
