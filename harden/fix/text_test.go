package fix

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
)

// A difference is what diff -u says, and with it the new text follows from the old one.
func TestUnified(t *testing.T) {
	if got := unified("/x", true, "", "a\nb\n"); got != "--- /dev/null\n+++ b/x\n@@ -0,0 +1,2 @@\n+a\n+b\n" {
		t.Errorf("a new file:\n%s", got)
	}
	if got := unified("/x", false, "a\n", "a\n"); got != "" {
		t.Errorf("no difference: %q", got)
	}
	const want = "--- a/x\n+++ b/x\n@@ -1,7 +1,7 @@\n 1\n 2\n 3\n-4\n+four\n 5\n 6\n 7\n@@ -17,4 +17,3 @@\n 17\n 18\n 19\n-20\n\\ No newline at end of file\n"
	var a []string
	for i := range 20 {
		a = append(a, fmt.Sprint(i+1))
	}
	was := strings.Join(a, "\n")
	will := strings.Replace(strings.TrimSuffix(was, "20"), "\n4\n", "\nfour\n", 1)
	if got := unified("/x", false, was, will); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var a, b []string
		for range r.IntN(12) {
			a = append(a, string(rune('a'+r.IntN(4)))+"\n")
		}
		for range r.IntN(12) {
			b = append(b, string(rune('a'+r.IntN(4)))+"\n")
		}
		var from, to []string
		for _, e := range compare(a, b) {
			if e.a != len(from) || e.b != len(to) {
				t.Fatalf("%v %v: an edit is in the wrong place", a, b)
			}
			if e.op != '+' {
				from = append(from, e.line)
			}
			if e.op != '-' {
				to = append(to, e.line)
			}
		}
		if !slices.Equal(from, a) || !slices.Equal(to, b) {
			t.Fatalf("%v -> %v is shown as %v -> %v", a, b, from, to)
		}
	}
}

// A file of values keeps what is in it, raises what is too low, and lowers nothing.
func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name, was, want string
		add             value
		sep             string
	}{
		{"a new one", "# head\n", "# head\n\n# redoubt: why\nfs.nr_open = 9\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"too low, with our words", "# redoubt: old\nfs.nr_open = 3\nx = 1\n", "x = 1\n\n# redoubt: why\nfs.nr_open = 9\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"too low, with somebody's words", "# mine\nfs.nr_open=3\n", "# mine\n\n# redoubt: why\nfs.nr_open = 9\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"high enough", "fs.nr_open=30\n", "fs.nr_open=30\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"the last one counts", "fs.nr_open=30\nfs.nr_open=3\n", "# redoubt: why\nfs.nr_open = 9\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"no newline at the end", "x = 1", "x = 1\n\n# redoubt: why\nfs.nr_open = 9\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"a comment sets nothing", "#fs.nr_open = 30\n", "#fs.nr_open = 30\n\n# redoubt: why\nfs.nr_open = 9\n", value{"fs.nr_open", "9", "why"}, " = "},
		{"of a unit, without an end", "[Service]\nLimitNOFILE=infinity\n", "[Service]\nLimitNOFILE=infinity\n", value{"LimitNOFILE", "9", "why"}, "="},
		{"no core is less", "[Service]\nLimitCORE=5\n", "[Service]\n\n# redoubt: why\nLimitCORE=0\n", value{"LimitCORE", "0", "why"}, "="},
	} {
		if got, changed := merge(c.was, []value{c.add}, c.sep); got != c.want || changed != (c.was != c.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, changed, got, c.want)
		}
	}
	const foreign = "[Unit]\nAfter=x.service\n"
	if got, _ := unitText(foreign, []value{{"LimitNOFILE", "9", "why"}}); got != foreign+"\n[Service]\n# redoubt: why\nLimitNOFILE=9\n" {
		t.Errorf("another section:\n%s", got)
	}
}

// A file with our first line is ours while nobody has changed what is below it.
func TestForeign(t *testing.T) {
	whole := marked("a = 1\n")
	for text, want := range map[string]string{whole: "", whole + "b = 2\n": "changed", "a = 1\n": "made"} {
		if _, got := body(State{Content: []byte(text)}); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got, foreign := body(State{Content: []byte(whole)}); got != "a = 1\n" || foreign != "" {
		t.Errorf("%q, %q", got, foreign)
	}
}

// One key changes, and every other byte stays. What cannot be done with certainty is refused.
func TestSetYAML(t *testing.T) {
	const file = "# top\nlisteners:\n  mqtts:\n    bind: [\":8883\"]  # all\n\nlimits:   # mine\n  topic_levels: 20 # deep\n  packet_bytes: \"4MiB\"\nflow: { a: 1, b: {c: 2} }\n"
	for _, c := range []struct{ name, was, key, value, want string }{
		{"a number", file, "limits.topic_levels", "10", strings.Replace(file, "20 #", "10 #", 1)},
		{"in quotes", file, "limits.packet_bytes", "1MiB", strings.Replace(file, `"4MiB"`, "1MiB", 1)},
		{"a list", file, "listeners.mqtts.bind", `["127.0.0.1:8883"]`, strings.Replace(file, `[":8883"]`, `["127.0.0.1:8883"]`, 1)},
		{"another key of a section", file, "limits.inflight", "32", strings.Replace(file, "limits:   # mine\n", "limits:   # mine\n  inflight: 32\n", 1)},
		{"a new section", file, "flapping.connects", "15", file + "flapping:\n  connects: 15\n"},
		{"two new levels", file, "listeners.mqtts.tls.client_cert", "required", strings.Replace(file, "  mqtts:\n", "  mqtts:\n    tls:\n      client_cert: required\n", 1)},
		{"in braces", file, "flow.b.c", "3", strings.Replace(file, "{c: 2}", "{c: 3}", 1)},
		{"an empty file", "", "limits.inflight", "32", "limits:\n  inflight: 32\n"},
		{"a file of comments", "# nothing\n", "limits.inflight", "32", "# nothing\nlimits:\n  inflight: 32\n"},
		{"an empty section", "limits:\n", "limits.inflight", "32", "limits:\n  inflight: 32\n"},
		{"no newline at the end", "a: 1", "b", "2", "a: 1\nb: 2\n"},
		{"the same again", "a: 1\nb: 1\n", "b", "2", "a: 1\nb: 2\n"},
	} {
		if got, err := setYAML(c.was, c.key, c.value); err != nil || got != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, got, c.want)
		}
	}
	for name, c := range map[string][3]string{
		"a new key in braces":     {"limits: { inflight: 3 }\n", "limits.topic_levels", "10"},
		"a list of several lines": {"bind:\n  - \":1883\"\n", "bind", `["127.0.0.1:1883"]`},
		"an alias":                {"a: &x 5\nb: *x\n", "a", "6"},
		"an alias below":          {"a: &x {c: 1}\nb: *x\n", "b.c", "6"},
		"a block of text":         {"a: |\n  5\n", "a", "6"},
		"an end of the document":  {"a: 1\n...\n", "b", "2"},
		"a value over two lines":  {"a: one\n  two\n", "a", "6"},
		"carriage returns":        {"a: 1\r\n", "a", "2"},
		"a section that is none":  {"limits: 5\n", "limits.inflight", "2"},
		"the same key twice":      {"a: 1\na: 2\n", "a", "3"},
	} {
		if got, err := setYAML(c[0], c[1], c[2]); err == nil {
			t.Errorf("%s is edited: %q", name, got)
		}
	}
}

func ports() []harden.Port {
	at := netip.MustParseAddrPort
	return []harden.Port{
		{Name: "mqtts", Addr: at("[::]:8883"), Open: true},
		{Name: "quic", Addr: at("192.0.2.1:14567"), UDP: true, Open: true},
		{Name: "plain", Addr: at("0.0.0.0:1883")},
		{Name: "old", Addr: at("[2001:db8::1]:1884"), Accepted: "accepted by ann until 2026-12-01"},
		{Name: "behind", Addr: at("[::]:1885"), Accepted: "accepted by ann until 2026-12-01", From: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}},
		{Name: "metrics", Addr: at("127.0.0.1:18084")},
	}
}

// The table and the policy are those of the golden files: -rewrite records them.
func TestTableText(t *testing.T) {
	clients := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for name, text := range map[string]string{
		"table.nft": tableText(ports(), nil), "table-clients.nft": tableText(ports(), clients),
		"policy.yaml": policyText(ports(), nil), "policy-clients.yaml": policyText(ports(), clients), "policy-none.yaml": policyText(ports()[5:], nil),
	} {
		golden(t, name, text)
	}
	for _, text := range []string{tableText(ports(), nil), tableText(ports(), clients)} {
		for line := range strings.Lines(text) {
			own := slices.ContainsFunc(ports(), func(p harden.Port) bool { return strings.Contains(line, fmt.Sprintf("dport %d ", p.Addr.Port())) })
			if strings.Contains(line, " drop") && !own {
				t.Errorf("a rule that drops names no port of the broker: %s", line)
			}
			if strings.Contains(line, "hook input") && !strings.Contains(line, "policy accept") {
				t.Errorf("what no rule judges is not accepted: %s", line)
			}
		}
	}
	if a, b := tableText(ports(), nil), tableText(ports()[1:], nil); tableState(a).Value == tableState(b).Value || tableState(a).Value == "" {
		t.Error("two tables have one version")
	}
}

// What the drop-in confines is what the unit of the package confines.
func TestSandboxIsThatOfThePackage(t *testing.T) {
	unit, err := os.ReadFile(filepath.Join("..", "..", "packaging", "linux", "redoubt.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range append(slices.Clone(sandbox), noRights...) {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit has no %s", line)
		}
	}
	golden(t, "20-sandbox.conf", sandboxText(true))
}
