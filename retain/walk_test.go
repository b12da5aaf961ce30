package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

func TestWalk(t *testing.T) {
	s := New(unlimited)
	for i, name := range []string{"a", "a/b", "a/b/c", "a-b", "a/", "/a", "b/b", "$SYS/b", "$x", "%", "old/b"} {
		f := frame(name, fmt.Sprint(i))
		if strings.HasPrefix(name, "old") {
			f.ExpiresAt = 100
		}
		put(t, s, f)
	}
	for _, c := range []struct{ rule, filter, want string }{
		{"§4.7.1.2", "#", "/a % a a/ a/b a/b/c a-b b/b"},
		{"§4.7.1.2", "a/#", "a a/ a/b a/b/c"},
		{"§4.7.1.3", "+", "% a a-b"},
		{"§4.7.1.3", "+/b", "a/b b/b"},
		{"§4.7.1.3", "a/+", "a/ a/b"},
		{"§4.7.1.3", "/+", "/a"},
		{"exact", "a/b", "a/b"},
		{"exact", "a/x", ""},
		{"exact", "old/b", ""},
		{"MQTT-4.7.2-1", "$SYS/#", "$SYS/b"},
		{"MQTT-4.7.2-1", "$SYS/+", "$SYS/b"},
		{"MQTT-4.7.2-1", "$x", "$x"},
		{"MQTT-4.7.2-1", "+/#", "/a % a a/ a/b a/b/c a-b b/b"},
		{"MQTT-3.3.2-5", "old/#", ""},
	} {
		for _, max := range []int{0, 1, 3, 1000} {
			got, _ := all(s, at(100), c.filter, max)
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], "=")
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: Walk(%q) by %d = %q, want %q", c.rule, c.filter, max, got, c.want)
			}
		}
	}
	if got, _ := all(s, at(99), "old/#", 1); len(got) != 1 {
		t.Errorf("expired too early: %q", got)
	}
}

// fn that answers false gets the same message again, and a walk that is over stays
// over.
func TestWalkStops(t *testing.T) {
	s := New(unlimited)
	for _, n := range []string{"a/1", "a/2", "a/3"} {
		put(t, s, frame(n, "x"))
	}
	for filter, want := range map[string]string{"a/+": "a/1 a/2! a/2 a/3", "a/2": "a/2! a/2"} {
		var got []string
		var cur Cursor
		full := true
		fn := func(f *mqtt.Frame) bool {
			if name := string(f.Topic()); name == "a/2" && full {
				got = append(got, name+"!")
				return false
			}
			got = append(got, string(f.Topic()))
			return true
		}
		if s.Walk(at(0), filter, &cur, 100, fn) {
			t.Errorf("%s: done though fn stopped it", filter)
		}
		full = false
		if !s.Walk(at(0), filter, &cur, 100, fn) || !s.Walk(at(0), filter, &cur, 100, fn) {
			t.Errorf("%s: not done", filter)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
	var cur Cursor
	if !s.Walk(at(0), "", &cur, 1, nil) {
		t.Error("a walk with no filter does not end")
	}
}

// A walk costs what it finds and not what stands between (targets: cost grows with
// matches). 10,000 messages below each a/x/..., one of them a match.
func TestWalkSkips(t *testing.T) {
	s := New(unlimited)
	for x := range 5 {
		for i := range 10_000 {
			put(t, s, frame(fmt.Sprintf("a/%d/c%d/v", x, i), "x"))
		}
		put(t, s, frame(fmt.Sprintf("a/%d/b", x), "x"))
		put(t, s, frame(fmt.Sprintf("a/%d/d", x), "x"))
		put(t, s, frame(fmt.Sprintf("$SYS/%d/b", x), "x"))
	}
	for _, c := range []struct {
		filter          string
		matches, visits int
	}{
		{"a/+/b", 5, 20},
		{"a/+/d", 5, 20},
		{"a/+/c77/+", 5, 30},
		{"+/+/b", 5, 25},
		{"a/+", 0, 10},
		{"+", 0, 5},
		{"a/3/c5000/#", 1, 3},
		{"b/#", 0, 1},
		{"x/+/y", 0, 1},
		{"a/+/c1234/v/+/#", 0, 20},
	} {
		got, visits := all(s, at(0), c.filter, 1)
		if len(got) != c.matches || visits > c.visits {
			t.Errorf("%s: %d matches with %d looks, want %d with at most %d", c.filter, len(got), visits, c.matches, c.visits)
		}
	}
}

// TestLacks: one look tells of nearly all filters for which nothing is retained, and is never wrong (TestAgainstTwin).
func TestLacks(t *testing.T) {
	s := New(unlimited)
	if !s.Lacks("#") || !s.Lacks("a") {
		t.Error("it is not sure that nothing is retained at all")
	}
	for _, name := range []string{"a/b", "a/b/c/d", "m/n"} {
		put(t, s, frame(name, "x"))
	}
	for filter, want := range map[string]bool{
		"a/b": false, "a/+": false, "a/#": false, "#": false, "a/b/#": false, "a/+/+/d": false, "m/+/#": false,
		"a": true, "a/c": true, "a/b/c": true, "b/#": true, "m/n/#": false, "m/o/#": true, "x/+/y": true, "m/n/+/z": true,
	} {
		if got := s.Lacks(filter); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
}

// The work of one call is bounded, expired messages and mismatches included.
func TestWalkIsBounded(t *testing.T) {
	s := New(unlimited)
	for i := range 1000 {
		put(t, s, frame(fmt.Sprintf("t/%04d/x", i), "x", 10))
	}
	for filter, calls := range map[string]int{"#": 100, "t/+/x": 100, "t/+/y": 100} {
		if got, n := all(s, at(10), filter, 10); len(got) != 0 || n < calls || n > 2*calls+1 {
			t.Errorf("%s: %d calls of 10, %d found", filter, n, len(got))
		}
	}
}

// Random messages against a map, and walks that are interrupted by changes: a
// message that stays is seen exactly once, a message that is not there at the
// beginning or not at the end may be seen.
func TestAgainstTwin(t *testing.T) {
	level := []string{"", "a", "b", "!", "$", "$x"}
	genName := func(t *rapid.T) string {
		for {
			var l []string
			for range rapid.IntRange(1, 4).Draw(t, "depth") {
				l = append(l, rapid.SampledFrom(level).Draw(t, "level"))
			}
			if s := strings.Join(l, "/"); s != "" {
				return s
			}
		}
	}
	type msg struct {
		payload string
		expires int64
	}
	rapid.Check(t, func(t *rapid.T) {
		s, plain := New(unlimited), map[string]msg{}
		serial := 0
		change := func() {
			name := genName(t)
			serial++
			m := msg{payload: fmt.Sprint(serial), expires: rapid.Int64Range(0, 3).Draw(t, "expires")}
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				m.payload = ""
			}
			f := frame(name, m.payload, m.expires)
			if v, err := s.Put(f); err != nil || v != uint64(serial) || s.Version() != v {
				t.Fatalf("Put: %d, %v", v, err)
			}
			f.Release()
			if plain[name] = m; m.payload == "" {
				delete(plain, name)
			}
		}
		matching := func(filter string, now int64) map[string]string {
			out := map[string]string{}
			for name, m := range plain {
				if topic.Match(filter, []byte(name)) && (m.expires == 0 || m.expires > now) {
					out[name] = m.payload
				}
			}
			return out
		}
		for range rapid.IntRange(0, 80).Draw(t, "puts") {
			change()
		}
		filter := genName(t)
		for _, wild := range []string{"a", "!", "b"} {
			if rapid.Bool().Draw(t, "wild") {
				filter = strings.ReplaceAll(filter, wild, "+")
			}
		}
		if rapid.Bool().Draw(t, "tail") {
			filter += "/#"
		}
		now := rapid.Int64Range(0, 3).Draw(t, "now")
		before := matching(filter, now)
		if s.Lacks(filter) && len(before) > 0 {
			t.Fatalf("Lacks(%q) with %v", filter, before)
		}
		steady := func(name string, m map[string]string) bool { _, ok := m[name]; return ok }
		always := map[string]bool{}
		for name := range before {
			always[name] = true
		}
		var cur Cursor
		var order []string
		seen := map[string]int{}
		for done := false; !done; {
			done = s.Walk(at(now), filter, &cur, rapid.IntRange(0, 5).Draw(t, "max"), func(f *mqtt.Frame) bool {
				name := string(f.Topic())
				if want, ok := matching(filter, now)[name]; !ok || want != string(f.Payload()) {
					t.Fatalf("Walk(%q) visits %q=%q, want %q", filter, name, f.Payload(), want)
				}
				if rapid.IntRange(0, 4).Draw(t, "full") == 0 {
					return false
				}
				order = append(order, name)
				seen[name]++
				return true
			})
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				change()
				for name := range always {
					if !steady(name, matching(filter, now)) {
						delete(always, name)
					}
				}
			}
		}
		if !slices.Equal(order, sortedNames(order)) {
			t.Fatalf("not in order: %q", order)
		}
		for name := range always {
			if seen[name] != 1 {
				t.Fatalf("Walk(%q) visits %q %d times", filter, name, seen[name])
			}
		}
		if n, _ := s.Stats(); n != len(plain) {
			t.Fatalf("%d messages, want %d", n, len(plain))
		}
		removed := s.Sweep(at(now), 1000)
		if n, _ := s.Stats(); n+removed != len(plain) {
			t.Fatalf("%d swept, %d left of %d", removed, n, len(plain))
		}
		want := matching("#", now)
		got, _ := all(s, time.UnixMilli(now), "#", 3)
		if len(got) != len(want) {
			t.Fatalf("after the sweep: %q, want %v", got, want)
		}
	})
}
