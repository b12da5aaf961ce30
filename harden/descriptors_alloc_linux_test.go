//go:build !race

package harden

import (
	"os"
	"strings"
	"testing"
)

// Lines of connections and numbers of connections leave no garbage behind.
func TestALookDoesNotAllocByConnection(t *testing.T) {
	local := hexWord(t, "7F000001")
	line := "   1: " + local + ":22B3 " + local + ":1234 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 20 4 30 10 -1                   \n"
	table := "  sl  local_address\n" + strings.Repeat(line, 10_000)
	if n := testing.AllocsPerRun(5, func() {
		if found, err := parseInet(strings.NewReader(table), "tcp", "0A"); err != nil || len(found) != 0 {
			t.Fatal(found, err)
		}
	}); n > 10 {
		t.Errorf("a table: %v", n)
	}
	for range 100 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
	}
	e := &Env{}
	if n := testing.AllocsPerRun(5, func() {
		if d := e.ownDescriptors(); d.count < 200 {
			t.Fatalf("%+v", d)
		}
	}); n > 40 {
		t.Errorf("descriptors: %v", n)
	}
}
