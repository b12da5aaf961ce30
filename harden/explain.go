package harden

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// Explain is everything about one check, for a terminal.
func (c *Check) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", c.Name(), c.Title)
	fmt.Fprintf(&b, "Phase %d (%s), severity %s, weight %d. Demands %s evidence.\n", c.Phase, Phases[c.Phase], c.Severity, c.Weight, c.Demands)
	if c.Start != nil {
		b.WriteString("What can be judged before the broker listens refuses its start.\n")
	}
	for _, part := range []struct{ head, text string }{{"Why", c.Why}, {"How it is checked", c.How}, {"Fix", c.Fix}, {"Waive", c.waiving()}, {"Standards", strings.Join(c.Standards, ", ")}} {
		fmt.Fprintf(&b, "\n%s\n%s", part.head, wrapped(part.text, 96))
	}
	return b.String()
}

// wrapped breaks text into lines of at most width bytes, two spaces in.
func wrapped(text string, width int) string {
	var b strings.Builder
	line := " "
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
	return b.String()
}

// Markdown is the table as a page for people: docs/security/checks.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# What `redoubt doctor` checks\n\n" +
		"Generated from the table in package `harden` (`checks.go` and what it names); do not edit. To record a change:\n" +
		"`go test ./harden -run TestDocs -rewrite`.\n\n" +
		"Ids are those of the hardening checklist and never change. A row is judged by what was observed: files through an opened\n" +
		"descriptor, what the kernel enforces, and probes of the running broker. A probe counts only with its **positive control**:\n" +
		"the good case has to pass in the same run, or the refusal of the bad one proves nothing. A row whose evidence does not\n" +
		"reach what it demands is *unknown* and never *pass*.\n\n" +
		"Probes connect as ordinary users with a random name, made over the administration socket for the run. They live in memory\n" +
		"for a minute at most, also when the doctor is killed; there are at most four; nothing in the broker knows that they are\n" +
		"probes. One has no grant. Where a positive control needs one, a second user has a single rule for a single random topic.\n" +
		"Where a listener lets nobody in without a certificate, they have one of their name, signed with the key of the CA of devices\n" +
		"if that is here: it lasts a minute, is kept in memory and recorded nowhere. Connections are made at half of the lowest\n" +
		"`limits.connect_rate_per_prefix` at most.\n\n" +
		"Probes go to every listening socket of the process, in both address families, as the kernel lists them. A socket that is\n" +
		"neither a listener nor a service of the configuration is a finding. QUIC listeners are probed by the same MQTT on a stream, unix sockets by their\n" +
		"path. A listener with `proxy_protocol: required` is probed with a PROXY header of version 2 before everything else, if our own\n" +
		"address is in its `proxy_sources`; the header says what is true, that the client is the doctor at that address, so that rates, caps,\n" +
		"access rules and bans for it hold. If it is not, the broker has to close our connections, and the way of clients is probed, by\n" +
		"`listeners.<name>.advertised`; without that, the rows are unknown. The evidence of each scope says which way its probes went.\n\n" +
		"| Id | Severity | Weight | Demands | What is true when it passes |\n|---|---|---|---|---|\n")
	for _, c := range Checks {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %d | %s | %s |\n", c.ID, anchor(c), c.Severity, c.Weight, c.Demands, c.Title)
	}
	b.WriteString("\nThe score is 0 to 100: the weight of the rows that pass, half for one that holds but is looser than the checklist, nothing\n" +
		"for a failed or unknown one. A critical row that fails holds it at " + fmt.Sprint(capCritical) + " at most, a high one at " + fmt.Sprint(capHigh) + ". " + Caveat + "\n\n" +
		"Exit codes: 0 nothing failed at or above `--fail-on`, 1 findings, 2 the checker could not do its work or was called wrongly,\n" +
		"3 more rows are unknown than `--max-unknown`. They are the same in every form of the report; [doctor.md](doctor.md) says which forms\n" +
		"there are, and how to use them in CI. [fix.md](../ops/fix.md): what `redoubt fix` does about a row, and how it is taken back.\n\n" + baselinesPage())
	for _, c := range Checks {
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** Severity %s, phase %d (%s).\n\n%s\n\n*How:* %s\n\n*Fix:* %s.\n\n*Waive:* %s.\n\n*Standards:* %s.\n",
			c.Name(), c.Title, c.Severity, c.Phase, Phases[c.Phase], c.Why, c.How, c.Fix, c.waiving(), strings.Join(c.Standards, ", "))
		if c.Start != nil {
			b.WriteString("\nWhat of it can be judged before the broker listens refuses its start, by the same predicate.\n")
		}
	}
	return b.String()
}

// anchor is how a heading is linked to.
func anchor(c *Check) string {
	return strings.ReplaceAll(strings.ToLower(c.Name()), ".", "")
}

// waiving says whether a finding of the row can be accepted for a time, and how.
func (c *Check) waiving() string {
	if !slices.Contains(config.WaivableRows(), c.ID) {
		return "it cannot be waived"
	}
	scope := config.ScopeNode
	switch {
	case c.ID == "P4.1":
		scope = "authn.lookup.NAME"
	case c.ID == "P4.5":
		scope = "backends.NAME"
	case c.ID == "P5.8":
		scope = "metrics"
	case c.Phase == 3, c.Phase == 4, c.ID == "P1.4", c.ID == "P5.7", c.ID == "P5.9", c.ID == "P5.14":
		scope = "listeners.NAME"
	}
	text := fmt.Sprintf("waivers: [{id: %s, scope: %s, reason: ..., owner: ..., expires: YYYY-MM-DD}], for %d days at most", c.ID, scope, config.WaiverDaysMax)
	switch c.ID {
	case "P1.4":
		text += "; scope metrics for metrics.bind. Without it the start is refused"
	case "P4.1":
		text += "; it is for the hashes of a table (plain, md5, sha1) and nothing else of the row. Without it the start is refused"
	case "P4.5":
		text += ". Without it the start is refused"
	}
	return text
}
