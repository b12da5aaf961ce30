package config

import (
	"bytes"
	"fmt"
	"strings"
)

// generated says so at the top of what is written from the table.
const generated = "Generated from the table of keys in package config by `go test ./config -rewrite`; do not edit."

const referenceHead = `# Configuration reference

<!-- ` + generated + ` -->

One YAML file, ` + "`" + DefaultFile + "`" + ` unless ` + "`--config FILE`" + ` names another. An empty file, or none, is valid: every key has the hardened
default shown here. [redoubt.example.yaml](redoubt.example.yaml) is the same page as a file.

- **Strict.** An unknown key, a wrong type, a value out of range, or an insecure one without a waiver is refused, with file, line,
  column, range and remedy. All problems of a file are reported together. ` + "`redoubt config check`" + ` asks without starting anything.
- **Order.** Defaults, then what was set at run time, then the file, then the environment, then flags; later wins. A key in the file, the
  environment or a flag is pinned: ` + "`redoubt config set`" + ` refuses it and says where it is. ` + "`redoubt config show --origin`" + ` prints every value
  of the running broker and where it came from, ` + "`redoubt config explain KEY`" + ` one key and its reason.
- **At run time** ` + "`redoubt config set KEY VALUE`" + ` sets a key that nobody pinned and ` + "`redoubt config unset KEY`" + ` takes it back. The value is
  judged like the file, with everything else; it is on disk before the command is done, and counts after every start. One that no longer fits
  (an unknown key, a value out of range, a combination that is refused) is left out at the start with a warning, never a reason not to
  start; the older of two that do not go together stays. A key marked *file* under Reload cannot be set so, nor can a list of sections.
- **Environment.** ` + "`REDOUBT_LIMITS__PACKET_BYTES=1MiB`" + ` sets ` + "`limits.packet_bytes`" + `: two underscores part the names, and a dash in a name
  becomes an underscore. Lists and sections are YAML in one line: ` + "`REDOUBT_LISTENERS__MQTTS__BIND='[\":8883\"]'`" + `. A variable that begins so and
  sets nothing is refused, except those that Kubernetes makes for a Service of this name.
- **Sections by name** (listeners, chains): an entry named as a default one changes only the keys it has; a new name is a new entry. Lists are replaced as a whole.
- **Sizes** are ` + "`512`" + `, ` + "`16KiB`" + `, ` + "`1MiB`" + `, ` + "`1GiB`" + `; **durations** ` + "`500ms`" + `, ` + "`10s`" + `, ` + "`5m`" + `, ` + "`24h`" + `. **Paths** in the file are relative to the file, in the environment and
  in flags to the working directory.
- **Secrets** are references, never text in the file: ` + "`file:PATH`" + `, or ` + "`credential:NAME`" + ` with systemd's ` + "`LoadCredential=`" + `.
- **Reload** (SIGHUP, ` + "`redoubt reload`" + `): *live* takes effect at once, *new connections* for who connects from then on; a reload that changes a
  key marked *restart* is refused as a whole, with the old and the new value. Set at run time, such a key waits for the next start.
- **Waivers.** What is refused for safety can be waived by row, scope, reason, owner and expiry, for at most 180 days:
  plain MQTT or metrics off loopback (row P1.4). Numbers inside a key's range need none.

`

// Reference is docs/configuration.md.
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	b.WriteString("| Section | About |\n| --- | --- |\n")
	for _, name := range childrenOf[""] {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", name, name, markdown(rowOf[name].Why))
	}
	for _, name := range childrenOf[""] {
		referenceSection(&b, rowOf[name], "##")
	}
	b.WriteString("\n## Not built yet\n\nThese keys are known and refused until their part joins.\n\n| Key | Joins with |\n| --- | --- |\n")
	for _, n := range later {
		key := "`" + n.key + "`"
		if n.value != "" {
			key += " = `" + n.value + "`"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", key, n.part)
	}
	return b.Bytes()
}

// referenceSection writes one heading, a table of the values directly below
// it, and then the sections below it.
func referenceSection(b *bytes.Buffer, row *Row, heading string) {
	fmt.Fprintf(b, "\n%s `%s`\n\n%s\n", heading, row.Key, markdown(row.Why))
	pattern := row.Key
	switch row.Kind {
	case KindNames:
		fmt.Fprintf(b, "\nDefault: `%s`. Names: %s.\n", row.Default, row.Form)
		if below := join(pattern, "<name>"); rowOf[below] == nil {
			pattern = below
		}
	case KindItems:
		fmt.Fprintf(b, "\nDefault: `%s`. An item is `%s`.\n", row.Default, strings.TrimPrefix(row.Note, "such as "))
		pattern += "[]"
	}
	table, sections := []*Row{}, []*Row{}
	for _, name := range childrenOf[pattern] {
		child := rowOf[join(pattern, name)]
		switch child.Kind {
		case KindSection, KindNames:
			sections = append(sections, child)
		case KindItems:
			table = append(table, child)
			for _, item := range childrenOf[child.Key+"[]"] {
				table = append(table, rowOf[child.Key+"[]."+item])
			}
		default:
			table = append(table, child)
		}
	}
	if len(table) > 0 {
		b.WriteString("\n| Key | Type | Default | Range | Reload | Why |\n| --- | --- | --- | --- | --- | --- |\n")
	}
	for _, r := range table {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", r.Key, r.typeCell(), r.defaultCell(), markdown(r.Range()), r.reloadCell(), r.whyCell())
	}
	for _, child := range sections {
		referenceSection(b, child, heading+"#")
	}
}

func (r *Row) typeCell() string {
	if r.Unit != "" {
		return string(r.Kind) + ", " + r.Unit
	}
	return string(r.Kind)
}

func (r *Row) defaultCell() string {
	switch {
	case r.Need:
		return "required"
	case r.Default == "":
		return ""
	case r.defaultText() != r.Default:
		return markdown(r.Note)
	default:
		return "`" + r.Default + "`"
	}
}

func (r *Row) whyCell() string {
	if r.Note == "" || r.defaultText() != r.Default && !r.Need && r.Default != "" {
		return markdown(r.Why)
	}
	return markdown(upperFirst(r.Note) + ". " + r.Why)
}

// reloadCell is what a change needs, and whether only the file can make it.
func (r *Row) reloadCell() string {
	if r.fileOnly() {
		return string(r.Reload) + ", file"
	}
	return string(r.Reload)
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// markdown keeps angle brackets and bars from meaning something, outside of
// code.
func markdown(s string) string {
	parts := strings.Split(s, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("<", "&lt;", ">", "&gt;", "|", "&#124;").Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

// Example is docs/redoubt.example.yaml: every key with its default.
func Example() []byte {
	var b bytes.Buffer
	b.WriteString("# Redoubt configuration: every key with its hardened default. An empty file means the same.\n# " + generated + "\n")
	e := exampleWriter{out: &b}
	for _, name := range childrenOf[""] {
		b.WriteString("\n")
		e.key(rowOf[name], 0)
	}
	return b.Bytes()
}

type exampleWriter struct{ out *bytes.Buffer }

// key writes a row and what is below it.
func (e *exampleWriter) key(row *Row, depth int) {
	_, name := splitKey(row.Key)
	e.comment(row, depth)
	indent := strings.Repeat("  ", depth)
	switch row.Kind {
	case KindSection:
		fmt.Fprintf(e.out, "%s%s:\n", indent, name)
		e.section(row.Key, nil, depth+1)
	case KindNames:
		fmt.Fprintf(e.out, "%s%s:\n", indent, name)
		entries := defaultNodes()[row.Key]
		for i := 0; i+1 < len(entries.Content); i += 2 {
			entry := join(row.Key, "<name>")
			if leafRow := rowOf[entry]; leafRow != nil {
				e.comment(leafRow, depth+1)
				fmt.Fprintf(e.out, "%s  %s: %s\n", indent, entries.Content[i].Value, flow(entries.Content[i+1]))
				continue
			}
			fmt.Fprintf(e.out, "%s  %s:\n", indent, entries.Content[i].Value)
			given := map[string]string{}
			for j, n := range entries.Content[i+1].Content {
				if j%2 == 1 {
					given[entries.Content[i+1].Content[j-1].Value] = flow(n)
				}
			}
			e.section(entry, given, depth+2)
		}
	default:
		fmt.Fprintf(e.out, "%s%s: %s\n", indent, name, row.Default)
	}
}

// section writes the keys below a pattern; given are values that come from the
// default entry of a section by name.
func (e *exampleWriter) section(pattern string, given map[string]string, depth int) {
	for _, name := range childrenOf[pattern] {
		row := *rowOf[join(pattern, name)]
		if row.webSocketOnly() && given["protocol"] != ProtocolWSS {
			continue
		}
		if v, ok := given[name]; ok {
			row.Default = v
		}
		e.key(&row, depth)
	}
}

// comment says why, what may be written, and what a change needs.
func (e *exampleWriter) comment(row *Row, depth int) {
	text := row.Why
	var facts []string
	switch {
	case row.Note == "":
	case row.Default == `""` || row.Default == "[]" && !row.hasExample():
		facts = append(facts, "Empty: "+row.Note)
	default:
		facts = append(facts, upperFirst(row.Note))
	}
	switch words := row.Range(); {
	case words == "":
	case row.Kind == KindEnum || row.Kind == KindEnums:
		facts = append(facts, "Choices: "+strings.Join(row.Values, ", "))
	case row.Kind == KindNames:
		facts = append(facts, "Names: "+words)
	case row.Min == "":
		facts = append(facts, upperFirst(words))
	default:
		facts = append(facts, strings.TrimSuffix("Range: "+words+" "+row.Unit, " "))
	}
	if row.Kind == KindItems {
		facts = append(facts, "Keys of an item: "+strings.Join(childrenOf[row.Key+"[]"], ", "))
	}
	if row.Reload == Restart {
		facts = append(facts, "A change needs a restart")
	}
	if len(facts) > 0 {
		text += " " + strings.Join(facts, ". ") + "."
	}
	indent := strings.Repeat("  ", depth)
	for _, line := range wrap(strings.ReplaceAll(text, "`", ""), 110-len(indent)) {
		fmt.Fprintf(e.out, "%s# %s\n", indent, line)
	}
}
