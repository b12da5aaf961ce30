//go:build !race

package topic

import (
	"strings"
	"testing"
)

// Nothing here may allocate, whether it accepts or refuses: refusing is what an
// attacker pays for least.
func TestNoAllocations(t *testing.T) {
	name := []byte("devices/000123/temperature")
	deep := strings.Repeat("+/", 1000) + "#"
	for what, f := range map[string]func(){
		"ValidName":         func() { _ = ValidName(name) },
		"ValidName refused": func() { _ = ValidName([]byte("a/#")) },
		"ValidFilter":       func() { _ = ValidFilter("devices/+/#") },
		"ValidFilter deep":  func() { _ = ValidFilter(deep) },
		"Match":             func() { Match("devices/+/temperature", name) },
		"Covers":            func() { Covers("devices/#", deep) },
		"Overlaps":          func() { Overlaps(deep, deep) },
		"Levels":            func() { Levels(name) },
		"HasWildcard":       func() { HasWildcard("devices/+") },
		"ParseShare":        func() { _, _, _, _ = ParseShare("$share/g/devices/+/#") },
		"ParseShare no":     func() { _, _, _, _ = ParseShare("$share/g/a#") },
		"ParseExclusive":    func() { _, _, _ = ParseExclusive("$exclusive/devices/+/#") },
		"ParseExclusive no": func() { _, _, _ = ParseExclusive("$exclusive/$share/g/a") },
		"ParseDelayed":      func() { _, _, _, _ = ParseDelayed([]byte("$delayed/60/devices/1/x")) },
		"ParseDelayed no":   func() { _, _, _, _ = ParseDelayed([]byte("$delayed/x/devices/1/x")) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}
