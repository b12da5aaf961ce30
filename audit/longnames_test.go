package audit

import (
	"strings"
	"testing"
	"time"
)

// However long a client's names are, what is kept of it is of few bytes, and two whose names
// begin alike are two.
func TestLongNamesTakeLittle(t *testing.T) {
	var k Recent
	now := time.Unix(1_800_000_000, 0)
	long := strings.Repeat("x", 60_000)
	for _, r := range []Refusal{{Identity: "ann", ClientID: long + "1"}, {Identity: "ann", ClientID: long + "2"}, {Identity: long + "1", ClientID: "c"}, {Identity: long + "2", ClientID: "c"}} {
		k.add(now, r, ofClient)
		k.add(now, r, ofClient)
	}
	if len(k.shelves[ofClient].of) != 4 {
		t.Errorf("%d clients, want 4", len(k.shelves[ofClient].of))
	}
	for who, e := range k.shelves[ofClient].of {
		for _, r := range e.Value.(*subjectsLast).kept {
			if n := len(who) + len(r.ClientID) + len(r.Identity); n > 4*textMax || r.Times != 2 {
				t.Errorf("%d bytes, %d times", n, r.Times)
			}
		}
	}
	if n := len(k.List(Wanted{ClientID: long + "1"}, 10)); n == 0 {
		t.Error("by its client identifier nothing is found")
	}
}
