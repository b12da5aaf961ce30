package auth

import (
	"strings"
	"testing"
)

// A035, A038, A039, A105, A106: every namespace of the registry, and names it has
// never heard of, are closed to rules that do not spell them out.
func TestDollarNamespacesAreClosed(t *testing.T) {
	p := compile(t, allow("#", "+/#", "+", "+/+", "+/+/+", "${username}/#", "/#"))
	by := who("alice", "c1")
	names := []string{"$x", "$aws", "$SYSx", "$sys", "$Share", "$$"}
	for ns := range reserved {
		names = append(names, ns)
	}
	for _, ns := range names {
		for _, rest := range []string{"", "/", "/x", "/x/y", "/g/a/b"} {
			if mayPublish(p, by, ns+rest) {
				t.Errorf("publish to %s", ns+rest)
			}
			if p.DecideDelivery(by, []byte(ns+rest)).Allow {
				t.Errorf("receive from %s", ns+rest)
			}
			// A valid $share is the inner filter's business and has its own test.
			if f := ns + rest; !strings.HasPrefix(f, "$share/") && maySubscribe(p, by, f) {
				t.Errorf("subscribe to %s", f)
			}
		}
		if maySubscribe(p, by, ns+"/#") || maySubscribe(p, by, ns+"/+") {
			t.Errorf("subscribe below %s", ns)
		}
	}
	if !mayPublish(p, by, "a/$SYS") || !maySubscribe(p, by, "a/$SYS/#") {
		t.Error("$ means something at the front only")
	}
	for _, user := range []string{"$SYS", "$x"} {
		if mayPublish(compile(t, allow("${username}/#")), who(user, "c"), user+"/a") {
			t.Errorf("a user called %s opened a namespace", user)
		}
	}
}

// The registry has separate rights to publish and to subscribe, and no rule goes
// beyond them.
func TestWhatARuleMayOpen(t *testing.T) {
	by := who("alice", "c1")
	for ns, want := range map[string]namespace{
		"$SYS":       {subscribe: true},
		"$events":    {subscribe: true},
		"$share":     {},
		"$queue":     {},
		"$oshare":    {},
		"$exclusive": {},
		"$delayed":   {},
		"$CONTROL":   {},
		"$SETOPTS":   {},
		"$LINK":      {},
		"$MQTT":      {},
		"$":          {},
		"$aws":       {publish: true, subscribe: true},
	} {
		for _, a := range []Action{Publish, Subscribe} {
			may := want.publish
			if a == Subscribe {
				may = want.subscribe
			}
			s := allow(ns + "/x/y")
			s.Publish, s.Subscribe = a == Publish, a == Subscribe
			p, err := Compile([]RuleSpec{s})
			if (err == nil) != may {
				t.Errorf("allow %s on %s: %v, want granted: %v", a, ns, err, may)
				continue
			}
			if err != nil {
				if !strings.Contains(err.Error(), "cannot be granted: ") || len(err.Error()) < 80 {
					t.Errorf("%s: the refusal gives no reason: %v", ns, err)
				}
				continue
			}
			if mayPublish(p, by, ns+"/x/y") != (a == Publish) || maySubscribe(p, by, ns+"/x/y") != (a == Subscribe) {
				t.Errorf("%s: the right to %s is not just that", ns, a)
			}
		}
		if _, err := Compile([]RuleSpec{deny(ns + "/x/y")}); err != nil {
			t.Errorf("deny on %s: %v", ns, err)
		}
	}
	if len(reserved) != 12 {
		t.Errorf("the registry has %d entries; extend this test with it", len(reserved))
	}
}

// A deny of everything leaves no hole where a wildcard does not reach.
func TestADenyOfEverythingReachesDollarTopics(t *testing.T) {
	all := deny("#")
	all.Users = []string{"mallory"}
	sys := allow("$SYS/#", "$aws/#")
	sys.Publish = false
	p := compile(t, all, deny("+/hidden"), sys)
	for _, f := range []string{"$SYS/#", "$aws/x", "$SYS/+"} {
		if maySubscribe(p, who("mallory", "c"), f) {
			t.Errorf("mallory subscribes to %s", f)
		}
		if !maySubscribe(p, who("alice", "c"), f) {
			t.Errorf("alice does not subscribe to %s", f)
		}
	}
	if p.DecideDelivery(who("mallory", "c"), []byte("$SYS/x")).Allow {
		t.Error("mallory receives from $SYS")
	}
	if d := p.DecideSubscribe(who("alice", "c"), "$SYS/+", 0); !d.Check || p.DecideDelivery(who("alice", "c"), []byte("$SYS/hidden")).Allow {
		t.Error("a deny with a leading wildcard was lost under $SYS")
	}
}
