package rules

import (
	"fmt"
	"strings"
	"testing"
)

// manyRules is a file of n rules, as `make bench` reloads one.
func manyRules(n, turn int) []byte {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - id: other-%d\n    deny: publish\n    users: [nobody-%d]\n    topics: [\"elsewhere/%d/#\"]\n", i, i, i+turn%2)
	}
	b.WriteString("  - id: bench\n    allow: all\n    users: [bench]\n    topics: [\"bench/#\"]\n")
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	data := manyRules(1000, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("rules.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}
