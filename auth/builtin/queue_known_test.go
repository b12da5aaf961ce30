package builtin

import (
	"fmt"
	"testing"
)

func knownOf(name, from string) job {
	j := jobOf(name, from)
	j.req.Known = true
	return j
}

// hash takes the next job, and answers whose it is.
func (q *queue) hash() string {
	j, _, _ := q.pop()
	q.finished(j)
	return j.req.Username
}

// However many networks send wrong passwords, a client who is known has the next check but
// one, and a place in a queue that they have filled; so he has from a network of which
// strangers flood us.
func TestTheKnownDoNotWaitForStrangers(t *testing.T) {
	q := newQueue(64, 16)
	for n := range 64 { // one check of each: nobody has more than anybody
		q.push(jobOf(fmt.Sprint("flood", n), fmt.Sprintf("203.0.%d.9", n)))
	}
	if refusal, _ := q.push(jobOf("stranger", "198.51.100.7")); refusal != queueFull {
		t.Fatalf("a stranger: %q", refusal)
	}
	refusal, out := q.push(knownOf("alice", "198.51.100.7"))
	if refusal != "" || out.done == nil {
		t.Fatalf("alice: %q", refusal)
	}
	if refusal, _ := q.push(knownOf("bob", "203.0.1.7")); refusal != "" {
		t.Fatalf("bob: %q", refusal)
	}
	if q.n != 64 {
		t.Errorf("%d wait", q.n)
	}
	order := ""
	for range 4 {
		switch name := q.hash(); name {
		case "alice", "bob":
			order += name + " "
		default:
			order += "flood "
		}
	}
	if order != "alice flood bob flood " && order != "flood alice flood bob " {
		t.Errorf("the order was %s", order)
	}
}

// The known have half of the places and half of the checks, and no more while strangers
// want them: who has one account must not shut out those who come for the first time.
func TestTheKnownLeaveRoomForStrangers(t *testing.T) {
	q := newQueue(8, 8)
	for n := range 8 {
		q.push(jobOf("stranger", fmt.Sprintf("203.0.%d.9", n)))
	}
	taken := 0
	for n := range 8 {
		if refusal, _ := q.push(knownOf("known", fmt.Sprintf("198.51.%d.9", n))); refusal == "" {
			taken++
		}
	}
	if taken != 4 {
		t.Errorf("%d known clients have a place", taken)
	}
	if refusal, out := q.push(jobOf("late", "192.0.2.1")); refusal != queueFull || out.done != nil {
		t.Errorf("a stranger has one of theirs: %q", refusal)
	}
	strangers := 0
	for range 6 {
		if q.hash() == "stranger" {
			strangers++
		}
	}
	if strangers != 3 {
		t.Errorf("%d of six checks were of strangers", strangers)
	}
	for q.n > 0 {
		q.hash()
	}
	if len(q.from) != 0 {
		t.Errorf("%d sources are left", len(q.from))
	}
}
