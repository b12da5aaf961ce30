package config

import (
	"encoding/json"
	"strings"
)

// JSON Schema forms of the values that YAML has as text.
const (
	sizeForm     = `^[0-9]+(B|KiB|MiB|GiB|TiB)?$`
	durationForm = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	nameFormECMA = `^[a-z](?:[a-z0-9-]|_[a-z0-9-])*$`
	prefixForm   = `^/([89]|[1-9][0-9]|1[01][0-9]|12[0-8])$`
	secretForm   = `^(file:.+|credential:[^/]+)$`
)

// JSONSchema describes the file for editors and other tools, in draft 2020-12.
// It cannot say everything the loader refuses: ranges of sizes and durations
// are in the descriptions, and keys that are judged together are not in it.
func JSONSchema() []byte {
	root := schemaOf("")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "urn:redoubt:config:" + release
	root["title"] = "Redoubt configuration"
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("BUG: the JSON Schema has no JSON: " + err.Error())
	}
	return append(b, '\n')
}

type object = map[string]any

// schemaOf describes the section of a pattern.
func schemaOf(pattern string) object {
	properties := object{}
	var need []string
	for _, name := range childrenOf[pattern] {
		if name == "<name>" {
			continue
		}
		row := rowOf[join(pattern, name)]
		properties[name] = rowSchema(row)
		if row.Need && strings.HasSuffix(pattern, "[]") {
			need = append(need, name)
		}
	}
	s := object{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	if strings.HasSuffix(pattern, "[]") {
		s["type"] = "object"
	}
	if need != nil {
		s["required"] = need
	}
	return s
}

// rowSchema describes one key.
func rowSchema(row *Row) object {
	s := valueSchema(row)
	s["description"] = row.description()
	if row.fileOnly() {
		s["x-redoubt-file-only"] = true // redoubt config set refuses it
	}
	if n := defaultNodes()[row.Key]; n != nil && row.Kind != KindNames {
		var value any
		if err := n.Decode(&value); err != nil {
			panic("BUG: the default of " + row.Key + " has no JSON: " + err.Error())
		}
		s["default"] = value
	}
	return s
}

func valueSchema(row *Row) object {
	switch row.Kind {
	case KindSection:
		return schemaOf(row.Key)
	case KindNames:
		entry := join(row.Key, "<name>")
		value := schemaOf(entry)
		if r := rowOf[entry]; r != nil {
			value = rowSchema(r)
		}
		return object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": nameFormECMA, "maxLength": 32},
			"additionalProperties": value, "maxProperties": entriesMax}
	case KindItems:
		return object{"type": "array", "items": schemaOf(row.Key + "[]"), "maxItems": row.entries()}
	case KindPrefixes:
		return object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": prefixForm}, "additionalProperties": row.integer()}
	case KindInt:
		return row.integer()
	case KindCount:
		return object{"anyOf": []object{{"const": "auto"}, row.integer()}}
	case KindBool:
		return object{"type": "boolean"}
	case KindSize:
		return object{"anyOf": []object{{"type": "integer", "minimum": 0}, {"type": "string", "pattern": sizeForm}}}
	case KindAutoSize:
		return object{"anyOf": []object{{"const": "auto"}, {"type": "integer", "minimum": 1}, {"type": "string", "pattern": sizeForm}}}
	case KindDuration, KindSeconds:
		return object{"type": "string", "pattern": durationForm}
	case KindDate:
		return object{"type": "string", "format": "date"}
	case KindEnum:
		return object{"enum": row.Values}
	case KindEnums:
		return list(object{"enum": row.Values})
	case KindName:
		return object{"type": "string", "pattern": nameFormECMA, "maxLength": 32}
	case KindNameList:
		return list(object{"type": "string", "pattern": nameFormECMA, "maxLength": 32})
	case KindBinds:
		return list(object{"type": "string", "pattern": `:[0-9]+$|/`})
	case KindOrigins:
		return list(object{"type": "string", "pattern": originPattern})
	case KindHosts:
		return list(object{"type": "string", "pattern": hostPattern, "maxLength": 253})
	case KindPaths:
		return list(object{"type": "string", "minLength": 1})
	case KindTexts:
		return list(object{"type": "string", "pattern": row.Pattern, "maxLength": textMax})
	case KindNetworks:
		return list(object{"type": "string", "pattern": `^[0-9A-Fa-f.:]+/[0-9]{1,3}$`})
	case KindAccess:
		return list(object{"type": "string", "pattern": `^(allow|deny) (all|[0-9A-Fa-f.:]+(/[0-9]{1,3})?)$`})
	case KindSecret:
		if row.Default == `""` {
			return object{"type": "string", "pattern": "^$|" + secretForm}
		}
		return object{"type": "string", "pattern": secretForm}
	case KindString:
		pattern := row.Pattern
		if row.Default == `""` {
			pattern = "^$|" + pattern
		}
		return object{"type": "string", "pattern": pattern, "maxLength": textMax}
	default:
		return object{"type": "string", "maxLength": textMax}
	}
}

// integer is the range of plain numbers.
func (r *Row) integer() object {
	lo, hi := r.bounds()
	return object{"type": "integer", "minimum": lo, "maximum": hi}
}

func list(item object) object {
	return object{"type": "array", "items": item, "maxItems": entriesMax, "uniqueItems": true}
}

// description is the row in sentences.
func (r *Row) description() string {
	parts := []string{r.Why}
	if words := r.Range(); words != "" {
		parts = append(parts, "Range: "+words+".")
	}
	if r.Unit != "" {
		parts = append(parts, "Unit: "+r.Unit+".")
	}
	if r.Reload != "" {
		parts = append(parts, "Reload: "+string(r.Reload)+".")
	}
	if r.File != "" {
		parts = append(parts, "Belongs to the file: "+r.File+".")
	}
	return strings.Join(parts, " ")
}
