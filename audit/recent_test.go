package audit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A client's refusals are found by their reference, by client and by user, the last first;
// one that comes again keeps its reference and is counted.
func TestRecentOfAClient(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	alice := &auth.Principal{Identity: "alice", Username: "alice", ClientID: "c1"}
	rule := &auth.Rule{ID: "7", File: "rules.yaml", Line: 12, Text: "deny: all"}
	ask := func(topic string) auth.Access {
		return auth.Access{Action: auth.Publish, Topic: []byte(topic), QoS: 1, Retain: true}
	}
	first := l.Denied(now, alice, ask("a"), rule)
	second := l.Denied(now.Add(time.Second), alice, ask("b"), rule)
	if again := l.Denied(now.Add(2*time.Second), alice, ask("a"), rule); again != first || first == second || first == 0 {
		t.Fatal(first, second, again)
	}
	if !holdsWord(out.String(), "ref="+first.String()) {
		t.Errorf("the line has no reference:\n%s", out)
	}
	got := l.Recent().List(Wanted{ClientID: "c1", Username: "alice"}, 10)
	if len(got) != 2 || got[0].Ref != first || got[0].Times != 2 || got[0].Line != 12 || !got[0].Retain || got[1].Topic != "b" {
		t.Errorf("%+v", got)
	}
	ref, err := ParseRef(second.String())
	if got := l.Recent().List(Wanted{Ref: ref}, 10); err != nil || len(got) != 1 || got[0].Topic != "b" {
		t.Errorf("%+v, %v", got, err)
	}
	if got := l.Recent().List(Wanted{ClientID: "c2"}, 10); got != nil {
		t.Errorf("%+v", got)
	}
	l.Undelivered(now, alice, []byte("c"), rule)
	if got := l.Recent().List(Wanted{}, 1); len(got) != 1 || got[0].Topic != "a" {
		t.Errorf("the last is not first: %+v", got)
	}
}

// Two attempts of a stranger never have one reference, which would tell him that they
// failed alike.
func TestRecentOfStrangers(t *testing.T) {
	l, _, _ := newLog()
	now := time.Unix(1000, 0)
	r := Refusal{Event: "CONNECT refused", Address: netip.MustParseAddr("192.0.2.7"), Reason: mqtt.BadUserNameOrPassword, Username: "alice", Why: "wrong password"}
	if a, b := l.RefusedLogin(now, r, ""), l.RefusedLogin(now, r, ""); a == b || len(l.Recent().List(Wanted{Address: r.Address}, 10)) != 2 {
		t.Error(a, b)
	}
}

// What is kept is bounded for each and for all, and who is refused all the time does not
// push out others.
func TestRecentIsBounded(t *testing.T) {
	l, _, _ := newLog()
	now := time.Unix(1000, 0)
	rule := &auth.Rule{ID: "7"}
	quiet := &auth.Principal{Identity: "quiet", ClientID: "q"}
	kept := l.Denied(now, quiet, auth.Access{Topic: []byte("once")}, rule)
	loud := &auth.Principal{Identity: "loud", ClientID: "l"}
	for i := range 10 * recentWho {
		l.Denied(now.Add(time.Duration(i)), loud, auth.Access{Topic: fmt.Append(nil, i)}, rule)
	}
	got := l.Recent().List(Wanted{ClientID: "l"}, 1000)
	if len(got) != recentEach || got[0].Topic != fmt.Sprint(10*recentWho-1) {
		t.Errorf("%d kept of one client: %+v", len(got), got)
	}
	if len(l.Recent().List(Wanted{Ref: kept}, 1)) != 1 {
		t.Error("a client that was refused once has been pushed out by one that always is")
	}
	for i := range 2 * recentWho {
		l.RefusedLogin(now, Refusal{Address: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})}, "")
	}
	if n := len(l.recent.shelves[ofStranger].of); n != recentWho || l.recent.shelves[ofStranger].order.Len() != n {
		t.Errorf("%d networks kept", n)
	}
	if len(l.Recent().List(Wanted{Ref: kept}, 1)) != 1 {
		t.Error("strangers have pushed out a client")
	}
}

// Others choose the topics of what a subscriber may not have: with many of them they do not
// push out what it was told a reference of.
func TestDeliveriesDoNotPushOutWhatAClientWasTold(t *testing.T) {
	l, _, _ := newLog()
	now := time.Unix(1000, 0)
	rule := &auth.Rule{ID: "7"}
	c := &auth.Principal{Identity: "c", ClientID: "c"}
	told := l.Denied(now, c, auth.Access{Topic: []byte("once")}, rule)
	for i := range 10 * recentEach {
		l.Undelivered(now.Add(time.Duration(i+1)), c, fmt.Append(nil, i), rule)
	}
	if got := l.Recent().List(Wanted{ClientID: "c"}, 10); len(got) != 2 || got[0].Times != 10*recentEach || got[1].Ref != told {
		t.Errorf("%+v", got)
	}
}

func TestParseRef(t *testing.T) {
	for _, s := range []string{"", "0", "00000000", "xyz", "123456789", "7f3a09c2 and more text", "-1"} {
		if r, err := ParseRef(s); err == nil {
			t.Errorf("%q is %v", s, r)
		}
	}
	for _, s := range []string{"7f3a09c2", "ref 7f3a09c2", " 7f3a09c2\n"} {
		if r, err := ParseRef(s); err != nil || r != 0x7f3a09c2 {
			t.Errorf("%q: %v, %v", s, r, err)
		}
	}
}

func holdsWord(s, word string) bool { return slices.Contains(strings.Fields(s), word) }

// What names nobody takes two places of its network at most, whichever came first.
func TestNamelessRefusalsTakeFewPlaces(t *testing.T) {
	var k Recent
	now := time.Unix(1000, 0)
	from := netip.MustParseAddr("192.0.2.9")
	add := func(client string) Ref {
		now = now.Add(time.Second)
		return k.Add(now, Refusal{Event: "CONNECT refused", Address: from, ClientID: client}, false)
	}
	broken := add("")
	var named []Ref
	for i := range recentEach - recentNameless {
		named = append(named, add(fmt.Sprint("pump-", i)))
	}
	for range 3 * recentEach {
		broken = add("")
	}
	for _, ref := range append(named, broken) {
		if len(k.List(Wanted{Ref: ref}, 1)) != 1 {
			t.Errorf("ref %v is gone", ref)
		}
	}
	if got := k.List(Wanted{Address: from}, 100); len(got) != recentEach {
		t.Errorf("%d are kept", len(got))
	}
	for i := range recentEach {
		named = append(named, add(fmt.Sprint("valve-", i)))
	}
	if got := k.List(Wanted{Address: from}, 100); len(got) != recentEach || got[recentEach-1].ClientID != "valve-0" {
		t.Errorf("the last of those with names: %+v", got)
	}
}
