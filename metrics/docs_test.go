package metrics

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "record generated files instead of comparing them")

func TestDocsAreTheCatalogue(t *testing.T) {
	path := filepath.Join("..", "docs", "metrics.md")
	want := markdown()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/metrics.md is stale: go test ./metrics -run TestDocs -rewrite")
	}
	for _, s := range catalogue {
		if strings.Count(want, "| `"+s.name+"` |") != 1 || !strings.Contains(want, s.value) {
			t.Errorf("%s{%s=%q} is not on the page, or twice: keep a family together", s.name, s.label, s.value)
		}
	}
}

// markdown is the catalogue as a page for people: docs/metrics.md.
func markdown() string {
	var b strings.Builder
	b.WriteString("# Metrics\n\n" +
		"Generated from the catalogue in `metrics/catalogue.go`; do not edit. To record a change:\n" +
		"`go test ./metrics -run TestDocs -rewrite`.\n\n" +
		"The broker serves these in the Prometheus text format at `/metrics` on `metrics.bind`\n" +
		"(127.0.0.1:18084 unless configured), together with the `go_*` and `process_*` series of the\n" +
		"Prometheus client library. No label carries a client identifier, a user name, an address or a topic.\n" +
		"Counters begin at 0 when the broker starts.\n\n" +
		"| Name | Type | Labels | Meaning |\n|---|---|---|---|\n")
	fmt.Fprintf(&b, "| `%s` | gauge | `version`, `revision` | %s |\n", buildInfoName, buildInfoHelp)
	for i := 0; i < len(catalogue); {
		s := catalogue[i]
		var values []string
		for ; i < len(catalogue) && catalogue[i].name == s.name; i++ {
			values = append(values, catalogue[i].value)
		}
		labels := ""
		if s.label != "" {
			labels = "`" + s.label + "`: " + strings.Join(values, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.name, s.kind, labels, s.help)
	}
	for _, v := range vectors {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", v.name, v.kind, strings.Join(v.labels, "`, `"), v.help)
	}
	return b.String()
}
