package fact

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vector is a paragraph of testdata/vectors.txt.
type vector struct {
	name, kind string
	body       []byte
	want       string // the value as Go prints it; or "refused: " and a part of the error
}

func vectors(t testing.TB) []vector {
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for part := range strings.SplitSeq(string(text), "\n\n") {
		lines := strings.SplitN(strings.TrimSpace(part), "\n", 4)
		if len(lines) != 4 {
			continue // the head
		}
		b, err := hex.DecodeString(strings.ReplaceAll(lines[2], " ", ""))
		if err != nil || kinds[lines[1]] == nil {
			t.Fatalf("vector %q: %v", lines[0], err)
		}
		all = append(all, vector{strings.TrimPrefix(lines[0], "# "), lines[1], b, lines[3]})
	}
	return all
}

// TestVectors: bodies are in files for ever, so what each byte means is written down.
func TestVectors(t *testing.T) {
	all := vectors(t)
	if len(all) < 30 {
		t.Errorf("%d vectors", len(all))
	}
	for _, v := range all {
		f := kinds[v.kind]()
		err := f.Decode(v.body)
		if why, refused := strings.CutPrefix(v.want, "refused: "); refused {
			if !errors.Is(err, ErrFact) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %s", v.name, err, why)
			}
			continue
		}
		got := fmt.Sprintf("%+v", reflect.ValueOf(f).Elem())
		if err != nil || got != v.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", v.name, got, err, v.want)
		}
		if again := f.Append(nil); !bytes.Equal(again, v.body) {
			t.Errorf("%s is written %x", v.name, again)
		}
	}
}
