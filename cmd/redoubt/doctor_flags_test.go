package main

import (
	"strings"
	"testing"
)

// What would be passed over without a word is refused: an empty value, a second one, and a flag
// beside one that does something else.
func TestDoctorFlagsTogether(t *testing.T) {
	dir := dataDir(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--verify", ""}, "--verify has no value"},
		{[]string{"--only", ""}, "--only has no value"},
		{[]string{"--target", ""}, "--target has no value"},
		{[]string{"--outside", ""}, "no value"},
		{[]string{"--diff", ""}, "no value"},
		{[]string{"--outside", "a.json", "--outside", "b.json"}, `there is "a.json" already`},
		{[]string{"--verify", "a.json", "-o", "json"}, "--verify judges signatures, in words and with the exit code, and --output says nothing there"},
		{[]string{"--verify", "a.json", "--only", "P1.1"}, "--only says nothing there"},
		{[]string{"--verify", "a.json", "--public-key"}, "leave one of them out"},
		{[]string{"--explain", "P1.1", "--watch", "1m"}, "--explain says what a row demands"},
		{[]string{"--from", "outside", "--target", "192.0.2.1", "--outside", "a.json"}, "--from tries ports from another host, and --outside says nothing there"},
		{[]string{"-o", "oscal-component", "--only", "P1.1"}, "--output oscal-component is about this version and no broker, and --only says nothing there"},
		{[]string{"-o", "xml"}, "html or md; or oscal-component, which checks nothing"},
	} {
		out, err, code := command(t, "", append([]string{"doctor", "--data-dir", dir}, c.args...)...)
		if code != 2 || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: exit code %d, want 2 and %q, is %v\n%s", c.args, code, c.want, err, out)
		}
	}
	for _, args := range [][]string{{"--explain", "P1.1"}, {"-o", "oscal-component"}} {
		if out, err, code := command(t, "", append([]string{"doctor", "--data-dir", dir}, args...)...); code != 0 {
			t.Errorf("%v: exit code %d, %v\n%s", args, code, err, out)
		}
	}
}
