package observe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// body is the file without its head.
func body(s Suggestion) string { return s.Text[strings.Index(s.Text, "version: 1"):] }

func TestSuggestedRules(t *testing.T) {
	var o Observer
	if _, ok := o.Suggest(t0); ok || o.Active() {
		t.Error("before it was started")
	}
	o.Start(t0, time.Hour)
	alice, bob, bridge := &auth.Principal{Username: "alice", ClientID: "a-1"}, &auth.Principal{Username: "bob", ClientID: "b-1"}, &auth.Principal{Username: "bridge \"x\"", ClientID: "br"}
	at := t0.Add(time.Minute)
	for _, by := range []*auth.Principal{alice, bob} {
		o.Saw(at, by, auth.Publish, "devices/"+by.Username+"/temp", true)
		o.Saw(at, by, auth.Subscribe, "$share/g/news/+", true)
	}
	for i := range 10 {
		o.Saw(at, alice, auth.Publish, fmt.Sprint("meters/", i), true)
		o.Saw(at, bob, auth.Publish, fmt.Sprint("meters/", i%3), true)
	}
	o.Saw(at, alice, auth.Subscribe, "rpc/a-1/#", true)
	o.Saw(at, alice, auth.Publish, "secret", false)
	o.Saw(at, bridge, auth.Subscribe, "#", true)
	o.Saw(at, bridge, auth.Subscribe, "$SYS/#", true)
	o.Saw(at, bridge, auth.Publish, "x/${username}", true) // would be a placeholder in the file
	o.Saw(at, &auth.Principal{ClientID: "nobody"}, auth.Publish, "y", true)
	s, ok := o.Suggest(at)
	want := `version: 1

rules:
  - allow: publish
    topics:
      - "devices/${username}/temp" # 2

  - allow: publish
    users: ["alice"]
    topics:
      - "meters/+" # 10

  - allow: subscribe
    users: ["alice"]
    topics:
      - "rpc/${clientid}/#" # 1

  - allow: subscribe
    users: ["alice", "bob"]
    topics:
      - "news/+" # 2

  - allow: publish
    users: ["bob"]
    topics:
      - "meters/0" # 10
      - "meters/1" # 10
      - "meters/2" # 10

  - allow: subscribe
    users: ["bridge \"x\""]
    topics:
      - "$SYS/#" # 1

`
	if got := body(s); !ok || got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := rules.Parse("next.yaml", []byte(s.Text)); err != nil {
		t.Error(err)
	}
	for _, part := range []string{`Not proposed: subscribe "#" of user "bridge \"x\"": it is everything`, `publish "secret" of user "alice": it was refused`, "2 judgements of clients without a user name", "clients that did not come in this time", "goes on"} {
		if !strings.Contains(s.Text, part) {
			t.Errorf("it does not say %q\n%s", part, s.Text)
		}
	}
	if s.Odd != 2 || s.Refused != 1 || s.Users != 3 || !s.Active {
		t.Errorf("%+v", s)
	}
	o.Saw(t0.Add(time.Hour), bob, auth.Publish, "late", true)
	if s, _ = o.Suggest(t0.Add(2 * time.Hour)); o.Active() || s.Active || strings.Contains(s.Text, "late") || !s.Until.Equal(t0.Add(time.Hour)) {
		t.Errorf("it does not end by itself: %+v", s)
	}
	if !o.Start(t0.Add(3*time.Hour), time.Hour) || o.Start(t0.Add(3*time.Hour), time.Hour) {
		t.Error("one at a time")
	}
	if s, _ = o.Suggest(t0.Add(3 * time.Hour)); s.Rules != 0 || !strings.HasSuffix(s.Text, "rules: []\n") {
		t.Errorf("nothing was seen: %s", s.Text)
	}
}

// One user has its own places, and all together have a bound.
func TestWhatIsWatchedIsBounded(t *testing.T) {
	var o Observer
	o.Start(t0, time.Hour)
	for i := range 1000 {
		o.Saw(t0, &auth.Principal{Username: "mallory", ClientID: fmt.Sprint("c", i)}, auth.Publish, fmt.Sprintf("word%da/x", i), true)
	}
	for i := range KindsMax {
		o.Saw(t0, &auth.Principal{Username: fmt.Sprint("u", i)}, auth.Publish, "x", true)
	}
	o.Saw(t0, &auth.Principal{Username: "u1"}, auth.Publish, strings.Repeat("x", TopicMax+1), true)
	s, _ := o.Suggest(t0)
	if s.Kinds != KindsMax || s.Left != 1000-KindsOfUser+KindsOfUser || s.Odd != 1 {
		t.Errorf("%d kinds, %d left, %d odd", s.Kinds, s.Left, s.Odd)
	}
}

// A topic that placeholders make longer than any may be is not kept.
func TestWhatIsWatchedWithPlaceholders(t *testing.T) {
	var o Observer
	o.Start(t0, time.Hour)
	o.Saw(t0, &auth.Principal{Username: "u"}, auth.Publish, strings.Repeat("u/", TopicMax/2-1)+"x", true)
	if s, _ := o.Suggest(t0); s.Odd != 1 || s.Kinds != 0 {
		t.Errorf("%d odd, %d kinds", s.Odd, s.Kinds)
	}
}

// Off, it costs nothing.
func TestNobodyWatches(t *testing.T) {
	var o Observer
	by := &auth.Principal{Username: "alice"}
	if n := testing.AllocsPerRun(100, func() { o.Saw(t0, by, auth.Publish, "x", true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
