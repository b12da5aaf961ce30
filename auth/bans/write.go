package bans

import (
	"encoding/csv"
	"encoding/json"
	"io"
)

// Writer writes bans as Read takes them.
type Writer struct {
	csv *csv.Writer
	out io.Writer
	n   int
}

// NewWriter writes CSV, or JSON.
func NewWriter(out io.Writer, asJSON bool) (*Writer, error) {
	w := &Writer{out: out}
	if asJSON {
		_, err := io.WriteString(out, "[")
		return w, err
	}
	w.csv = csv.NewWriter(out)
	return w, w.csv.Write(columns)
}

// Add writes one.
func (w *Writer) Add(r *Row) error {
	w.n++
	if w.csv != nil {
		fields := make([]string, len(columns))
		for i, name := range columns {
			fields[i] = *r.field(name)
		}
		return w.csv.Write(fields)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	before := ",\n"
	if w.n == 1 {
		before = "\n"
	}
	_, err = io.WriteString(w.out, before+string(b))
	return err
}

// End writes what is left.
func (w *Writer) End() error {
	if w.csv != nil {
		w.csv.Flush()
		return w.csv.Error()
	}
	_, err := io.WriteString(w.out, "\n]\n")
	return err
}
