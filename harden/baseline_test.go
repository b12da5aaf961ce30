package harden

import (
	"slices"
	"strings"
	"testing"
)

// Each baseline asks for its own figures, and the usual one for those there have always been.
func TestBaselinesSizeTheHost(t *testing.T) {
	for _, c := range []struct {
		b             Baseline
		auto          bool
		connections   int64
		want          int64 // connections
		files, own    int64
		shortOfThatIs State
	}{
		{Internet, true, 800_000, 800_000, 960_256, 960_256, Warn},
		{Internet, false, 800_000, 800_000, 960_256, 960_256, Fail},
		{Edge, true, 800_000, 10_000, 12_256, 12_256, Warn},
		{Edge, true, 500, 500, 856, 856, Warn},
		{Edge, false, 800_000, 800_000, 960_256, 960_256, Fail},
		{Cluster, true, 1_000, 1_000, 2_097_152, 1_048_576, Fail},
		{Cluster, false, 3_000_000, 3_000_000, 3_600_256, 3_600_256, Fail},
	} {
		p := &plan{connections: c.connections, chosen: !c.auto}
		c.b.size(p)
		if p.connections != c.want || p.files != c.files || p.processFiles != c.own || p.short() != c.shortOfThatIs {
			t.Errorf("%s, auto %v, %d connections: %+v, %s", c.b, c.auto, c.connections, p, p.short())
		}
	}
	e := &Env{}
	if e.baseline() != Internet {
		t.Errorf("the usual one is %s", e.baseline())
	}
	for b, want := range map[Baseline]bool{Edge: true, Internet: true, Cluster: false} {
		m := newMachine(t)
		m.baseline = b
		_, row := m.examine("P1.5")
		if r := row.Results[0]; r.State != NotApplicable || strings.Contains(r.Summary, "of its own") != want {
			t.Errorf("%s: %s, %s", b, r.State, r.Summary)
		}
	}
	if _, err := ParseBaseline("moon\x1b"); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
}

// Who reads what a fix touches finds it for every row.
func TestEveryRowHasARemedy(t *testing.T) {
	for _, c := range Checks {
		m, ok := remedies[c.ID]
		if !ok || m.rollback == "" || !slices.Contains([]string{restartNone, restartReload, restartBroker, restartHost}, m.restart) {
			t.Errorf("%s: %+v", c.Name(), m)
		}
		if len(c.Baselines()) == 0 {
			t.Errorf("%s is in no baseline", c.Name())
		}
	}
	if len(remedies) != len(Checks) {
		t.Errorf("%d remedies for %d rows", len(remedies), len(Checks))
	}
	r := &Report{ConfigFile: "/etc/redoubt/redoubt.yaml", RulesFile: "/srv/rules.yaml"}
	for id, want := range map[string]string{"P1.4": "/etc/redoubt/redoubt.yaml", "P4.2": "/srv/rules.yaml", "P1.1": sysctlFile} {
		if m := r.remedy(&Check{ID: id}); !slices.Equal(m.files, []string{want}) {
			t.Errorf("%s: %v", id, m.files)
		}
	}
	for text, is := range map[string]bool{
		"chmod 0600 '/a b'": true, "chmod 0600 /a && chown 1 /b": true, dropInHead + "a = 1" + dropInTail: true, "redoubt reload": true,
		"redoubt reload: the broker believes who is no proxy": false, "set LimitNOFILE=1 in the unit": false, "": false, "redoubt cert crl && get the new list": false,
	} {
		if got := command(text); (got == text && text != "") != is {
			t.Errorf("%q is a command: %q", text, got)
		}
	}
}
