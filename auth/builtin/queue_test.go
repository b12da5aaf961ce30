package builtin

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

func jobOf(name, from string) job {
	return job{&auth.Request{Username: name, Addr: netip.MustParseAddr(from)}, func(auth.Result) {}}
}

// Who comes from another network than a flood waits for one check of each network,
// and has a place in a full queue.
func TestNetworksTakeTurnsInTheQueue(t *testing.T) {
	q := newQueue(64, 16)
	for i := range 40 { // ten networks fill it
		for n := range 10 {
			q.push(jobOf(fmt.Sprint("flood", i), fmt.Sprintf("203.0.%d.9", n)))
		}
	}
	refusal, out := q.push(jobOf("honest", "198.51.100.7"))
	if refusal != "" || out.done == nil || out.req.Username != "flood6" {
		t.Fatalf("%q; who made room: %+v", refusal, out.req)
	}
	if q.n != 64 {
		t.Errorf("%d wait", q.n)
	}
	for i := range 11 {
		j, _, _ := q.pop()
		q.finished(j)
		if j.req.Username == "honest" {
			break
		}
		if i == 10 {
			t.Error("waited for more than one check of each network")
		}
	}
	for range 100 {
		q.push(jobOf("flood", "203.0.1.9"))
	}
	if _, out := q.push(jobOf("second", "198.51.100.8")); out.done != nil {
		if at := prefixOf(out.req.Addr); at.String() != "203.0.1.0/24" {
			t.Errorf("%v made room, and is not who has the most", at)
		}
	}
}

// Between equals nobody makes room, and within a network it is first come, first
// served.
func TestEqualsInTheQueue(t *testing.T) {
	q := newQueue(4, 4)
	for i := range 4 {
		q.push(jobOf(fmt.Sprint(i), fmt.Sprintf("10.0.%d.1", i%2)))
	}
	if refusal, _ := q.push(jobOf("more", "10.0.0.1")); refusal != queueFull {
		t.Errorf("%q", refusal)
	}
	var order string
	for q.n > 0 {
		j, _, _ := q.pop()
		q.finished(j)
		order += j.req.Username
	}
	if order != "0123" || len(q.from) != 0 || q.rings[0].turn != nil {
		t.Errorf("the order was %s; %d prefixes are left", order, len(q.from))
	}
}

// Whatever is pushed and popped, everything comes out once, or was told no.
func TestTheQueueLosesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	q := newQueue(20, 6)
	in, gone, open := 0, 0, []job{}
	for range 50_000 {
		switch {
		case random.IntN(5) < 3:
			in++
			j := jobOf("x", fmt.Sprintf("10.0.%d.1", random.IntN(8)))
			j.req.Known = random.IntN(3) == 0
			refusal, out := q.push(j)
			if refusal != "" {
				gone++
			}
			if out.done != nil {
				gone++
			}
		case q.n > 0 && len(open) < 3:
			j, _, _ := q.pop()
			open = append(open, j)
		case len(open) > 0:
			q.finished(open[0])
			open = open[1:]
			gone++
		}
		waiting := 0
		for _, w := range q.from {
			if waiting += len(w.jobs); len(w.jobs)+w.hashed > 6 || len(w.jobs)+w.hashed == 0 {
				t.Fatalf("a prefix has %d and %d", len(w.jobs), w.hashed)
			}
		}
		if waiting != q.n || q.n > 20 || in != gone+q.n+len(open) || (q.n == 0) != (q.rings[0].turn == nil && q.rings[1].turn == nil) || q.n != q.rings[0].n+q.rings[1].n {
			t.Fatalf("%d came, %d are gone, %d wait (%d), %d are hashed", in, gone, q.n, waiting, len(open))
		}
	}
}
