package config

import (
	"fmt"
	"strings"
)

// Explanation is everything known about one key.
type Explanation struct {
	Key     string        `json:"key"` // as asked; a section has Keys and no value
	Kind    Kind          `json:"type"`
	Unit    string        `json:"unit,omitempty"`
	Set     bool          `json:"-"` // Value and Origin are meant
	Value   any           `json:"value,omitempty"`
	Origin  string        `json:"origin,omitempty"`
	Default string        `json:"default,omitempty"`
	Note    string        `json:"note,omitempty"`
	Range   string        `json:"range,omitempty"`
	Why     string        `json:"why"`
	Since   string        `json:"since"`
	Reload  Reload        `json:"reload,omitempty"`
	Env     string        `json:"env,omitempty"`
	File    string        `json:"belongs_to_the_file,omitempty"` // why it cannot be set at run time
	Keys    []Explanation `json:"keys,omitempty"`

	text string
}

// Explain answers redoubt config explain KEY. KEY is a path with names in it
// (listeners.mqtts.bind) or a pattern (listeners.<name>.bind).
func (l *Loaded) Explain(key string) (*Explanation, error) { return l.ExplainWith(key, l.Settings()) }

// ExplainWith is Explain with the values and origins of settings, such as those of a
// running broker.
func (l *Loaded) ExplainWith(key string, settings []Setting) (*Explanation, error) {
	pattern, err := l.patternOf(key)
	if err != nil {
		return nil, err
	}
	row := rowOf[pattern]
	if row == nil { // an entry of a map of sections, such as listeners.mqtts
		row = &Row{Key: pattern, Kind: KindSection, Since: release, Why: "One entry of " + strings.TrimSuffix(pattern, ".<name>") + "."}
	}
	ex := explain(row, key)
	for _, lf := range leaves(defaultConfig()) { // an entry that is there by default has defaults of its own
		if text := flow(nodeOf(lf.value)); lf.key == key && (row.Need || row.Default == "") {
			ex.Default = text
		}
	}
	for _, s := range settings {
		switch {
		case s.Key == key:
			ex.Set, ex.Value, ex.Origin, ex.text = true, s.Value, s.Origin, s.Text
			ex.Env = EnvName(key)
		case strings.HasPrefix(s.Key, key+"."):
			ex.Keys = append(ex.Keys, Explanation{Key: s.Key, Set: true, Value: s.Value, Origin: s.Origin, text: s.Text})
		}
	}
	if !ex.Set && len(ex.Keys) == 0 {
		for _, name := range childrenOf[pattern] {
			ex.Keys = append(ex.Keys, explain(rowOf[join(pattern, name)], join(key, name)))
		}
	}
	return &ex, nil
}

func explain(row *Row, key string) Explanation {
	ex := Explanation{Key: key, Kind: row.Kind, Unit: row.Unit, Note: row.Note, Range: row.Range(), Why: row.Why, Since: row.Since, Reload: row.Reload, File: row.File}
	if row.Kind != KindSection && row.Default != "" {
		ex.Default = row.defaultText()
	}
	return ex
}

// patternOf finds the row a key belongs to. Names may be any that could be
// there.
func (l *Loaded) patternOf(key string) (string, error) {
	pattern, path := "", ""
	for _, name := range strings.Split(key, ".") {
		here := join(pattern, name)
		switch row := rowOf[pattern]; {
		case row != nil && row.Kind == KindNames && (validName(name) || name == "<name>"):
			here = join(pattern, "<name>")
		case rowOf[here] != nil:
		case partOf(here, "") != "":
			return "", fmt.Errorf("%s is not built yet: it joins with %s", printable(key), partOf(here, ""))
		default:
			if s := suggestKey(pattern, path, name); s != "" {
				return "", fmt.Errorf("%s is no key. Did you mean %s?", printable(key), s)
			}
			return "", fmt.Errorf("%s is no key. The sections are %s", printable(key), strings.Join(childrenOf[""], ", "))
		}
		pattern, path = here, join(path, name)
	}
	return pattern, nil
}

// Text is the explanation for a terminal.
func (ex *Explanation) Text() string {
	var b strings.Builder
	head := ex.Key
	if ex.Set {
		head += " = " + ex.text
	}
	b.WriteString(head + "\n")
	line := func(word, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s%s\n", word, text)
		}
	}
	line("from", ex.Origin)
	line("default", ex.Default)
	line("type", string(ex.Kind))
	line("unit", ex.Unit)
	line("range", ex.Range)
	if ex.Note != ex.Default {
		for i, part := range wrap(strings.ReplaceAll(ex.Note, "`", ""), 78) {
			line([]string{"note", ""}[min(i, 1)], part)
		}
	}
	line("reload", reloadWords[ex.Reload])
	if ex.File != "" {
		line("set", "in the file only: "+ex.File)
	}
	line("env", ex.Env)
	line("since", ex.Since)
	for i, part := range wrap(ex.Why, 78) {
		line([]string{"why", ""}[min(i, 1)], part)
	}
	for _, k := range ex.Keys {
		if k.Set {
			fmt.Fprintf(&b, "  %s = %s   # %s\n", k.Key, k.text, k.Origin)
		} else {
			fmt.Fprintf(&b, "  %s: %s\n", k.Key, k.Kind)
		}
	}
	return b.String()
}

var reloadWords = map[Reload]string{
	Live:           "takes effect at once",
	NewConnections: "takes effect for new connections",
	Restart:        "needs a restart; a reload that changes it is refused",
}

// wrap breaks text between words so that no line passes width, if it can.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
