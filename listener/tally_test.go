package listener

import (
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// Every refusal that the door knows has a place and a name in a listener's tally.
func TestEveryRefusalIsTallied(t *testing.T) {
	if len(RefusalReasons) != len(refusals) {
		t.Fatalf("%d names for %d refusals", len(RefusalReasons), len(refusals))
	}
	known := map[Refusal]bool{Denied: true, NoProxy: true, NoHeader: true, BadHeader: true, OverHandshakeRate: true}
	for r := range refusalMetric {
		known[r] = true
	}
	var l Tally
	for r := range known {
		l.Refuse(r)
	}
	for i, n := range l.Refused() {
		if n != 1 || !known[refusals[i]] {
			t.Errorf("%s was refused %d times", RefusalReasons[i], n)
		}
	}
	if len(known) != len(refusals) || l.OverRate() != 3 || l.Accepted() != 0 {
		t.Errorf("%d refusals, %d over a rate, %d accepted", len(known), l.OverRate(), l.Accepted())
	}
}

// A listener's strangers are counted whatever ends them, and those of others are not.
func TestStrangersOfAListenerAreCounted(t *testing.T) {
	d, err := NewDoor(DoorLimits{ConnectionsTotal: 3, UnauthenticatedTotal: 2, HandshakesTotal: 2, ConnectDeadline: time.Second}, metrics.New().NewShard())
	if err != nil {
		t.Fatal(err)
	}
	one, other := &Listener{Name: "one", Door: d}, &Listener{Name: "other", Door: d}
	at, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1_800_000_000, 0)
	counts := func(what string, strangers, others, accepted, refused int64) {
		t.Helper()
		r := one.Tally.Refused()[5]
		if one.Gate.Waiting() != strangers || other.Gate.Waiting() != others || one.Tally.Accepted() != accepted || r != refused {
			t.Errorf("%s: %d strangers, %d of the other, %d accepted, %d refused; want %d, %d, %d, %d", what, one.Gate.Waiting(), other.Gate.Waiting(), one.Tally.Accepted(), r, strangers, others, accepted, refused)
		}
	}
	a, _, _ := one.Admit(now, at)
	b, _, _ := other.Admit(now, at)
	counts("two came", 1, 1, 1, 0)
	if _, refusal, _ := one.Admit(now, at); refusal != OverUnauthenticated { // nobody can be told to make room
		t.Fatalf("%q", refusal)
	}
	counts("one was refused", 1, 1, 1, 1)
	a.Authenticated()
	counts("one has said who he is", 0, 1, 1, 1)
	a.Leave()
	b.Leave()
	counts("both are gone", 0, 0, 1, 1)
}
