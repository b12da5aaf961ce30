package retain

import (
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/topic"
)

// words makes every name of one to max levels, some of whose characters come
// before '/' in ASCII and some after.
func words(max int, levels ...string) []string {
	var out []string
	last := []string{""}
	for range max {
		var next []string
		for _, w := range last {
			for _, l := range levels {
				next = append(next, w+"/"+l)
			}
		}
		last = next
		for _, w := range next {
			if w != "/" {
				out = append(out, w[1:])
			}
		}
	}
	return out
}

func sortedNames(names []string) []string {
	out := slices.Clone(names)
	slices.SortFunc(out, func(a, b string) int { return compare([]byte(a), []byte(b)) })
	return out
}

// The order is the one of the lists of levels, each compared as bytes.
func TestCompare(t *testing.T) {
	names := words(3, "", "a", "ab", "\x01", "!", "$", "-long-enough-for-words", "-long-enough-for-wordz")
	for _, a := range names {
		for _, b := range names {
			want := slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
			if got := compare([]byte(a), []byte(b)); min(max(got, -1), 1) != want {
				t.Fatalf("compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

// after and least and skip never jump over a name that matches: tried on all
// filters and names of a small alphabet.
func TestBoundsAgainstAllNames(t *testing.T) {
	names := sortedNames(words(4, "", "a", "b", "!", "$", "$!", "%"))
	var filters []string
	for _, f := range words(3, "", "a", "b", "$", "$!", "+", "#") {
		if topic.ValidFilter(f) == nil {
			filters = append(filters, f)
		}
	}
	less := func(a, b []byte) bool { return compare(a, b) < 0 }
	for _, f := range filters {
		start := least(nil, f)
		var next []byte // the last name, from the end, that matches
		for i := len(names) - 1; i >= 0; i-- {
			n := []byte(names[i])
			if topic.Match(f, n) {
				next = n
				if less(n, start) {
					t.Fatalf("least(%q) = %q jumps over %q", f, start, n)
				}
				continue
			}
			target, ok := skip(nil, f, n)
			switch {
			case ok && !less(n, target):
				t.Fatalf("skip(%q, %q) = %q is no step", f, n, target)
			case next != nil && (!ok || less(next, target)):
				t.Fatalf("skip(%q, %q) = %q, %t jumps over %q", f, n, target, ok, next)
			}
		}
	}
	for i, n := range names[1:] {
		if a := after(nil, []byte(names[i])); !less([]byte(names[i]), a) || less([]byte(n), a) {
			t.Fatalf("after(%q) = %q is not between it and %q", names[i], a, n)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, c := range []struct{ filter, name, want string }{
		{"a/+/b", "a/x/a", "a/x/b"},          // the level is still to come
		{"a/+/b", "a/x/c", "a/x\x01/b"},      // it is past
		{"a/+/b", "a/x/b/c", "a/x\x01/b"},    // too deep
		{"a/+/b", "a", "a//b"},               // not deep enough
		{"a/+/b", "b", ""},                   // past everything
		{"a/+/b", "Z", "a//b"},               // before everything
		{"+/+/c", "a/b", "a/b/c"},            //
		{"+/+/c", "a/b/d", "a/b\x01/c"},      //
		{"+/x/+", "a/y", "a\x01/x/"},         // an earlier '+' is the one to move
		{"a/#", "b", ""},                     //
		{"a/#", "A/b", "a"},                  //
		{"#", "$SYS/x", "%"},                 // [MQTT-4.7.2-1]
		{"+/#", "$", "%"},                    // [MQTT-4.7.2-1]
		{"$SYS/+", "$SYS/a/b", "$SYS/a\x01"}, //
	} {
		got, ok := skip(nil, c.filter, []byte(c.name))
		if string(got) != c.want && ok || ok != (c.want != "") {
			t.Errorf("skip(%q, %q) = %q, %t, want %q", c.filter, c.name, got, ok, c.want)
		}
	}
}

func FuzzSkip(f *testing.F) {
	f.Add("a/+/b", "a/x/c", "a/y/b")
	f.Add("+/#", "$x", "b")
	f.Add("+/+/+", "a", "a/b/c")
	f.Fuzz(func(t *testing.T, filter, name, match string) {
		n, m := []byte(name), []byte(match)
		if topic.ValidFilter(filter) != nil || topic.ValidName(n) != nil || topic.ValidName(m) != nil || topic.Match(filter, n) {
			return
		}
		target, ok := skip(nil, filter, n)
		if ok && compare(target, n) <= 0 {
			t.Fatalf("skip(%q, %q) = %q is no step", filter, n, target)
		}
		if topic.Match(filter, m) && (compare(m, least(nil, filter)) < 0 || compare(m, n) > 0 && (!ok || compare(m, target) < 0)) {
			t.Fatalf("skip(%q, %q) = %q, %t jumps over %q", filter, n, target, ok, m)
		}
	})
}
