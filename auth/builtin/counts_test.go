package builtin

import (
	"slices"
	"testing"

	"github.com/redoubtmq/redoubt/auth/scram"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Which iterations users have is known after each change, and after a restart.
func TestIterationsAreCounted(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	for i, name := range []string{"ann", "bob", "eve"} {
		iterations := scram.IterationsMin
		if i == 2 {
			iterations *= 2
		}
		d.SetSCRAM([]scram.Algorithm{scram.SHA256}, iterations)
		if _, err := d.Add(name, secret.FromString(canary), WithSCRAM); err != nil {
			t.Fatal(err)
		}
	}
	want := []scram.Count{{Iterations: scram.IterationsMin, Users: 2}, {Iterations: 2 * scram.IterationsMin, Users: 1}}
	again, err := Open(d.kept, d.clock)
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*Store{"live": d.Store, "again": again} {
		if got := s.SCRAMCounts(scram.SHA256); !slices.Equal(got, want) || len(s.SCRAMCounts(scram.SHA512)) > 0 {
			t.Errorf("%s: %v", what, got)
		}
	}
	if err := d.Delete("eve"); err != nil || !slices.Equal(d.SCRAMCounts(scram.SHA256), want[:1]) {
		t.Error(err, d.SCRAMCounts(scram.SHA256))
	}
}
