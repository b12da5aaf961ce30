package broker

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/observe"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// breaking is a condition with a bug.
type breaking struct{}

func (breaking) Holds(*auth.Principal) (bool, error) { panic("a bug in what is only tried") }
func (breaking) String() string                      { return "bug" }

func candidate(t *testing.T, text string) *Candidate {
	t.Helper()
	p, err := rules.Parse("next.yaml", []byte("version: 1\nrules:\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return &Candidate{Rules: auth.NewAuthorizer(p), Differences: &audit.Differences{}}
}

func (c *Candidate) lines() string {
	var out []string
	for _, d := range c.Differences.List(1000).List {
		out = append(out, fmt.Sprintf("%s %s %s deny=%v partly=%v x%d", d.Identity, d.Event, d.Topic, d.Deny, d.Partly, d.Times))
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// Rules that are only tried decide nothing: what they would have denied is delivered, what
// they would have allowed is denied, and both are counted once for what the broker remembers.
func TestCandidateIsCountedAndDecidesNothing(t *testing.T) {
	d := newDesk(t, 1)
	d.rules("  - {deny: all, topics: [\"shut/#\"]}\n  - {allow: all, topics: [\"#\"]}\n")
	c := candidate(t, "  - {deny: all, topics: [\"plant/+/valve\"]}\n  - {allow: all, topics: [\"plant/#\", \"shut/#\"]}\n")
	d.b.candidate = c
	sub, pub := d.sit(0, "sub"), d.sit(0, "pub")
	if got := sub.ask("plant/#", 1); got != 1 {
		t.Errorf("SUBACK %v", got)
	}
	if got := sub.ask("shut/x", 1); got != mqtt.NotAuthorized {
		t.Errorf("SUBACK %v", got)
	}
	for range 3 {
		pub.publish("plant/7/valve", "open", 0, 0)
		pub.publish("plant/7/temp", "20", 0, 0)
		pub.publish("plant/8/valve", "open", 0, 0)
	}
	d.turn()
	if got := len(sub.payloads()); got != 9 {
		t.Errorf("%d messages were delivered, want 9", got)
	}
	want := strings.Join([]string{
		"pub publish plant/+/valve deny=true partly=false x2",
		"sub subscribe plant/# deny=true partly=true x1",
		"sub subscribe shut/x deny=false partly=false x1",
	}, "\n")
	if got := c.lines(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if deny, allow := d.metrics.Value(metrics.WouldDeny), d.metrics.Value(metrics.WouldAllow); deny != 3 || allow != 1 {
		t.Errorf("metrics: %d, %d", deny, allow)
	}
	d.b.authz.Swap(d.b.authz.Policy()) // everybody is judged again, as after a reload
	c.Differences.Clear(d.now)
	d.homes[0].PolicyChanged(d.now)
	if got := c.lines(); got != "sub subscribe plant/# deny=true partly=true x1" {
		t.Errorf("what is subscribed to already: %s", got)
	}
	if err := d.b.authz.Grant("pub", "lone/x"); err != nil { // as doctor has it
		t.Fatal(err)
	}
	pub.publish("lone/x", "m", 0, 0)
	if got := c.Differences.List(10).Deny; got != 1 {
		t.Errorf("a temporary grant is compared: %d", got)
	}
	c.Rules.Clear()
	pub.publish("lone/y", "m", 0, 0)
	if got := c.Differences.List(10).Deny; got != 1 {
		t.Errorf("what is not tried any more counts: %d", got)
	}
}

// A bug in rules that are only tried ends nothing.
func TestCandidateWithABug(t *testing.T) {
	d := newDesk(t, 1)
	spec := auth.RuleSpec{Allow: true, Publish: true, Subscribe: true, When: breaking{}, Topics: []auth.TopicSpec{{Filter: "#"}}}
	p, err := auth.Compile([]auth.RuleSpec{spec})
	if err != nil {
		t.Fatal(err)
	}
	c := &Candidate{Rules: auth.NewAuthorizer(p), Differences: &audit.Differences{}}
	d.b.candidate = c
	sub, pub := d.sit(0, "sub"), d.sit(0, "pub")
	sub.subscribe("open/x", 0)
	pub.publish("open/x", "m", 0, 0)
	d.turn()
	if got := sub.payloads(); len(got) != 1 {
		t.Errorf("delivered %q", got)
	}
	if got := c.Differences.List(1); got.Failed != 2 || got.Deny+got.Allow != 0 || d.metrics.Value(metrics.ReportOnlyFailures) != 2 {
		t.Errorf("%+v", got)
	}
}

// A bug in what watches clients ends nothing, either, and is counted where no rules are tried.
func TestObserverWithABug(t *testing.T) {
	d := newDesk(t, 1)
	d.b.observer = &observe.Observer{}
	d.b.observer.Start(d.now, time.Hour)
	d.homes[0].compare(d.now, nil, askedPublish, auth.Access{Action: auth.Publish, Topic: []byte("x")}, auth.Decision{Rule: &auth.Rule{}})
	if n := d.metrics.Value(metrics.ReportOnlyFailures); n != 1 {
		t.Errorf("%d are counted", n)
	}
}

// Who watches sees what was subscribed to before, and topics whose verdict is remembered.
func TestWhoWatchesSeesWhatWasThereBefore(t *testing.T) {
	d := newDesk(t, 1)
	d.b.observer = &observe.Observer{}
	sub, pub := d.sit(0, "sub"), d.sit(0, "pub")
	sub.subscribe("open/#", 0)
	pub.publish("open/a", "m", 0, 0)
	d.b.observer.Start(d.now, time.Hour)
	d.b.authz.Renew()
	d.homes[0].PolicyChanged(d.now)
	for range 3 {
		pub.publish("open/a", "m", 0, 0)
		pub.publish("shut/a", "m", 0, 0)
	}
	s, _ := d.b.observer.Suggest(d.now)
	for _, part := range []string{"allow: subscribe\n    users: [\"sub\"]\n    topics:\n      - \"open/#\" # 1\n", "allow: publish\n    users: [\"pub\"]\n    topics:\n      - \"open/a\" # 1\n", `publish "shut/a" of user "pub": it was refused`} {
		if !strings.Contains(s.Text, part) {
			t.Errorf("it does not say %q\n%s", part, s.Text)
		}
	}
}
