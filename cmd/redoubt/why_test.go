package main

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/admin"
)

// Whoever is refused has chosen his names, without any secret: they do not steer the
// terminal of who looks for the reason, nor make lines of their own.
func TestWhatWasRefusedDoesNotSteerTheTerminal(t *testing.T) {
	const bad = "a\x1b]0;owned\x07\nallow\u202e"
	r := admin.RefusalInfo{Event: "CONNECT refused", ClientID: bad, Username: bad, Topic: bad, Why: bad, Rule: bad, File: "rules.yaml", Listener: "l"}
	texts := map[string]string{
		"refused": refusedText([]admin.RefusalInfo{r}),
		"why": whyText(&admin.WhyAnswer{
			Result: "deny", Limit: bad, Note: bad, Judged: bad, Rule: &admin.RuleInfo{Text: bad},
			Client: admin.WhyClient{ClientID: bad, Username: bad}, Refusals: []admin.RefusalInfo{r},
		}),
	}
	for name, text := range texts {
		for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if strings.IndexFunc(line, steers) >= 0 || strings.HasPrefix(line, "allow") {
				t.Errorf("%s: %q", name, line)
			}
		}
		if !strings.Contains(text, `a\x1b]0;owned\x07\x0aallow\u202e`) {
			t.Errorf("%s: the names cannot be read: %q", name, text)
		}
	}
}
