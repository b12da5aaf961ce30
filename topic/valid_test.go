package topic

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	long := strings.Repeat("a", BytesMax)
	for _, c := range []struct {
		rule string
		name string
		want error
	}{
		{"MQTT-4.7.3-1", "", ErrEmpty},
		{"MQTT-4.7.3-1", "a", nil},
		{"MQTT-4.7.3-1", "/", nil},
		{"MQTT-4.7.3-1", "//", nil},
		{"MQTT-4.7.3-2", "a\x00b", ErrNull},
		{"MQTT-4.7.3-3", long, nil},
		{"MQTT-4.7.3-3", long + "a", ErrTooLong},
		{"MQTT-4.7.0-1", "a/+", ErrNameWildcard},
		{"MQTT-4.7.0-1", "a#", ErrNameWildcard},
		{"MQTT-1.5.4-1", "a\xff", ErrUTF8},
		{"MQTT-1.5.4-1", "\xed\xa0\x80", ErrUTF8}, // a surrogate
		{"MQTT-1.5.4-3", "\ufeffa", nil},          // a byte order mark is a character like others
		{"MQTT-4.7.3-4", "e\u0301", nil},
		{"§4.7.1", "a b", nil},
		{"A030", strings.Repeat("/", BytesMax), nil},
	} {
		if got := ValidName([]byte(c.name)); got != c.want {
			t.Errorf("%s: ValidName(%.20q) = %v, want %v", c.rule, c.name, got, c.want)
		}
	}
}

func TestValidFilter(t *testing.T) {
	for _, c := range []struct {
		rule   string
		filter string
		want   error
	}{
		{"MQTT-4.7.1-1", "#", nil},
		{"MQTT-4.7.1-1", "a/#", nil},
		{"MQTT-4.7.1-1", "/#", nil},
		{"MQTT-4.7.1-1", "+/#", nil},
		{"MQTT-4.7.1-1", "a#", ErrMultiLevel},
		{"MQTT-4.7.1-1", "a/#/b", ErrMultiLevel},
		{"MQTT-4.7.1-1", "#/", ErrMultiLevel},
		{"MQTT-4.7.1-1", "##", ErrMultiLevel},
		{"MQTT-4.7.1-1", "#a", ErrMultiLevel},
		{"MQTT-4.7.1-1", "a/b#", ErrMultiLevel},
		{"MQTT-4.7.1-2", "+", nil},
		{"MQTT-4.7.1-2", "+/+", nil},
		{"MQTT-4.7.1-2", "/+", nil},
		{"MQTT-4.7.1-2", "+/", nil},
		{"MQTT-4.7.1-2", "a/+/b", nil},
		{"MQTT-4.7.1-2", "a+", ErrSingleLevel},
		{"MQTT-4.7.1-2", "+a/b", ErrSingleLevel},
		{"MQTT-4.7.1-2", "a/b+", ErrSingleLevel},
		{"MQTT-4.7.1-2", "++", ErrSingleLevel},
		{"MQTT-4.7.1-2", "+#", ErrSingleLevel},
		{"MQTT-4.7.3-1", "", ErrEmpty},
		{"MQTT-4.7.3-2", "a\x00", ErrNull},
		{"MQTT-4.7.3-3", strings.Repeat("/", BytesMax+1), ErrTooLong},
		{"MQTT-1.5.4-1", "a/\xc3", ErrUTF8},
		{"A030", strings.Repeat("/", BytesMax), nil},
		{"A034", "((a*)*)*$", nil},
	} {
		if got := ValidFilter(c.filter); got != c.want {
			t.Errorf("%s: ValidFilter(%.20q) = %v, want %v", c.rule, c.filter, got, c.want)
		}
	}
}

func TestLevels(t *testing.T) {
	for s, want := range map[string]int{"": 1, "a": 1, "/": 2, "a/b": 2, "a//b/": 4, "$SYS/#": 2} {
		if got := Levels(s); got != want {
			t.Errorf("Levels(%q) = %d, want %d", s, got, want)
		}
		if got := Levels([]byte(s)); got != want {
			t.Errorf("Levels([]byte(%q)) = %d, want %d", s, got, want)
		}
	}
	if got := Levels(strings.Repeat("/", BytesMax)); got != BytesMax+1 {
		t.Errorf("Levels of only separators = %d", got)
	}
}

func TestHasWildcard(t *testing.T) {
	for s, want := range map[string]bool{"": false, "a/b": false, "$SYS/x": false, "a/+": true, "#": true} {
		if got := HasWildcard(s); got != want {
			t.Errorf("HasWildcard(%q) = %t", s, got)
		}
	}
}

// FuzzValidFilter holds the one-pass scan against the definition, level by level.
func FuzzValidFilter(f *testing.F) {
	for _, s := range []string{"", "#", "a/#", "a#", "+", "a/+/b", "+a", "\x00", "\xff", "a/#/b", "$share/g/f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := s != "" && len(s) <= BytesMax && !strings.Contains(s, "\x00") && strings.ToValidUTF8(s, "?") == s
		levels := strings.Split(s, "/")
		for i, l := range levels {
			want = want && (l == "+" || l == "#" && i == len(levels)-1 || !strings.ContainsAny(l, "+#"))
		}
		if got := ValidFilter(s) == nil; got != want {
			t.Fatalf("ValidFilter(%q) = %v, want valid %t", s, ValidFilter(s), want)
		}
		if name := ValidName([]byte(s)) == nil; name != (want && !HasWildcard(s)) {
			t.Fatalf("ValidName(%q) = %v: a name is a filter without wildcards", s, ValidName([]byte(s)))
		}
	})
}
