package topic

import (
	"strings"
	"testing"
)

func TestParseShare(t *testing.T) {
	for _, c := range []struct {
		rule, filter string
		group, rest  string
		ok           bool
		err          error
	}{
		{"§4.8.2", "$share/g/a", "g", "a", true, nil},
		{"§4.8.2", "$share/g/a/+/#", "g", "a/+/#", true, nil},
		{"§4.8.2", "$share/g/#", "g", "#", true, nil},
		{"§4.8.2", "$share/g//", "g", "/", true, nil},
		{"§4.8.2", "$share/g/$SYS/x", "g", "$SYS/x", true, nil},
		{"§4.8.2", "a/b", "", "", false, nil},
		{"§4.8.2", "$share", "", "", false, nil},
		{"§4.8.2", "$shared/g/a", "", "", false, nil},
		{"§4.8.2", "$SHARE/g/a", "", "", false, nil},
		{"MQTT-4.8.2-1", "$share//a", "", "", true, ErrShareName},
		{"MQTT-4.8.2-1", "$share/", "", "", true, ErrShareName},
		{"MQTT-4.8.2-2", "$share/g", "", "", true, ErrShareFilter},
		{"MQTT-4.8.2-2", "$share/g/", "", "", true, ErrShareFilter},
		{"MQTT-4.8.2-2", "$share/g+/a", "", "", true, ErrShareName},
		{"MQTT-4.8.2-2", "$share/#/a", "", "", true, ErrShareName},
		{"MQTT-4.8.2-2", "$share/+/a", "", "", true, ErrShareName},
		{"MQTT-4.7.1-1", "$share/g/a#", "", "", true, ErrMultiLevel},
		{"MQTT-4.7.1-2", "$share/g/a+/b", "", "", true, ErrSingleLevel},
		{"nested", "$share/g/$share/h/a", "", "", true, ErrShareNested},
	} {
		group, rest, ok, err := ParseShare(c.filter)
		if group != c.group || rest != c.rest || ok != c.ok || err != c.err {
			t.Errorf("%s: ParseShare(%q) = %q, %q, %t, %v", c.rule, c.filter, group, rest, ok, err)
		}
	}
}

func FuzzParseShare(f *testing.F) {
	for _, s := range []string{"$share/g/a", "$share//a", "$share/g", "a", "$share/g/$share/h/x", "$share/+/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		group, rest, ok, err := ParseShare(s)
		switch {
		case ok != strings.HasPrefix(s, "$share/"):
			t.Fatalf("ParseShare(%q): ok = %t", s, ok)
		case !ok || err != nil:
			if group != "" || rest != "" {
				t.Fatalf("ParseShare(%q) refused it and answered %q, %q", s, group, rest)
			}
		case "$share/"+group+"/"+rest != s:
			t.Fatalf("ParseShare(%q) = %q, %q", s, group, rest)
		case group == "" || strings.ContainsAny(group, "/+#") || ValidFilter(rest) != nil:
			t.Fatalf("ParseShare(%q) let %q, %q pass", s, group, rest)
		}
	})
}
