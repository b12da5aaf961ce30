package config

import (
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins every variable that is a setting.
const EnvPrefix = "REDOUBT_"

// serviceLink is what Kubernetes puts into every container of a namespace with
// a Service called redoubt or redoubt-something. It is no setting: settings
// below the top have two underscores in a row.
var serviceLink = regexp.MustCompile(`^REDOUBT(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// EnvName is the variable that sets a key: REDOUBT_LIMITS__PACKET_BYTES for
// limits.packet_bytes. A dash in a name becomes an underscore.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "__", "-", "_").Replace(key))
}

// variable is one setting of the environment.
type variable struct{ name, value string }

// settings picks the variables that are meant for this file, by name. Of one
// that is there twice the last counts, as in the shells.
func settings(env, ignore []string) []variable {
	byName := map[string]string{}
	for _, kv := range env {
		name, value, ok := strings.Cut(kv, "=")
		if ok && strings.HasPrefix(name, EnvPrefix) && !slices.Contains(ignore, name) &&
			(strings.Contains(name, "__") || !serviceLink.MatchString(name)) {
			byName[name] = value
		}
	}
	out := make([]variable, 0, len(byName))
	for _, name := range sorted(byName) {
		out = append(out, variable{name, byName[name]})
	}
	return out
}

// env decodes the environment over c. Each variable becomes the small document
// that a file with only this key would be, and goes the same way.
func (l *loader) env(vars []variable, c *Config) {
	for _, v := range vars {
		at := Origin{Kind: FromEnv, Name: v.name}
		d := l.layer(func(*yaml.Node) Origin { return at }, here())
		names, row := findEnv(c, strings.Split(strings.ToLower(strings.TrimPrefix(v.name, EnvPrefix)), "__"))
		if names == nil {
			l.problems.add(Problem{Origin: at, What: "This variable sets nothing. " + suggestEnv(c, v.name)})
			continue
		}
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: v.value}
		if row != nil { // else a key that is not built yet: the decoder words it
			if n = row.node(v.value); n == nil {
				l.problems.add(Problem{Origin: at, Key: strings.Join(names, "."), What: "takes YAML in one line here, such as " + row.envExample() + "."})
				continue
			}
		}
		n = document(names, n)
		d.into(n, n, "", "", reflect.ValueOf(c).Elem())
	}
}

// here is the directory that relative paths of the environment begin at: what
// they name must not depend on where somebody stands who asks later. "" where there is none.
func here() string {
	dir, err := filepath.Abs("")
	if err != nil {
		return ""
	}
	return dir
}

// node is the value of a variable, or of redoubt config set, as a file would have it;
// nil if it is no YAML where YAML is needed.
func (r *Row) node(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	switch {
	case r.flow():
		parsed, p := parseYAML([]byte(text), r.Key)
		if p != nil || parsed == nil || parsed.Kind == yaml.ScalarNode {
			return nil
		}
		n = parsed
	case r.Kind == KindString || r.Kind == KindName || r.Kind == KindPath || r.Kind == KindSecret || len(r.Values) > 0:
		n.Tag = "!!str"
	}
	return n
}

// document is the file that has this value and nothing else.
func document(names []string, n *yaml.Node) *yaml.Node {
	for i := len(names) - 1; i >= 0; i-- {
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: names[i]}
		n = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, n}}
	}
	return n
}

// findEnv follows the parts of a variable down the schema. It returns the
// path, with names as they are spelled, and the row at its end; no row if the
// end is a key that is not built yet; no path if there is nothing.
func findEnv(c *Config, parts []string) (path []string, row *Row) {
	pattern := ""
	for _, part := range parts {
		if row != nil && row.Kind == KindNames {
			part = spelled(c, pattern, part)
			if !validName(part) {
				return nil, nil
			}
			path, pattern = append(path, part), join(pattern, "<name>")
			row = rowOf[pattern] // nil for a listener, which is a section
			if row == nil {
				row = &Row{Key: pattern, Kind: KindSection}
			}
			continue
		}
		if row != nil && row.Kind != KindSection {
			return nil, nil
		}
		path, pattern = append(path, part), join(pattern, part)
		if row = rowOf[pattern]; row == nil {
			if partOf(pattern, "") == "" {
				return nil, nil
			}
			return path, nil
		}
	}
	return path, row
}

// spelled finds the entry whose name has dashes where the variable cannot.
func spelled(c *Config, pattern, part string) string {
	var names []string
	switch pattern {
	case "listeners":
		names = sorted(c.Listeners)
	case "authn.chains":
		names = sorted(c.Authn.Chains)
	case "authn.jwt":
		names = sorted(c.Authn.JWT)
	case "authn.lookup":
		names = sorted(c.Authn.Lookup)
	case "authn.http":
		names = sorted(c.Authn.HTTP)
	case "authn.kerberos":
		names = sorted(c.Authn.Kerberos)
	case "authn.cinfo":
		names = sorted(c.Authn.CInfo)
	case "authz.lookup":
		names = sorted(c.Authz.Lookup)
	case "backends":
		names = sorted(c.Backends)
	}
	for _, name := range names {
		if strings.ReplaceAll(name, "-", "_") == part {
			return name
		}
	}
	return part
}

// suggestEnv finds the variable that was meant.
func suggestEnv(c *Config, name string) string {
	var candidates []string
	for _, l := range leaves(c) {
		candidates = append(candidates, EnvName(l.key))
	}
	if len(name) <= 128 {
		if near := nearest(name, candidates); near != "" {
			return "Did you mean " + near + "?"
		}
		// One underscore where two belong is the commonest slip.
		for _, cand := range candidates {
			if strings.ReplaceAll(cand, "__", "_") == strings.ReplaceAll(name, "__", "_") {
				return "Did you mean " + cand + "?"
			}
		}
	}
	return "Two underscores part the names of a key, as in " + EnvName("limits.packet_bytes") + "."
}

// envExample is a value of a list or section in one line.
func (r *Row) envExample() string {
	switch r.Kind {
	case KindBinds, KindOrigins, KindPaths, KindTexts, KindNetworks, KindAccess, KindHosts, KindNameList, KindEnums:
		return "'" + r.listExample() + "'"
	case KindSection:
		return "'{" + childrenOf[r.Key][0] + ": ...}', or one variable for each key below it"
	case KindPrefixes:
		return `'{"/24": 500}'`
	case KindNames:
		return "'" + r.Default + "'"
	default:
		return "'[{" + strings.Join(childrenOf[r.Key+"[]"], ": ..., ") + ": ...}]'"
	}
}
