package config

import (
	"strings"
	"testing"
)

// TestNamesOfClaims: a fault is one of what is written, and not of what is made of it.
func TestNamesOfClaims(t *testing.T) {
	for names, want := range map[string]string{"line7-[0-9": "missing closing ]: `[0-9`", "a)|(.*": "unexpected ): `a)|(.*`", "line7-[0-9]{4}": ""} {
		c := Claim{Names: names}
		p, err := c.NamesPattern()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", names, err, want)
		}
		if err == nil && (!p.MatchString("line7-0001") || p.MatchString("line7-00011")) {
			t.Errorf("%q matches something else", names)
		}
	}
}
