package auth

import "testing"

func TestNoTokenIsShownAsAName(t *testing.T) {
	for name, want := range map[string]string{
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.AAAA": "[a token]", "eyJhbGciOiJub25lIn0.e30": "[a token]",
		"ewogICJhbGciOiAibm9uZSIKfQ.e30.AAAA": "[a token]", "ew0KICJhbGciOiJub25lIn0.e30.AAAA": "[a token]", // {, line break
		"": "", "bob": "bob", "eyes.of.bob": "eyes.of.bob", "someone.with.a.long.name": "someone.with.a.long.name",
	} {
		if got := ShownName(name); got != want {
			t.Errorf("%q is shown as %q", name, got)
		}
	}
}
