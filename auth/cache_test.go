package auth

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
)

// The cache against the policy itself, with few sets, so that entries fight for
// their place, and with policies changing underneath.
func TestTheCacheSaysWhatThePolicySays(t *testing.T) {
	yes := true
	q, ret := allow("a/#"), deny("a/+")
	q.QoS = []mqtt.QoS{0}
	ret.Retain, ret.Subscribe = &yes, false
	policies := []*Policy{compile(t, ret, q), compile(t, allow("${username}/#")), compile(t, deny("a/b"), allow("#")), nil}
	people := []*Principal{who("a", "x"), who("b", "y"), who("$SYS", "z")}
	rapid.Check(t, func(t *rapid.T) {
		var auth Authorizer
		c := NewCache(rapid.IntRange(0, 3).Draw(t, "sets"))
		for range 200 {
			if rapid.IntRange(0, 30).Draw(t, "swap") == 0 {
				auth.Swap(rapid.SampledFrom(policies).Draw(t, "policy"))
			}
			p, who := auth.Policy(), rapid.IntRange(0, len(people)-1).Draw(t, "who")
			name := []byte(rapid.SampledFrom([]string{"a", "a/b", "b/c", "b", "$SYS/x", "a/b/c"}).Draw(t, "topic"))
			if rapid.IntRange(0, 3).Draw(t, "delivery") == 0 {
				if got, want := c.DecideDelivery(p, uint64(who), people[who], name), p.DecideDelivery(people[who], name); got != want {
					t.Fatalf("delivery of %s to %d: %+v, want %+v", name, who, got, want)
				}
				continue
			}
			a := Access{Action(rapid.IntRange(0, 1).Draw(t, "action")), name, mqtt.QoS(rapid.IntRange(0, 2).Draw(t, "qos")), rapid.Bool().Draw(t, "retain")}
			if got, want := c.Decide(p, uint64(who), people[who], a), p.Decide(people[who], a); got != want {
				t.Fatalf("%+v by %d: %+v, want %+v", a, who, got, want)
			}
		}
	})
}

// An old allow must not outlive its policy (row P4.2).
func TestASwapEmptiesTheCache(t *testing.T) {
	a := NewAuthorizer(compile(t, allow("#")))
	c, by, x := NewCache(16), who("alice", "c"), Access{Action: Publish, Topic: []byte("t")}
	for range 3 {
		if !c.Decide(a.Policy(), 1, by, x).Allow {
			t.Fatal("denied")
		}
	}
	if hits, misses := c.Counts(); hits != 2 || misses != 1 {
		t.Errorf("%d hits, %d misses", hits, misses)
	}
	before := a.Policy().Epoch()
	a.Swap(nil)
	if a.Policy().Epoch() != before+1 {
		t.Errorf("epoch %d after %d", a.Policy().Epoch(), before)
	}
	if c.Decide(a.Policy(), 1, by, x).Allow {
		t.Error("an old verdict survived the policy it came from")
	}
	if (&Authorizer{}).Policy().Decide(by, x).Allow {
		t.Error("an authorizer without a policy allows")
	}
}

// A verdict belongs to one subject and one topic, whatever their hashes do.
func TestTheCacheKeepsSubjectsApart(t *testing.T) {
	p := compile(t, allow("${username}/#"))
	c := NewCache(1)
	for i := range 64 {
		by := who(fmt.Sprintf("u%d", i), "c")
		own, other := []byte(by.Username+"/x"), fmt.Appendf(nil, "u%d/x", i+1)
		for range 2 {
			if !c.Decide(p, uint64(i), by, Access{Action: Publish, Topic: own}).Allow || c.Decide(p, uint64(i), by, Access{Action: Publish, Topic: other}).Allow {
				t.Fatal("verdicts were mixed up for", i)
			}
		}
	}
}

// A flood of topics, long ones above all, leaves the cache as large as it was.
func TestTheCacheIsBounded(t *testing.T) {
	p := compile(t, allow("#"))
	c := NewCache(8)
	for i := range 5000 {
		name := fmt.Sprintf("%d/%s", i, strings.Repeat("x", i%400))
		if !c.Decide(p, uint64(i), who("a", "c"), Access{Action: Publish, Topic: []byte(name)}).Allow {
			t.Fatal("denied")
		}
	}
	held := 0
	for i := range c.sets {
		for w := range c.sets[i].ways {
			held += cap(c.sets[i].ways[w].topic)
		}
	}
	if held > 8*cacheWays*2*cacheTopicMax {
		t.Errorf("%d bytes of topics are held", held)
	}
	if got := len(NewCache(1 << 30).sets); got != cacheSetsMax {
		t.Errorf("%d sets", got)
	}
}
