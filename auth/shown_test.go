package auth

import "testing"

func TestNoTokenIsShownAsAName(t *testing.T) {
	for name, want := range map[string]string{
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.AAAA": "[a token]", "eyJhbGciOiJub25lIn0.e30": "[a token]",
		"": "", "bob": "bob", "eyes.of.bob": "eyes.of.bob", "someone.with.a.long.name": "someone.with.a.long.name",
	} {
		if got := ShownName(name); got != want {
			t.Errorf("%q is shown as %q", name, got)
		}
	}
}
