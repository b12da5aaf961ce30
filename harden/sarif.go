package harden

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// The SARIF form, version 2.1.0: what services that show code scanning read. A row is a
// rule, a scope of it a result. The standard has it that only what fails has a level.

const (
	sarifSchema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	sarifVersion = "2.1.0"
	home         = "https://github.com/redoubtmq/redoubt"
)

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Automation  map[string]string `json:"automationDetails"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
	ColumnKind  string            `json:"columnKind"`
	Properties  map[string]any    `json:"properties"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	URI     string      `json:"informationUri"`
	Rules   []sarifRule `json:"rules"`
}

type sarifInvocation struct {
	Successful bool      `json:"executionSuccessful"`
	Started    time.Time `json:"startTimeUtc"`
	Ended      time.Time `json:"endTimeUtc"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Short      sarifText         `json:"shortDescription"`
	Full       sarifText         `json:"fullDescription"`
	Help       sarifText         `json:"help"`
	HelpURI    string            `json:"helpUri"`
	Default    map[string]string `json:"defaultConfiguration"`
	Properties map[string]any    `json:"properties"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	RuleIndex    int                `json:"ruleIndex"`
	Kind         string             `json:"kind"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions"`
	Properties   map[string]any     `json:"properties"`
}

type sarifLocation struct {
	Physical *sarifPhysical      `json:"physicalLocation,omitempty"`
	Logical  []map[string]string `json:"logicalLocations"`
}

type sarifPhysical struct {
	Artifact map[string]string `json:"artifactLocation"`
	Region   map[string]int    `json:"region"`
}

type sarifSuppression struct {
	Kind          string         `json:"kind"`
	Status        string         `json:"status"`
	Justification string         `json:"justification"`
	Properties    map[string]any `json:"properties"`
}

func (r *Report) writeSARIF(w io.Writer, opt WriteOptions) error {
	score := r.Score()
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: "redoubt doctor", Version: opt.Checker, URI: home, Rules: []sarifRule{}}}, Results: []sarifResult{}, ColumnKind: "unicodeCodePoints",
		Automation:  map[string]string{"id": "redoubt-doctor/" + url.PathEscape(r.Node) + "/"},
		Invocations: []sarifInvocation{{true, r.Started.UTC(), r.Started.Add(r.Duration).UTC()}},
		Properties: map[string]any{"node": r.Node, "brokerVersion": r.Version, "baseline": r.Baseline, "rulesSha256": RulesHash(),
			"score": score.Points, "scoreCap": score.Cap, "scoreCaveat": Caveat},
	}
	for i := range r.Rows {
		c := r.Rows[i].Check
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, c.sarif())
		for k := range r.Rows[i].Results {
			x := &r.Rows[i].Results[k]
			f := x.sarif(c, opt.Folder)
			f.RuleIndex = i
			run.Results = append(run.Results, f)
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{sarifSchema, sarifVersion, []sarifRun{run}})
}

// securitySeverity is what code scanning sorts by: the score of a CVE of that severity.
var securitySeverity = map[Severity]string{Critical: "9.5", High: "8.0", Medium: "5.5", Low: "2.5"}

func (c *Check) sarif() sarifRule {
	tags := []string{"security", fmt.Sprintf("phase-%d", c.Phase)}
	for _, s := range c.Standards {
		if n, ok := strings.CutPrefix(s, "CWE-"); ok {
			tags = append(tags, "external/cwe/cwe-"+n)
		}
	}
	return sarifRule{
		ID: c.Name(), Name: camel(c.Slug), Short: sarifText{c.Title}, Full: sarifText{c.Why}, HelpURI: home + "/blob/main/docs/security/checks.md#" + anchor(c),
		Help:    sarifText{c.Why + "\n\nHow it is checked: " + c.How + "\n\nFix: " + c.Fix},
		Default: map[string]string{"level": failed(c.Severity)},
		Properties: map[string]any{"tags": tags, "standards": c.Standards, "severity": c.Severity, "security-severity": securitySeverity[c.Severity], "precision": "very-high",
			"phase": c.Phase, "weight": c.Weight, "demandedConfidence": c.Demands},
	}
}

// failed is the level of a row that fails.
func failed(s Severity) string {
	switch s {
	case Critical, High:
		return "error"
	case Medium:
		return "warning"
	}
	return "note"
}

// kinds are the states as SARIF knows them; what is waived is as it was before.
var kinds = map[State]string{Pass: "pass", Fail: "fail", Warn: "fail", Unknown: "open", NotApplicable: "notApplicable", Manual: "review"}

func (r *Result) sarif(c *Check, folder string) sarifResult {
	state := r.State
	if state == Waived {
		state = r.Original
	}
	out := sarifResult{RuleID: c.Name(), Kind: kinds[state], Level: "none", Message: sarifText{message(r.Scope + ": " + r.Summary)}, Suppressions: []sarifSuppression{},
		Fingerprints: map[string]string{"redoubtIdScope/v1": c.Name() + "|" + r.Scope},
		Properties:   map[string]any{"state": r.State, "originalState": r.Original, "scope": r.Scope, "confidence": r.Confidence, "fix": r.Fix, "observations": r.Observations}}
	if r.Summary == "" {
		out.Message.Text = message(r.Scope + ": " + c.Title)
	}
	switch state {
	case Fail:
		out.Level = failed(c.Severity)
	case Warn: // it holds, but looser: a step below what a failure is
		if out.Level = "note"; c.Severity.AtLeast(High) {
			out.Level = "warning"
		}
	}
	at := sarifLocation{Logical: []map[string]string{{"fullyQualifiedName": r.Scope, "kind": "resource"}}}
	if r.At.Line > 0 {
		at.Physical = &sarifPhysical{map[string]string{"uri": artifact(r.At.Name, folder)}, map[string]int{"startLine": r.At.Line}}
	}
	out.Locations = []sarifLocation{at}
	if w := r.Waiver; w != nil {
		out.Suppressions = append(out.Suppressions, sarifSuppression{"external", "accepted", w.Reason, map[string]any{"owner": w.Owner, "expires": w.Expires.String()}})
	}
	return out
}

// placeholder is what a message of SARIF has for an argument.
var placeholder = regexp.MustCompile(`\{(\d)`)

// message takes from a text what SARIF would take for a link, [text](where), or for an
// argument, {0}: there are none in ours, and others have written part of it.
func message(s string) string {
	return placeholder.ReplaceAllString(strings.ReplaceAll(s, "](", "] ("), "{ $1")
}

// artifact is a file as a URI: relative to folder if it is in there, which is how a
// repository is told where to show a finding.
func artifact(path, folder string) string {
	if filepath.IsAbs(path) && folder != "" {
		if rel, err := filepath.Rel(folder, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
	}
	u := url.URL{Path: filepath.ToSlash(filepath.Clean(path))}
	if filepath.IsAbs(path) {
		return "file://" + u.EscapedPath()
	}
	return u.String() // with ./ before a name that could be taken for a scheme
}

// camel is a slug as the standard wants names of rules: TlsVersions.
func camel(slug string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(slug, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
