package config

import "testing"

// TestNamesOfAClaim: a pattern holds from beginning to end, or is none.
func TestNamesOfAClaim(t *testing.T) {
	for names, want := range map[string]bool{"line7-[0-9]{4}": true, "a|line7-0001": true, "0001|line7": false, "line7": false, "(?m)line7-0001$": true} {
		c := Claim{Names: names}
		if p, err := c.NamesPattern(); err != nil || p.MatchString("line7-0001") != want || p.MatchString("line7-0001\nadmin") {
			t.Errorf("%s: %v, %v", names, p, err)
		}
	}
	for _, names := range []string{"a)|(?:b", "x)|(", "("} {
		c := Claim{Names: names}
		if p, err := c.NamesPattern(); err == nil {
			t.Errorf("%s is %s", names, p)
		}
	}
}
