package mongodb

import (
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/backend"
)

// fields are what of a document becomes a row.
type fields struct {
	list []field
	all  bool     // every field there is
	but  []string // of all, those that are not wanted
}

type field struct {
	column, path string
	many         bool
}

// fieldsOf reads column:path, or a name that is both, with commas between.
func fieldsOf(text string) (f fields) {
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		name, unwanted := strings.CutPrefix(part, "-")
		switch {
		case part == "":
		case part == "*":
			f.all = true
		case unwanted:
			f.but = append(f.but, name)
		default:
			column, path, named := strings.Cut(part, ":")
			column, many := strings.CutSuffix(column, backend.ManyValues)
			if !named {
				path = column
			}
			f.list = append(f.list, field{column, path, many})
		}
	}
	return f
}

// paths are those that the server is to send, each once: the first step of each. Of a whole
// path a server leaves out what is no document on the way, as if there was nothing.
func (f *fields) paths() (out []string) {
	for _, one := range f.list {
		if top, _, _ := strings.Cut(one.path, "."); !slices.Contains(out, top) {
			out = append(out, top)
		}
	}
	return out
}

// row reads a document.
func (f *fields) row(doc []byte) (row backend.Row, err error) {
	if f.all {
		err = elements(doc, func(name string, v value) error {
			if slices.Contains(f.but, name) {
				return nil
			}
			row, err = field{name, name, true}.add(row, v)
			return err
		})
		return row, err
	}
	for _, one := range f.list {
		v, ok, err := within(doc, one.path)
		if err != nil {
			return nil, err
		}
		if !ok {
			row = append(row, backend.Field{Name: one.column, Null: true})
			continue
		}
		if row, err = one.add(row, v); err != nil {
			return nil, err
		}
	}
	return row, nil
}

// within finds what is at a path with dots between the names. A list or a text on the way is
// an error: nothing at its end would read as no limit.
func within(doc []byte, path string) (v value, ok bool, err error) {
	for rest := path; ; {
		name, after, more := strings.Cut(rest, ".")
		if v, ok = find(doc, name); !ok || !more {
			return v, ok, nil
		}
		if _, null, _ := v.column(); null {
			return v, false, nil
		}
		if v.kind != typeDocument {
			return v, false, backend.Failed(backend.Excess, "a document has on the way to its field %q something that has no fields", short(path))
		}
		doc, rest = v.raw, after
	}
}

// add appends what a value is in a row. What cannot be one is of this document, and no fault
// of the server's.
func (f field) add(row backend.Row, v value) (backend.Row, error) {
	if v.kind != typeArray {
		text, null, ok := v.column()
		if !ok {
			return nil, backend.Failed(backend.Excess, "a document has in its field %q something that is neither a text, a number without a fraction, true, false nor nothing", short(f.path))
		}
		return append(row, backend.Field{Name: f.column, Value: text, Null: null}), nil
	}
	if !f.many {
		return nil, backend.Failed(backend.Excess, "a document has a list in its field %q, and nobody knows which of it counts", short(f.path))
	}
	n := 0
	err := elements(v.raw, func(_ string, v value) (err error) {
		if v.kind == typeArray {
			return backend.Failed(backend.Excess, "a document has a list in a list in its field %q", short(f.path))
		}
		n++
		row, err = f.add(row, v)
		return err
	})
	if err == nil && n == 0 {
		return nil, backend.Failed(backend.Excess, "a document has an empty list in its field %q", short(f.path))
	}
	return row, err
}

func short(s string) string { return s[:min(len(s), 40)] }
