package harden

import (
	"os"
	"strings"
	"testing"
)

// Where the kernel cannot be asked about a process that is here, nothing is known; where it hides
// nothing, what the process took counts, kept or not.
func TestAppetite(t *testing.T) {
	f := newFake(t, flaws{})
	f.listen("secure", "mqtts", "127.0.0.1:0")
	e := f.alone(f.env())
	if r := examine(t, e, "P4.3").Rows[0]; r.State() != Pass {
		t.Fatalf("%+v", r.Results)
	}
	if err := os.Remove(f.status); err != nil {
		t.Fatal(err)
	}
	f.status = ""
	next := f.env()
	next.Proc = e.Proc
	fixture("P4.3", "the memory of the process is hidden", Unknown)
	if r := examine(t, next, "P4.3").Rows[0]; r.State() != Unknown || !strings.Contains(r.Results[0].Summary, "memory of the broker") {
		t.Errorf("%s: %+v", r.State(), r.Results)
	}
	const mib = 1 << 20
	for name, c := range map[string]struct {
		before, after appetite
		bytes         int64
		told          bool
	}{
		"nothing":              {appetite{400 * mib, 400 * mib, 50 * mib, 60 * mib}, appetite{400 * mib, 400 * mib, 50 * mib, 60 * mib}, 0, true},
		"kept":                 {appetite{400 * mib, 900 * mib, 50 * mib, 700 * mib}, appetite{656 * mib, 900 * mib, 50 * mib, 700 * mib}, 256 * mib, true},
		"given back":           {appetite{400 * mib, 410 * mib, 50 * mib, 700 * mib}, appetite{400 * mib, 656 * mib, 50 * mib, 700 * mib}, 246 * mib, true},
		"it was large once":    {appetite{400 * mib, 900 * mib, 50 * mib, 700 * mib}, appetite{400 * mib, 900 * mib, 51 * mib, 700 * mib}, mib, false},
		"it was small in some": {appetite{400 * mib, 900 * mib, 50 * mib, 60 * mib}, appetite{400 * mib, 900 * mib, 40 * mib, 60 * mib}, 0, true},
	} {
		if bytes, told := c.before.grown(&c.after); bytes != c.bytes || told != c.told {
			t.Errorf("%s: %d, %v", name, bytes, told)
		}
	}
}
