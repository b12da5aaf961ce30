package topic

import (
	"strings"
	"testing"
)

func TestParseExclusive(t *testing.T) {
	for _, c := range []struct {
		rule, filter, rest string
		ok                 bool
		err                error
	}{
		{"plain", "$exclusive/a", "a", true, nil},
		{"plain", "$exclusive/a/+/#", "a/+/#", true, nil},
		{"plain", "$exclusive//", "/", true, nil},
		{"plain", "$exclusive/$SYS/x", "$SYS/x", true, nil},
		{"other", "a/b", "", false, nil},
		{"other", "$exclusive", "", false, nil},
		{"other", "$EXCLUSIVE/a", "", false, nil},
		{"other", "$exclusives/a", "", false, nil},
		{"empty", "$exclusive/", "", true, ErrExclusiveFilter},
		{"nested", "$exclusive/$exclusive/a", "", true, ErrExclusiveNested},
		{"nested", "$exclusive/$share/g/a", "", true, ErrExclusiveNested},
		{"MQTT-4.7.1-1", "$exclusive/a#", "", true, ErrMultiLevel},
		{"MQTT-4.7.1-2", "$exclusive/a+/b", "", true, ErrSingleLevel},
	} {
		rest, ok, err := ParseExclusive(c.filter)
		if rest != c.rest || ok != c.ok || err != c.err {
			t.Errorf("%s: ParseExclusive(%q) = %q, %t, %v", c.rule, c.filter, rest, ok, err)
		}
	}
}

func TestParseDelayed(t *testing.T) {
	for _, c := range []struct {
		rule, name string
		seconds    uint32
		rest       string
		ok         bool
		err        error
	}{
		{"plain", "$delayed/1/a", 1, "a", true, nil},
		{"plain", "$delayed/60/a/b", 60, "a/b", true, nil},
		{"plain", "$delayed/60//", 60, "/", true, nil},
		{"plain", "$delayed/42949670/a", DelaySecondsMax, "a", true, nil},
		{"judged by others", "$delayed/5/$SYS/x", 5, "$SYS/x", true, nil},
		{"other", "a/b", 0, "", false, nil},
		{"other", "$delayed", 0, "", false, nil},
		{"other", "$DELAYED/5/a", 0, "", false, nil},
		{"other", "a/$delayed/5/a", 0, "", false, nil},
		{"no delay", "$delayed/", 0, "", true, ErrDelay},
		{"no delay", "$delayed//a", 0, "", true, ErrDelay},
		{"no delay", "$delayed/0/a", 0, "", true, ErrDelay},
		{"no number", "$delayed/x/a", 0, "", true, ErrDelay},
		{"no number", "$delayed/5s/a", 0, "", true, ErrDelay},
		{"no number", "$delayed/1.5/a", 0, "", true, ErrDelay},
		{"no number", "$delayed/٣/a", 0, "", true, ErrDelay},
		{"sign", "$delayed/-5/a", 0, "", true, ErrDelay},
		{"leading zero", "$delayed/05/a", 0, "", true, ErrDelay},
		{"too long", "$delayed/42949671/a", 0, "", true, ErrDelay},
		{"too long", "$delayed/4294967296000000000000/a", 0, "", true, ErrDelay},
		{"a point in time", "$delayed/1795000000/a", 0, "", true, ErrDelay},
		{"no topic", "$delayed/5", 0, "", true, ErrDelayTopic},
		{"no topic", "$delayed/5/", 0, "", true, ErrDelayTopic},
		{"nested", "$delayed/5/$delayed/5/a", 0, "", true, ErrDelayNested},
		{"MQTT-4.7.0-1", "$delayed/5/a/+", 0, "", true, ErrNameWildcard},
	} {
		seconds, rest, ok, err := ParseDelayed([]byte(c.name))
		if seconds != c.seconds || string(rest) != c.rest || ok != c.ok || err != c.err {
			t.Errorf("%s: ParseDelayed(%q) = %d, %q, %t, %v", c.rule, c.name, seconds, rest, ok, err)
		}
	}
}

func FuzzWrapped(f *testing.F) {
	for _, s := range []string{"$exclusive/a", "$exclusive/$share/g/a", "$delayed/5/a", "$delayed/5/$delayed/1/a", "a", "$share/g/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rest, ok, err := ParseExclusive(s)
		switch {
		case ok != strings.HasPrefix(s, "$exclusive/") || (!ok || err != nil) && rest != "":
			t.Fatalf("ParseExclusive(%q) = %q, %t, %v", s, rest, ok, err)
		case ok && err == nil:
			_, again, _ := ParseExclusive(rest)
			_, _, shared, _ := ParseShare(rest)
			if "$exclusive/"+rest != s || ValidFilter(rest) != nil || again || shared {
				t.Fatalf("ParseExclusive(%q) let %q pass", s, rest)
			}
		}
		seconds, name, ok, err := ParseDelayed([]byte(s))
		switch {
		case ok != strings.HasPrefix(s, "$delayed/") || (!ok || err != nil) && (name != nil || seconds != 0):
			t.Fatalf("ParseDelayed(%q) = %d, %q, %t, %v", s, seconds, name, ok, err)
		case ok && err == nil:
			_, _, again, _ := ParseDelayed(name)
			if seconds < 1 || seconds > DelaySecondsMax || ValidName(name) != nil || again || !strings.HasSuffix(s, "/"+string(name)) {
				t.Fatalf("ParseDelayed(%q) let %d, %q pass", s, seconds, name)
			}
		}
	})
}
