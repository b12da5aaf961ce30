package mongodb

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/backend"
)

// ArgName is the name in a filter of an object that stands for a value of the client; the
// number with it is that of Question.Args.
const ArgName = "$arg"

// writeFilter writes the document that a filter in JSON is, with args in their places. Texts
// of the operator's and of clients are written alike; only where an object stands in JSON is
// a document.
func writeFilter(w *builder, name, text string, args []string) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := writeValue(w, name, d, args); err != nil {
		return backend.Failed(backend.Garbage, "BUG: the filter is none")
	}
	return nil
}

func writeValue(w *builder, name string, d *json.Decoder, args []string) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case nil:
		w.null(name)
	case bool:
		w.bool(name, t)
	case string:
		w.text(name, t)
	case json.Number:
		return writeNumber(w, name, t)
	case json.Delim:
		if t == '[' {
			w.begin(typeArray, name)
			for i := 0; d.More(); i++ {
				if err := writeValue(w, strconv.Itoa(i), d, args); err != nil {
					return err
				}
			}
			w.end()
			_, err := d.Token()
			return err
		}
		return writeObject(w, name, d, args)
	}
	return nil
}

func writeObject(w *builder, name string, d *json.Decoder, args []string) error {
	began := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key == ArgName && !began {
			n, err := d.Token()
			if err != nil {
				return err
			}
			number, _ := n.(json.Number)
			at, err := strconv.ParseUint(number.String(), 10, 16)
			if err != nil || at >= uint64(len(args)) {
				return errBSON
			}
			w.text(name, args[at])
			_, err = d.Token()
			return err
		}
		if !began {
			w.begin(typeDocument, name)
			began = true
		}
		if err := writeValue(w, key.(string), d, args); err != nil {
			return err
		}
	}
	if !began {
		w.begin(typeDocument, name)
	}
	w.end()
	_, err := d.Token()
	return err
}

func writeNumber(w *builder, name string, n json.Number) error {
	if i, err := n.Int64(); err == nil {
		if i == int64(int32(i)) {
			w.int32(name, int32(i))
		} else {
			w.int64(name, i)
		}
		return nil
	}
	f, err := n.Float64()
	w.double(name, f)
	return err
}
