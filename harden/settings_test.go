package harden

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// What is taken without YAML is what YAML makes of it.
func TestPlainTextIsThatOfYAML(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "null": "", "~": "", "true": "true", "1.5": "1.5", "0x1F": "0x1F", "1_000": "1_000", "2026-01-02": "2026-01-02", "a/b.c": "a/b.c", "-": "-", "---": "",
		`"a b"`: "a b", "'x'": "x", "10s": "10s", "[a, b]": "[a, b]", "{a: b}": "{a: b}", "[a": "[a", "file:/x": "file:/x", "*": "*", "Null": "", "nan": "nan", "y": "y", "a:": "a:",
	} {
		if got := plainText(text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
		var s string
		slow := text
		if yaml.Unmarshal([]byte(text), &s) == nil {
			slow = s
		}
		if got := plainText(text); got != slow {
			t.Errorf("%q: %q, and YAML says %q", text, got, slow)
		}
	}
}
