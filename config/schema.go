package config

import (
	"slices"
	"strconv"
	"strings"
)

// Reload says what a changed value needs to take effect.
type Reload string

// The three answers.
const (
	Live           Reload = "live"            // at once, for everybody
	NewConnections Reload = "new connections" // for who connects from then on
	Restart        Reload = "restart"         // a reload that changes it is refused
)

// Kind is what may be written for a key.
type Kind string

// The kinds. The first four have rows of their own below them.
const (
	KindSection  Kind = "section"             // keys that are all in the table
	KindNames    Kind = "section by name"     // entries under names the operator chooses
	KindItems    Kind = "list of sections"    // no names; replaced as a whole
	KindPrefixes Kind = "numbers by prefix"   // "/24": 500
	KindString   Kind = "text"                // one line
	KindName     Kind = "name"                // names an entry of another section
	KindPath     Kind = "path"                // made absolute: beside the file it is in, or where the process began
	KindSecret   Kind = "secret by reference" // file:PATH or credential:NAME
	KindEnum     Kind = "choice"
	KindInt      Kind = "number"
	KindCount    Kind = "number or auto"
	KindBool     Kind = "true or false"
	KindSize     Kind = "size"
	KindAutoSize Kind = "size or auto"
	KindSeconds  Kind = "duration in whole seconds"
	KindDuration Kind = "duration"
	KindDate     Kind = "date"
	KindEnums    Kind = "list of choices"
	KindNameList Kind = "list of names"
	KindBinds    Kind = "list of addresses"
	KindOrigins  Kind = "list of origins"
	KindHosts    Kind = "list of host names"
	KindPaths    Kind = "list of paths" // each made absolute, too
	KindTexts    Kind = "list of texts" // each of the form of the row
	KindNetworks Kind = "list of networks"
	KindAccess   Kind = "list of access rules" // the first that matches decides
)

// Row is one key of the file. The table of rows is the only place where a
// default, a range or a reason is written; the loader, the JSON Schema, the
// reference page, the example file and config explain all read it.
type Row struct {
	Key     string   // <name> stands for a name of the operator's, [] for a list's item
	Kind    Kind     // what may be written
	Unit    string   // of a number; "" when the value carries it or there is none
	Default string   // YAML text; "" when there is none
	Note    string   // what an empty default means, or which values are meant
	Min     string   // in the key's own notation; "" for none
	Max     string   // likewise; of KindItems the most entries, if fewer than of any list
	Values  []string // of KindEnum and KindEnums
	Pattern string   // of KindString and KindTexts: an anchored regular expression
	Form    string   // Pattern in words
	Need    bool     // an entry without it is refused
	Why     string   // why it exists and why the default is what it is
	Since   string   // release that first had it
	Reload  Reload   // what a change needs
	File    string   // why the key belongs to the file: it cannot be set at run time; "" if it can
}

// fileOnly tells whether a value cannot be set at run time: its row says so, or it is, or
// is a part of, a list of sections.
func (r *Row) fileOnly() bool {
	return r.File != "" || r.Kind == KindItems || strings.Contains(r.Key, "[]")
}

// flow tells whether the value is a list or a section, which the environment
// gives as YAML flow text.
func (r *Row) flow() bool {
	switch r.Kind {
	case KindSection, KindNames, KindItems, KindPrefixes, KindEnums, KindNameList, KindBinds, KindOrigins, KindPaths, KindTexts, KindNetworks, KindHosts, KindAccess:
		return true
	}
	return false
}

// entries is how many a list of sections may have.
func (r *Row) entries() int {
	if r.Max == "" {
		return entriesMax
	}
	n, err := strconv.Atoi(r.Max)
	if err != nil {
		panic("BUG: the row of " + r.Key + " has no number of entries")
	}
	return n
}

// hasExample tells whether Note shows what may be written, and not what an empty
// default means.
func (r *Row) hasExample() bool { return strings.HasPrefix(r.Note, "such as ") }

// webSocketOnly tells whether the key has a meaning on protocols wss and ws only.
func (r *Row) webSocketOnly() bool {
	return r.Key == "listeners.<name>.path" || r.Key == "listeners.<name>.origins"
}

// Range is what may be written, in words; "" when the kind says it all.
func (r *Row) Range() string {
	switch {
	case len(r.Values) > 0:
		return oneOf(r.Values)
	case r.Min != "" && (r.Kind == KindCount || r.Kind == KindAutoSize):
		return "auto, or " + r.Min + " to " + r.Max
	case r.Min != "":
		return r.Min + " to " + r.Max
	case r.Max != "":
		return "at most " + r.Max + " entries"
	default:
		return r.Form
	}
}

// Rows is the table, in the order of the reference page.
func Rows() []Row { return slices.Clone(table) }

var table = slices.Concat(rowsNode, rowsListeners, rowsListenerLimits, rowsListenerNewcomers, rowsLimits, rowsNewcomers, rowsRates, rowsNodeLimits, rowsMQTT, rowsBackends, rowsAccess, rowsSCRAM, rowsAuthnJWT, rowsCInfo, rowsKerberos, rowsLookup, rowsAuthnHTTP, rowsAuthz, rowsAuthzLookup, rowsTrust, rowsBans, rowsStore, rowsEnroll, rowsAudit, rowsAdmin)

// rowOf finds a row by its pattern.
var rowOf = func() map[string]*Row {
	m := make(map[string]*Row, len(table))
	for i := range table {
		if m[table[i].Key] != nil {
			panic("BUG: two rows for " + table[i].Key)
		}
		m[table[i].Key] = &table[i]
	}
	return m
}()

// childrenOf lists the key names directly below a pattern, in table order; ""
// is the top of the file.
var childrenOf = func() map[string][]string {
	m := map[string][]string{}
	for i := range table {
		parent, name := splitKey(table[i].Key)
		m[parent] = append(m[parent], name)
	}
	return m
}()

// splitKey cuts a pattern before its last name.
func splitKey(key string) (parent, name string) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return "", key
	}
	return key[:i], key[i+1:]
}

// join puts a name below a path or pattern.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func oneOf(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
}

// notBuilt is a known key, or a known value of a key, of a part that this
// release does not have. Saying so is kinder than "unknown key".
type notBuilt struct{ key, value, part string }

const (
	partTrust   = "transport trust (client certificates and revocation)"
	partBackup  = "backup and restore"
	partControl = "the control plane (HTTPS API and dashboard)"
	partAudit   = "the audit trail"
	partTenants = "multi-tenancy"
)

var later = []notBuilt{
	{"backup", "", partBackup},
	{"admin.bind", "", partControl},
	{"audit.sinks", "", partAudit},
}

// partOf tells with which part a key or value joins; "" means it is in no plan.
func partOf(pattern, value string) string {
	for i := range later {
		if later[i].key == pattern && later[i].value == value {
			return later[i].part
		}
	}
	return ""
}

// laterChildren lists the names below a pattern that are known but not built.
func laterChildren(pattern string) []string {
	var out []string
	for i := range later {
		if parent, name := splitKey(later[i].key); parent == pattern && later[i].value == "" {
			out = append(out, name)
		}
	}
	return out
}
