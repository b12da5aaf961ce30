package mongodb

import (
	"slices"
	"testing"

	"github.com/redoubtmq/redoubt/backend"
)

// What is no document on the way to a field is no field that is missing: a rule with no qos
// would be about any.
func TestWaysThroughADocument(t *testing.T) {
	in := func(put func(*builder)) []byte {
		w := newBuilder().text("topic", "a")
		put(w)
		return w.document()
	}
	for name, c := range map[string]struct {
		doc  []byte
		want string // of m.qos; "" is nothing there, and "!" an error
	}{
		"there":       {in(func(w *builder) { w.begin(typeDocument, "m").int32("qos", 1).end() }), "1"},
		"not there":   {in(func(w *builder) { w.begin(typeDocument, "m").end() }), ""},
		"no document": {in(func(*builder) {}), ""},
		"null":        {in(func(w *builder) { w.null("m") }), ""},
		"undefined":   {in(func(w *builder) { w.name(0x06, "m") }), ""},
		"a list":      {in(func(w *builder) { w.begin(typeArray, "m").begin(typeDocument, "0").int32("qos", 1).end().end() }), "!"},
		"empty list":  {in(func(w *builder) { w.begin(typeArray, "m").end() }), "!"},
		"a text":      {in(func(w *builder) { w.text("m", "qos") }), "!"},
		"a number":    {in(func(w *builder) { w.int32("m", 0) }), "!"},
		"false":       {in(func(w *builder) { w.bool("m", false) }), "!"},
		"deeper":      {in(func(w *builder) { w.begin(typeDocument, "m").text("qos", "1").end() }), "1"},
	} {
		f := fieldsOf("topic,qos" + backend.ManyValues + ":m.qos")
		row, err := f.row(c.doc)
		switch {
		case c.want == "!":
			if backend.KindOf(err) != backend.Excess {
				t.Errorf("%s: %v %v", name, row, err)
			}
		case err != nil || len(row) != 2 || row[1].Value != c.want || row[1].Null != (c.want == ""):
			t.Errorf("%s: %v %v", name, row, err)
		}
	}
	// The server sends all of the first step: asked for m.qos it would leave a text out.
	f := fieldsOf("a,qos:m.qos,retain:m.retain,mm")
	if got := f.paths(); !slices.Equal(got, []string{"a", "m", "mm"}) {
		t.Error(got)
	}
}
