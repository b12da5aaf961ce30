package auth

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// A grant reaches exactly one user and one filter, and what was decided without it
// is decided the same with it and after it.
func TestGrantIsOneRuleForOneUser(t *testing.T) {
	specs := []RuleSpec{
		{File: "rules.yaml", Line: 3, ID: "ban", Publish: true, Subscribe: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Topics: []TopicSpec{{Filter: "#"}}},
		{File: "rules.yaml", Line: 7, ID: "own", Allow: true, Publish: true, Subscribe: true, Topics: []TopicSpec{{Filter: "devices/${username}/#"}}},
		{File: "rules.yaml", Line: 9, ID: "ann", Allow: true, Subscribe: true, Users: []string{"ann", "bob"}, Topics: []TopicSpec{{Filter: "site/#"}}},
		{File: "rules.yaml", Line: 11, ID: "bob", Allow: true, Publish: true, Users: []string{"bob"}, Topics: []TopicSpec{{Filter: "site/#"}}},
	}
	base, err := Compile(specs)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuthorizer(base)
	principals := []Principal{{Username: "ann"}, {Username: "bob"}, {Username: "eve"}, {Username: "tmp", Addr: netip.MustParseAddr("192.0.2.7")}}
	topics := []string{"t/1", "t", "devices/ann/x", "site/hall", "u/1", "$SYS/x"}
	filters := append([]string{"#", "+/#", "t/#", "t/+", "site/#", "$SYS/#"}, topics...)
	verdicts := func() (out string) {
		p := a.Policy()
		for i := range principals {
			by := &principals[i]
			for _, n := range topics {
				d, e := p.Decide(by, Access{Action: Publish, Topic: []byte(n)}), p.DecideDelivery(by, []byte(n))
				out += by.Username + n + d.Rule.Where() + e.Rule.Where() + "\n"
			}
			for _, f := range filters {
				out += by.Username + f + p.DecideSubscribe(by, f, 1).Rule.Where() + "\n"
			}
		}
		return out
	}
	before := verdicts()
	if err := a.Grant("tmp", "t/#"); err != nil {
		t.Fatal(err)
	}
	if a.Policy().Epoch() != 2 || len(a.Policy().Rules()) != len(specs)+2 || a.Policy().Rules()[0].ID != "temporary grant for tmp" {
		t.Errorf("epoch %d, rules %v", a.Policy().Epoch(), a.Policy().Rules()[0])
	}
	tmp := &principals[3]
	for topic, want := range map[string]bool{"t/1": true, "t": true, "u/1": false, "$SYS/x": false, "site/hall": false} {
		if got := a.Policy().Decide(tmp, Access{Action: Publish, Topic: []byte(topic)}).Allow; got != want {
			t.Errorf("publish %s: %v", topic, got)
		}
		if got := a.Policy().DecideDelivery(tmp, []byte(topic)).Allow; got != want {
			t.Errorf("delivery of %s: %v", topic, got)
		}
	}
	for filter, want := range map[string]bool{"t/#": true, "t/+": true, "t/1": true, "#": false, "+/#": false, "$share/g/t/#": true, "$SYS/#": false} {
		if got := a.Policy().DecideSubscribe(tmp, filter, 2).Allow; got != want {
			t.Errorf("subscribe %s: %v", filter, got)
		}
	}
	others := func(v string) string {
		var b strings.Builder
		for l := range strings.Lines(v) {
			if !strings.HasPrefix(l, "tmp") {
				b.WriteString(l)
			}
		}
		return b.String()
	}
	if others(verdicts()) != others(before) {
		t.Error("the grant changed what others may")
	}
	if err := a.Grant("bob", "t/#"); err != nil { // a user who has rules of his own keeps them
		t.Fatal(err)
	}
	bob := &principals[1]
	if p := a.Policy(); !p.Decide(bob, Access{Action: Publish, Topic: []byte("site/x")}).Allow || !p.Decide(bob, Access{Action: Publish, Topic: []byte("t/x")}).Allow {
		t.Error("bob lost his own rule or did not get the grant")
	}
	a.Revoke("bob")
	a.Revoke("tmp")
	if got := verdicts(); got != before || len(a.Policy().Rules()) != len(specs)+1 || a.Policy().Epoch() != 5 {
		t.Errorf("after revoking, epoch %d, %d rules, same verdicts: %v", a.Policy().Epoch(), len(a.Policy().Rules()), got == before)
	}
	a.Revoke("tmp")
	if a.Policy().Epoch() != 5 {
		t.Error("revoking nothing made a new policy")
	}
}

// A rule of a file with the same id is not mistaken for the grant.
func TestRevokeLeavesTheFileAlone(t *testing.T) {
	base, err := Compile([]RuleSpec{{File: "rules.yaml", Line: 1, ID: grantID("tmp"), Allow: true, Publish: true, Users: []string{"tmp"}, Topics: []TopicSpec{{Filter: "a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuthorizer(base)
	a.Revoke("tmp")
	if !a.Policy().Decide(&Principal{Username: "tmp"}, Access{Action: Publish, Topic: []byte("a")}).Allow {
		t.Error("the operator's rule is gone")
	}
}

func TestGrantRefuses(t *testing.T) {
	var a Authorizer
	for _, filter := range []string{"", "a/#/b", "$SYS/#/x"} {
		if err := a.Grant("tmp", filter); err == nil {
			t.Errorf("%q was granted", filter)
		}
	}
	if err := a.Grant("", "a"); err == nil {
		t.Error("a grant for nobody, which would be for everybody")
	}
	if a.Policy() != nil {
		t.Error("a refused grant left a policy")
	}
	if err := a.Grant("tmp", "a/#"); err != nil || !a.Policy().Decide(&Principal{Username: "tmp"}, Access{Topic: []byte("a/b")}).Allow {
		t.Errorf("on an authorizer without rules: %v", err)
	}
}

// Grants, revocations and reloads at once lose nothing of each other but what a
// reload leaves out on purpose.
func TestGrantsRaceWithReloads(t *testing.T) {
	base, err := Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAuthorizer(base)
	var wg sync.WaitGroup
	for _, user := range []string{"a", "b", "c"} {
		wg.Go(func() {
			for range 200 {
				if err := a.Grant(user, "t/"+user); err != nil {
					t.Error(err)
				}
				a.Revoke(user)
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			a.Swap(base)
		}
	})
	wg.Wait()
	if n := len(a.Policy().Rules()); n != 1 {
		t.Errorf("%d rules are left, want the last one only", n)
	}
}
