package scram

import (
	"fmt"
	"testing"
)

// counted is nobody, who seem to have these.
type counted struct {
	people
	counts []Count
}

func (c counted) SCRAMCounts(Algorithm) []Count { return c.counts }

// Who does not exist has the iterations that users have, each as often as they: those of
// before a change of authn.scram.iterations too. While users get new keys, so do some of
// those who do not exist, and none of them loses any.
func TestStandInsHaveTheIterationsOfUsers(t *testing.T) {
	of := func(counts ...Count) *mechanism {
		return &mechanism{New(Options{Users: counted{people{}, counts}, Iterations: 50_000, Secret: [32]byte{7}}), SHA256}
	}
	const names = 2000
	share := func(m *mechanism, iterations int) (n int) {
		for i := range names {
			if m.standIn(fmt.Sprint("nobody-", i)).Iterations == iterations {
				n++
			}
		}
		return n
	}
	if n := share(of(), 50_000); n != names {
		t.Errorf("without users with keys %d of %d have what new keys get", n, names)
	}
	if n := share(of(Count{4096, 10}), 4096); n != names {
		t.Errorf("where all users have old keys, %d of %d have", n, names)
	}
	m := of(Count{4096, 30}, Count{50_000, 10})
	if old, new := share(m, 4096), share(m, 50_000); old+new != names || old < names*70/100 || old > names*80/100 {
		t.Errorf("of %d, %d have old keys and %d new ones, want three in four", names, old, new)
	}
	later := of(Count{4096, 20}, Count{50_000, 20})
	for i := range names {
		name := fmt.Sprint("nobody-", i)
		a, b := m.standIn(name), later.standIn(name)
		if a.Iterations > b.Iterations || (a.Iterations == b.Iterations) != (a.Salt == b.Salt) {
			t.Fatalf("%s: %d, later %d; the salt is the same: %v", name, a.Iterations, b.Iterations, a.Salt == b.Salt)
		}
	}
}
