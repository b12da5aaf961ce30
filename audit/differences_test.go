package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// One identity has its own places in the list and takes nobody else's; what has none is
// counted, so that the list is never taken for the whole.
func TestDifferencesAreBounded(t *testing.T) {
	var k Differences
	var none *auth.Policy
	now := time.Unix(1000, 0)
	deny := none.Decide(nil, auth.Access{})
	allow := auth.Decision{Allow: true, Rule: deny.Rule}
	add := func(who, topic string) {
		k.Add(now, &auth.Principal{Identity: who, Username: who, ClientID: "c"}, "publish", topic, allow, deny)
	}
	for i := range 5_000 { // a client that makes as many kinds as it can
		add("mallory", fmt.Sprintf("word%da/x", i))
	}
	for i := range 5_000 { // numbers are one kind
		add("alice", fmt.Sprintf("plant/%d", i))
	}
	got := k.List(100)
	if got.Kinds != differEach+1 || got.Left != 5_000-differEach || got.Deny != 10_000 || got.List[0].Identity != "alice" || got.List[0].Times != 5_000 || got.List[0].Topic != "plant/+" {
		t.Errorf("%d kinds, %d left, %d denied, %+v", got.Kinds, got.Left, got.Deny, got.List[0])
	}
	for i := range 2 * differWho {
		add(fmt.Sprint("u", i), "x")
	}
	if got = k.List(10); got.Kinds != differEach+1+differWho-2 || len(got.List) != 10 {
		t.Errorf("%d kinds, %d listed", got.Kinds, len(got.List))
	}
	k.Clear(now)
	if got = k.List(10); got.Kinds != 0 || got.Deny != 0 || got.Left != 0 || !got.Since.Equal(now) {
		t.Errorf("%+v", got)
	}
}
