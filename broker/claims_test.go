package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// claimsFor are the rules of one client from the source db.
func claimsFor(t *testing.T, topics ...string) *auth.Claims {
	t.Helper()
	specs := make([]auth.RuleSpec, len(topics))
	for i, f := range topics {
		specs[i] = auth.RuleSpec{Allow: true, Publish: true, Subscribe: true, Topics: []auth.TopicSpec{{Filter: f}}}
	}
	own, err := auth.CompileOwn("db", specs)
	if err != nil {
		t.Fatal(err)
	}
	return &auth.Claims{Rules: []auth.Own{own}}
}

// Rules that were read anew are what a live client is judged by at once: what it is
// subscribed to, what waits for it, what it publishes, also where the verdict was
// remembered. They come too late for a client that has proved itself anew meanwhile, and for
// a session that has ended.
func TestClaimsThatAreGivenAreInForceAtOnce(t *testing.T) {
	d := newDesk(t, 2)
	d.b.authz.Swap(auth.Compose(auth.Source{Name: "db"}))
	old := claimsFor(t, "a/#", "b/#")
	with := func(c *auth.Claims) func(*auth.Principal, *mqtt.Connect) {
		return func(by *auth.Principal, _ *mqtt.Connect) { by.Claims = c }
	}
	sub, pub := d.sit(0, "sub", with(old)), d.sit(1, "pub", with(claimsFor(t, "#")))
	for _, f := range []string{"a/x", "b/x"} {
		if rc := sub.ask(f, 1); rc != 1 {
			t.Fatalf("%s: %v", f, rc)
		}
	}
	pub.publish("a/x", "before", 1, 1)
	sub.publish("a/y", "before", 1, 1)
	d.turn()
	if d.turn(); len(sub.payloads()) != 1 {
		t.Fatal("nothing was delivered before")
	}
	pub.take()

	next := claimsFor(t, "b/#")
	if d.homes[0].GiveClaims(d.now, sub.ref, claimsFor(t, "a/#"), next) {
		t.Error("given to a client that has other claims by now")
	}
	pub.publish("a/x", "on its way", 1, 2) // chosen by the rules of before
	if !d.homes[0].GiveClaims(d.now, sub.ref, old, next) {
		t.Fatal("not given")
	}
	pub.publish("a/x", "after", 1, 3)
	pub.publish("b/x", "allowed", 1, 4)
	d.turn()
	d.turn()
	if got := sub.payloads(); len(got) != 1 || got[0] != "allowed" {
		t.Errorf("delivered: %q", got)
	}
	sub.publish("a/y", "after", 1, 2)
	if out := sub.take(); len(out) != 1 || refusedAs(out[0]) != mqtt.NotAuthorized {
		t.Errorf("a remembered verdict: %+v", out)
	}
	if rc := sub.ask("a/x", 1); rc != mqtt.NotAuthorized {
		t.Errorf("SUBACK %v", rc)
	}
	if n := d.homes[0].at(sub.ref).s.Subscriptions(); n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	if !d.homes[0].End(d.now, sub.ref) {
		t.Fatal("not ended")
	}
	if d.homes[0].GiveClaims(d.now, sub.ref, next, old) {
		t.Error("given to a session that has ended")
	}
}

// refusedAs is the reason of an acknowledgement.
func refusedAs(o session.Out) mqtt.ReasonCode {
	if o.Kind == session.OutAck {
		return o.Reason
	}
	return mqtt.ReasonCode(o.Bytes[4])
}
