package auth

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/topic"
)

// genFilter draws filters from few words, so that they meet often.
func genFilter(words ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(rapid.SampledFrom(words), 1, 4).Draw(t, "levels")
		if rapid.IntRange(0, 2).Draw(t, "multi") == 0 {
			levels = append(levels[:len(levels)-1], "#")
		}
		return strings.Join(levels, "/")
	})
}

func genName() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "$SYS", "alice", "dev-alice"}), 1, 4).Draw(t, "levels"), "/")
	}).Filter(func(s string) bool { return s != "" })
}

func mustPattern(t interface{ Fatal(...any) }, filter string) *pattern {
	p, err := compilePattern(TopicSpec{Filter: filter}, false, true, true)
	if err != nil {
		t.Fatal(filter, err)
	}
	return &p
}

// The walk over compiled levels is compared with package topic, which is too plain
// to be wrong, with every placeholder filled in by hand.
func TestPatternsAgreeWithPackageTopic(t *testing.T) {
	by := &Principal{Username: "alice", ClientID: "b"}
	s := subjectOf(by)
	fill := strings.NewReplacer("${username}", by.Username, "${clientid}", by.ClientID)
	rapid.Check(t, func(t *rapid.T) {
		text := genFilter("a", "b", "", "+", "$SYS", "${username}", "${clientid}", "dev-${username}", "${clientid}x").Filter(func(s string) bool { return s != "" }).Draw(t, "rule")
		p, plain := mustPattern(t, text), fill.Replace(text)
		name := genName().Draw(t, "name")
		if got, want := p.matches(&s, []byte(name), true), topic.Match(plain, []byte(name)); got != want {
			t.Fatalf("%q matches %q: %v, want %v", text, name, got, want)
		}
		f := genFilter("a", "b", "", "+", "$SYS", "alice", "dev-alice").Filter(func(s string) bool { return s != "" }).Draw(t, "filter")
		if got, want := p.covers(&s, []byte(f), true), topic.Covers(plain, f); got != want {
			t.Fatalf("%q covers %q: %v, want %v", text, f, got, want)
		}
		if got, want := p.overlaps(&s, []byte(f), true), topic.Overlaps(plain, f); got != want {
			t.Fatalf("%q overlaps %q: %v, want %v", text, f, got, want)
		}
		if got, want := p.equals(&s, []byte(f)), plain == f; got != want {
			t.Fatalf("%q equals %q: %v, want %v", text, f, got, want)
		}
		// A deny reaches at least what the same words allow, and $ names besides.
		if p.matches(&s, []byte(name), true) && !p.matches(&s, []byte(name), false) {
			t.Fatalf("deny %q misses %q", text, name)
		}
		if p.covers(&s, []byte(f), false) && !p.overlaps(&s, []byte(f), false) {
			t.Fatalf("deny %q covers %q without overlapping it", text, f)
		}
	})
}

// A094, A095, A097: what a client calls itself never becomes syntax.
func TestIdentitiesThatNeverExpand(t *testing.T) {
	for _, name := range []string{"", "+", "#", "a/b", "/", "a+", "#a", "$x", "$SYS", "a\x00b"} {
		if Expandable(name) {
			t.Errorf("%q expands", name)
		}
		s := subjectOf(&Principal{Username: name, ClientID: name})
		for _, f := range []string{"dev/${username}", "dev/${clientid}/#", "${username}", "x${clientid}"} {
			p := mustPattern(t, f)
			for _, n := range []string{"dev/" + name, "dev/a", "dev/a/b", "dev/", name, "x" + name, "dev"} {
				if n != "" && p.matches(&s, []byte(n), false) {
					t.Errorf("%q matches %q for the name %q", f, n, name)
				}
			}
			if p.covers(&s, []byte("dev/#"), false) || p.covers(&s, []byte("#"), false) || p.equals(&s, []byte("dev/"+name)) {
				t.Errorf("%q covers a wildcard for the name %q", f, name)
			}
		}
	}
	for _, name := range []string{"alice", ".*", "a|b", "(", "ünï", "a b", "x${username}", "x${clientid}", "a$"} {
		s := subjectOf(&Principal{Username: name})
		if !mustPattern(t, "dev/${username}").matches(&s, []byte("dev/"+name), true) {
			t.Errorf("%q does not stand for itself", name)
		}
	}
}

func TestPatternsThatAreRefused(t *testing.T) {
	for filter, says := range map[string]string{
		"":                               "no characters",
		"a/#/b":                          "'#'",
		"a+":                             "'+'",
		"a/${user}":                      "there are ${username}, ${clientid}, ${peerhost}",
		"a/${username":                   "without its }",
		"${username}-${clientid}":        "two placeholders",
		"$SYS${username}/x":              "spell the namespace out",
		"$share/g":                       "$share/GROUP/FILTER",
		strings.Repeat("a", 1025):        "at most 1024",
		strings.Repeat("/", 200):         "at most 128",
		"a\x00":                          "null",
		string([]byte{'a', 0xff}) + "/b": "UTF-8",
	} {
		_, err := compilePattern(TopicSpec{Filter: filter}, false, true, true)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20q: %v, want an error with %q", filter, err, says)
		}
	}
}
