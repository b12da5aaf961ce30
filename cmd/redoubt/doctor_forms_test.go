package main

import "testing"

// Flags about the report that make no sense are refused before anybody looks.
func TestDoctorFormsUsage(t *testing.T) {
	dir := dataDir(t)
	for _, args := range [][]string{{"-o", "pdf"}, {"--baseline", "moon"}, {"--watch", "1s"}, {"--watch", "-1m"}, {"--watch", "1m", "--diff", "last"}, {"--watch", "1m", "-o", "html"}, {"--diff", "last", "-o", "sarif"}, {"--diff", "/nowhere/a.json"}} {
		if out, err, code := command(t, "", append(append([]string{"doctor"}, args...), "--data-dir", dir)...); code != 2 || err == nil {
			t.Errorf("%v: exit code %d, %v, %s", args, code, err, out)
		}
	}
}
