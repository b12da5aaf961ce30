//go:build cost

package backend_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// costQuestions are how many logins of each kind are counted.
const costQuestions = 2000

// TestCostOfAsking prints what a login that asks a server, each time anew and over TLS, costs
// this process beyond the connection of the client: query, answer, and the hash of the row or
// the bind. The servers are processes of their own, but MongoDB's, which is this test. It
// judges nothing but that all are let in. `make cost` runs it.
func TestCostOfAsking(t *testing.T) {
	each(t, func(t *testing.T, s *system) {
		d := s.driver(s.servers(t), ours, trusting("db.test"))
		b := backend.New("users-db", d, clock.System{}, backend.Options{Timeout: 10 * time.Second})
		hashers := backend.NewPool(clock.System{}, backend.PoolOptions{Workers: 1, Queue: 100, Share: 100, Timeout: 10 * time.Second})
		t.Cleanup(func() { b.Close(); hashers.Close() })
		a := lookup.New(lookup.Options{Name: "db", Backend: b, Query: s.users(t), Hash: hash.Spec{Algorithm: hash.SHA256}, Hashers: hashers}, clock.System{})
		enter := func() {
			if r := login(a, request("ann", annPassword)); r.Outcome != auth.Allow {
				t.Fatalf("%+v", r)
			}
		}
		for range 50 {
			enter()
		}
		before := spent(t)
		for range costQuestions {
			enter()
		}
		t.Logf("%-14s %6.0f µs of processor time a login", s.name, float64((spent(t)-before)/time.Microsecond)/costQuestions)
	})
}

// spent is the processor time of this process so far.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
