package topic

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		rule         string
		filter, name string
		want         bool
	}{
		{"§4.7.1.2", "sport/tennis/player1/#", "sport/tennis/player1", true},
		{"§4.7.1.2", "sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"§4.7.1.2", "sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"§4.7.1.2", "sport/tennis/player1/#", "sport/tennis/player10", false},
		{"§4.7.1.2", "sport/#", "sport", true},
		{"§4.7.1.2", "sport/#", "sport/", true},
		{"§4.7.1.2", "sport/#", "sports", false},
		{"§4.7.1.2", "#", "a", true},
		{"§4.7.1.2", "#", "/", true},
		{"§4.7.1.3", "sport/tennis/+", "sport/tennis/player1", true},
		{"§4.7.1.3", "sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"§4.7.1.3", "sport/+", "sport", false},
		{"§4.7.1.3", "sport/+", "sport/", true},
		{"§4.7.1.3", "+/+", "/finance", true},
		{"§4.7.1.3", "/+", "/finance", true},
		{"§4.7.1.3", "+", "/finance", false},
		{"§4.7.1.3", "+/tennis/#", "sport/tennis", true},
		{"§4.7.1.3", "+/+", "/", true},
		{"§4.7.1.3", "+/+/+", "/", false},
		{"MQTT-4.7.2-1", "#", "$SYS/x", false},
		{"MQTT-4.7.2-1", "+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"MQTT-4.7.2-1", "+", "$SYS", false},
		{"MQTT-4.7.2-1", "#", "$", false},
		{"MQTT-4.7.2-1", "$SYS/#", "$SYS/x", true},
		{"MQTT-4.7.2-1", "$SYS/#", "$SYS", true},
		{"MQTT-4.7.2-1", "$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"MQTT-4.7.2-1", "a/#", "a/$x", true},
		{"MQTT-4.7.2-1", "+/$x", "a/$x", true},
		{"MQTT-4.7.3-4", "ACCOUNTS", "Accounts", false},
		{"MQTT-4.7.3-4", "a//b", "a/b", false},
		{"MQTT-4.7.3-4", "/a", "a", false},
		{"MQTT-4.7.3-4", "a/", "a", false},
		{"MQTT-4.7.3-4", "\u00e9", "e\u0301", false},
		{"MQTT-4.7.3-4", "a b", "a b", true},
		{"MQTT-4.7.3-1", "#", "", false},
		{"MQTT-4.7.3-1", "", "a", false},
	} {
		if got := Match(c.filter, []byte(c.name)); got != c.want {
			t.Errorf("%s: Match(%q, %q) = %t", c.rule, c.filter, c.name, got)
		}
	}
}

// A filter and a name that fill the length field, in the shapes that have overrun
// stacks and blown up matchers: they must come back, and with the right answer.
func TestMatchOfHostileLength(t *testing.T) {
	slashes := strings.Repeat("/", BytesMax)
	pluses := strings.Repeat("+/", BytesMax/2)
	for _, c := range []struct {
		filter, name string
		want         bool
	}{
		{slashes, slashes, true},                                // A030
		{slashes, slashes[1:], false},                           // A030
		{pluses + "+", strings.Repeat("a/", BytesMax/2), true},  // A034
		{pluses + "x", strings.Repeat("a/", BytesMax/2), false}, // A034
		{pluses + "#", strings.Repeat("/", BytesMax/2), true},   // A033
		{"((a+)+)+$", strings.Repeat("a", BytesMax), false},     // A034, not a valid filter either
		{strings.Repeat("a", BytesMax), strings.Repeat("a", BytesMax-1), false},
	} {
		if got := Match(c.filter, []byte(c.name)); got != c.want {
			t.Errorf("Match(%.10q.., %.10q..) = %t", c.filter, c.name, got)
		}
		Covers(c.filter, c.name)
		Overlaps(c.filter, c.name)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"#", "a/+", true},
		{"#", "#", true},
		{"+/#", "#", true}, // every name has a first level
		{"a/+/#", "a/#", false},
		{"a/#", "a", true},
		{"a/#", "a/#", true},
		{"a/#", "a/+/b", true},
		{"a/+", "a/#", false},
		{"a/+", "a/b", true},
		{"a/b", "a/+", false},
		{"+", "a/b", false},
		{"/+/#", "/#", true}, // the parent of "/#" is no name [MQTT-4.7.3-1]
		{"/#", "/+/#", true},
		{"#", "$SYS/#", false}, // [MQTT-4.7.2-1]
		{"+/x", "$a/x", false},
		{"$SYS/#", "$SYS/a/+", true},
		{"a/#", "a/$x", true},
		{"", "a", false},
		{"a", "", false},
	} {
		if got := Covers(c.a, c.b); got != c.want {
			t.Errorf("Covers(%q, %q) = %t", c.a, c.b, got)
		}
	}
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a/+", "+/b", true},
		{"a/#", "a", true},
		{"a/#", "+", true},
		{"a/+", "a", false},
		{"a/b", "a/c", false},
		{"+/+", "#", true},
		{"+", "/#", false},
		{"+/+", "/#", true},
		{"#", "$SYS/x", false}, // [MQTT-4.7.2-1]
		{"+/x", "$SYS/#", false},
		{"$SYS/+", "$SYS/#", true},
		{"", "#", false},
	} {
		if got := Overlaps(c.a, c.b); got != c.want {
			t.Errorf("Overlaps(%q, %q) = %t", c.a, c.b, got)
		}
		if got := Overlaps(c.b, c.a); got != c.want {
			t.Errorf("Overlaps(%q, %q) = %t", c.b, c.a, got)
		}
	}
}

// words makes every sequence of one to max of these levels.
func words(max int, levels ...string) []string {
	all, last := []string{}, []string{""}
	for range max {
		var next []string
		for _, w := range last {
			for _, l := range levels {
				next = append(next, w+"/"+l)
			}
		}
		last = next
		all = append(all, next...)
	}
	var out []string
	for _, w := range all {
		if w = w[1:]; w != "" {
			out = append(out, w)
		}
	}
	return out
}

// Match against a twin that reads like the text, then Covers and Overlaps against
// all names there are. "z" and "$z" are in names only, so that no finite number of
// literals can pretend to be a wildcard, and names are a level deeper than filters.
func TestAgainstAllNames(t *testing.T) {
	var filters []string
	for _, f := range words(3, "", "a", "$", "+", "#") {
		if ValidFilter(f) == nil {
			filters = append(filters, f)
		}
	}
	names := words(4, "", "a", "z", "$", "$z")
	matched := make([][]bool, len(filters))
	for i, f := range filters {
		matched[i] = make([]bool, len(names))
		for j, n := range names {
			matched[i][j] = Match(f, []byte(n))
			if want := plainMatch(f, n); matched[i][j] != want {
				t.Fatalf("Match(%q, %q) = %t", f, n, !want)
			}
		}
	}
	for i, a := range filters {
		for j, b := range filters {
			covers, overlaps := true, false
			for k := range names {
				covers = covers && (!matched[j][k] || matched[i][k])
				overlaps = overlaps || matched[j][k] && matched[i][k]
			}
			if got := Covers(a, b); got != covers {
				t.Errorf("Covers(%q, %q) = %t", a, b, got)
			}
			if got := Overlaps(a, b); got != overlaps {
				t.Errorf("Overlaps(%q, %q) = %t", a, b, got)
			}
		}
	}
	if len(filters) < 100 || len(names) < 700 {
		t.Fatalf("only %d filters and %d names were tried", len(filters), len(names))
	}
}

// plainMatch is the rule as the specification tells it.
func plainMatch(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, l := range f {
		switch {
		case l == "#":
			return len(n) >= i
		case i >= len(n):
			return false
		case l != "+" && l != n[i]:
			return false
		}
	}
	return len(f) == len(n)
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/#", "a/b/c")
	f.Add("+/#", "#", "$x")
	f.Add("$SYS/#", "+/x", "$SYS/x")
	f.Add("/", "+/+", "/")
	f.Add("((a+)+)+$", "a#/b", "aaaa")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		n := []byte(name)
		ma, mb := Match(a, n), Match(b, n)
		covers, overlaps := Covers(a, b), Overlaps(a, b)
		if ValidFilter(a) != nil || ValidFilter(b) != nil {
			return // it came back, and that is all that is promised
		}
		if overlaps != Overlaps(b, a) {
			t.Fatalf("Overlaps(%q, %q) is not symmetric", a, b)
		}
		if !Covers(a, a) || !Overlaps(a, a) {
			t.Fatalf("%q does not cover itself", a)
		}
		if covers && !overlaps {
			t.Fatalf("%q covers %q and does not overlap it", a, b)
		}
		if ValidName(n) != nil {
			return
		}
		if ma != plainMatch(a, name) {
			t.Fatalf("Match(%q, %q) = %t", a, name, ma)
		}
		if covers && mb && !ma {
			t.Fatalf("%q covers %q, but only the latter matches %q", a, b, name)
		}
		if ma && mb && !overlaps {
			t.Fatalf("%q and %q both match %q and do not overlap", a, b, name)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	name := []byte("devices/000123/site/7/temperature")
	for _, f := range []string{"devices/000123/site/7/temperature", "devices/+/site/+/temperature", "devices/000123/#"} {
		b.Run(f, func(b *testing.B) {
			for b.Loop() {
				Match(f, name)
			}
		})
	}
}
