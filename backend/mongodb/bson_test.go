package mongodb

import (
	"bytes"
	"testing"
)

// What a server sends is never more than it is, and never ends the process.
func FuzzElements(f *testing.F) {
	w := newBuilder().text("a", "b").int32("c", 1).int64("d", 2).double("e", 1.5).bool("f", true).null("g").bytes("h", []byte("x"))
	w.begin(typeArray, "i").begin(typeDocument, "0").text("j", "").end().end()
	f.Add(w.document())
	f.Add([]byte{5, 0, 0, 0, 0})
	f.Add([]byte{11, 0, 0, 0, 2, 'a', 0, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{12, 0, 0, 0, 0x0b, 'a', 0, 'x', 0, 'y', 0, 0})
	f.Fuzz(func(t *testing.T, doc []byte) {
		total := 0
		_ = elements(doc, func(name string, v value) error {
			total += len(name) + len(v.raw)
			_, _, _ = v.column()
			_, _ = v.asNumber()
			_, _ = v.asText()
			_, _ = v.asBytes()
			_ = v.asBool()
			return nil
		})
		if total > len(doc) {
			t.Errorf("%d bytes of %d", total, len(doc))
		}
		_, _ = rowsOf(doc, fieldsOf("a,b.c,d"), 2)
		_, _ = rowsOf(doc, fieldsOf("*,-_id"), 2)
		_ = refused(doc)
	})
}

// An argument is a string, and only where an object was is a document.
func TestFilterIsTyped(t *testing.T) {
	w := newBuilder()
	if err := writeFilter(w, "filter", `{"u":{"$arg":0},"e":{},"l":[1,2147483648,1.5,null,true,"x"]}`, []string{`{"$ne":""}`}); err != nil {
		t.Fatal(err)
	}
	want := newBuilder().begin(typeDocument, "filter").text("u", `{"$ne":""}`).begin(typeDocument, "e").end().
		begin(typeArray, "l").int32("0", 1).int64("1", 1<<31).double("2", 1.5).null("3").bool("4", true).text("5", "x").end().end()
	if got, want := w.document(), want.document(); !bytes.Equal(got, want) {
		t.Errorf("%x\n%x", got, want)
	}
	if err := writeFilter(newBuilder(), "filter", `{"u":{"$arg":1}}`, []string{"x"}); err == nil {
		t.Error("an argument that is not there")
	}
}
