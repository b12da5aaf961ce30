package harden

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The form of OSCAL, NIST's language for assessments: assessment results of version
// 1.1.2. A scope of a row is an observation with its evidence, a row is a finding about
// an objective, a waiver is a risk that was accepted until its deadline.

const (
	oscalVersion = "1.1.2"
	oscalNS      = home + "/ns/oscal"
)

// evidenceFor is how long an observation says anything about now. Whoever looks daily has
// no gap; a certificate that expires or a file that is opened is not seen for longer.
const evidenceFor = 24 * time.Hour

type oscalDocument struct {
	Results oscalResults `json:"assessment-results"`
}

type oscalResults struct {
	UUID     string          `json:"uuid"`
	Metadata oscalMetadata   `json:"metadata"`
	Plan     oscalRef        `json:"import-ap"`
	Results  []oscalResult   `json:"results"`
	Back     oscalBackMatter `json:"back-matter"`
}

type oscalMetadata struct {
	Title    string    `json:"title"`
	Modified time.Time `json:"last-modified"`
	Version  string    `json:"version"`
	OSCAL    string    `json:"oscal-version"`
}

type oscalRef struct {
	Href string `json:"href"`
}

type oscalBackMatter struct {
	Resources []oscalResource `json:"resources"`
}

type oscalResource struct {
	UUID        string      `json:"uuid"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Props       []oscalProp `json:"props"`
	Links       []oscalRef  `json:"rlinks"`
}

type oscalProp struct {
	Name  string `json:"name"`
	NS    string `json:"ns"`
	Value string `json:"value"`
}

type oscalResult struct {
	UUID         string             `json:"uuid"`
	Title        string             `json:"title"`
	Description  string             `json:"description"`
	Start        time.Time          `json:"start"`
	End          time.Time          `json:"end"`
	Props        []oscalProp        `json:"props"`
	Local        oscalLocal         `json:"local-definitions"`
	Reviewed     oscalReviewed      `json:"reviewed-controls"`
	Observations []oscalObservation `json:"observations,omitempty"`
	Risks        []oscalRisk        `json:"risks,omitempty"`
	Findings     []oscalFinding     `json:"findings,omitempty"`
}

type oscalLocal struct {
	Components []oscalComponent `json:"components"`
	Assets     oscalAssets      `json:"assessment-assets"`
}

type oscalComponent struct {
	UUID        string            `json:"uuid"`
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Props       []oscalProp       `json:"props,omitempty"`
	Status      map[string]string `json:"status"`
}

type oscalAssets struct {
	Components []oscalComponent `json:"components"`
	Platforms  []oscalPlatform  `json:"assessment-platforms"`
}

type oscalPlatform struct {
	UUID  string              `json:"uuid"`
	Title string              `json:"title"`
	Uses  []map[string]string `json:"uses-components"`
}

type oscalReviewed struct {
	Selections []oscalSelection `json:"control-selections"`
}

type oscalSelection struct {
	Include []map[string]string `json:"include-controls"`
}

type oscalObservation struct {
	UUID        string              `json:"uuid"`
	Title       string              `json:"title"`
	Description string              `json:"description"`
	Props       []oscalProp         `json:"props"`
	Methods     []string            `json:"methods"`
	Origins     []oscalOrigin       `json:"origins"`
	Subjects    []map[string]string `json:"subjects"`
	Evidence    []oscalEvidence     `json:"relevant-evidence,omitempty"`
	Collected   time.Time           `json:"collected"`
	Expires     time.Time           `json:"expires"`
}

type oscalOrigin struct {
	Actors []map[string]string `json:"actors"`
}

type oscalEvidence struct {
	Description string      `json:"description"`
	Props       []oscalProp `json:"props"`
}

type oscalRisk struct {
	UUID        string              `json:"uuid"`
	Title       string              `json:"title"`
	Description string              `json:"description"`
	Statement   string              `json:"statement"`
	Props       []oscalProp         `json:"props"`
	Status      string              `json:"status"`
	Deadline    time.Time           `json:"deadline"`
	Related     []map[string]string `json:"related-observations"`
}

type oscalFinding struct {
	UUID        string              `json:"uuid"`
	Title       string              `json:"title"`
	Description string              `json:"description"`
	Props       []oscalProp         `json:"props"`
	Target      oscalTarget         `json:"target"`
	Related     []map[string]string `json:"related-observations"`
	Risks       []map[string]string `json:"related-risks,omitempty"`
}

type oscalTarget struct {
	Type   string            `json:"type"`
	ID     string            `json:"target-id"`
	Status map[string]string `json:"status"`
}

// oscalID names a thing of a report. It has the form of a UUID of version 4 with the bits
// of a hash for chance, so that one report is written the same twice.
func (r *Report) oscalID(parts ...string) string {
	return uuidOf(sha256.Sum256([]byte(r.Node + "\x00" + r.Started.UTC().Format(time.RFC3339Nano) + "\x00" + strings.Join(parts, "\x00"))))
}

func uuidOf(h [sha256.Size]byte) string {
	h[6] = h[6]&0x0f | 0x40
	h[8] = h[8]&0x3f | 0x80
	s := hex.EncodeToString(h[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// props are names with their values in turn; OSCAL takes no empty ones.
func props(pairs ...string) []oscalProp {
	out := []oscalProp{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := strings.TrimSpace(pairs[i+1]); v != "" {
			out = append(out, oscalProp{pairs[i], oscalNS, v})
		}
	}
	return out
}

func (r *Report) writeOSCAL(w io.Writer, opt WriteOptions) error {
	node, tool, plan := r.oscalID("node"), r.oscalID("tool"), r.oscalID("plan")
	score := r.Score()
	name := r.Node
	if name == "" {
		name = "a node that did not answer"
	}
	res := oscalResult{
		UUID: r.oscalID("result"), Title: "redoubt doctor on " + mdText(name), Description: mdText(r.lastLine() + ". " + Caveat), Start: r.Started.UTC(), End: r.Started.Add(r.Duration).UTC(),
		Props: props("score", fmt.Sprint(score.Points), "score-cap", fmt.Sprint(score.Cap), "baseline", string(r.Baseline)),
		Local: oscalLocal{
			Components: []oscalComponent{{node, "software", mdText(name), "The broker that was looked at.", props("version", r.Version), map[string]string{"state": "operational"}}},
			Assets: oscalAssets{
				Components: []oscalComponent{{tool, "software", "redoubt doctor", "Looks and tries.", props("version", opt.Checker, "rules-sha256", RulesHash()), map[string]string{"state": "operational"}}},
				Platforms:  []oscalPlatform{{r.oscalID("platform"), "the host of the broker", []map[string]string{{"component-uuid": tool}}}},
			},
		},
		Reviewed: oscalReviewed{[]oscalSelection{{[]map[string]string{}}}},
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		res.Reviewed.Selections[0].Include = append(res.Reviewed.Selections[0].Include, map[string]string{"control-id": row.Check.Name()})
		r.oscalRow(&res, row, node, tool)
	}
	doc := oscalDocument{oscalResults{
		UUID:     r.oscalID("document"),
		Metadata: oscalMetadata{"Hardening of " + mdText(name), r.Started.Add(r.Duration).UTC(), schemaVersion + "." + r.Started.UTC().Format("20060102150405"), oscalVersion},
		Plan:     oscalRef{"#" + plan}, Results: []oscalResult{res},
		Back: oscalBackMatter{[]oscalResource{{plan, "The hardening checklist of Redoubt", "The table of checks that redoubt doctor has built in, each with what it demands and how it is checked.",
			props("rules-sha256", RulesHash()), []oscalRef{{home + "/blob/main/docs/security/checks.md"}}}}},
	}}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// oscalRow adds what there is of a row. One that does not apply has observations, and
// no finding: nothing was left to be satisfied.
func (r *Report) oscalRow(res *oscalResult, row *Row, node, tool string) {
	c := row.Check
	f := oscalFinding{UUID: r.oscalID("finding", c.ID), Title: c.ID + " " + mdText(c.Title), Description: mdText(c.Why),
		Props: props("severity", string(c.Severity), "weight", fmt.Sprint(c.Weight), "state", string(row.State()), "confidence", string(row.Confidence()), "demanded-confidence", string(c.Demands))}
	for _, s := range c.Standards {
		f.Props = append(f.Props, props("standard", s)...)
	}
	for k := range row.Results {
		x := &row.Results[k]
		o := x.oscal(c, node, tool)
		o.UUID = r.oscalID("observation", c.ID, x.Scope, fmt.Sprint(k))
		res.Observations = append(res.Observations, o)
		related := []map[string]string{{"observation-uuid": o.UUID}}
		f.Related = append(f.Related, related...)
		if wv := x.Waiver; wv != nil {
			risk := oscalRisk{UUID: r.oscalID("risk", c.ID, x.Scope, fmt.Sprint(k)), Title: c.ID + " is waived for " + mdText(x.Scope), Description: mdText(x.Summary), Statement: mdText(wv.Reason),
				Props: props("owner", wv.Owner, "approver", wv.Approver, "compensating-control", wv.Compensating, "original-state", string(x.Original)), Status: "deviation-approved", Deadline: wv.Expires.End().UTC(), Related: related}
			res.Risks = append(res.Risks, risk)
			f.Risks = append(f.Risks, map[string]string{"risk-uuid": risk.UUID})
		}
	}
	status := map[string]string{"state": "not-satisfied", "reason": "other"}
	switch row.State() {
	case NotApplicable:
		return
	case Pass:
		status = map[string]string{"state": "satisfied", "reason": "pass"}
	case Warn:
		status = map[string]string{"state": "satisfied", "reason": "pass", "remarks": "It holds, but looser than the checklist."}
	case Fail:
		status["reason"] = "fail"
	case Waived:
		status["reason"], status["remarks"] = "fail", "Accepted for a time; the risk says by whom, why and until when."
	case Manual:
		status["remarks"] = "Only a person can tell."
	default:
		status["remarks"] = "It could not be observed, which never counts as satisfied."
	}
	f.Target = oscalTarget{"objective-id", c.Name(), status}
	res.Findings = append(res.Findings, f)
}

// oscalMethods are the methods as NIST SP 800-53A has them.
var oscalMethods = map[Method]string{ReadConfig: "EXAMINE", ReadFile: "EXAMINE", ReadKernel: "EXAMINE", API: "EXAMINE", Probe: "TEST", FaultInjection: "TEST"}

func (r *Result) oscal(c *Check, node, tool string) oscalObservation {
	o := oscalObservation{
		Title: c.ID + " on " + mdText(r.Scope), Description: mdText(r.Summary), Collected: r.Began.UTC(), Expires: r.Began.Add(evidenceFor).UTC(),
		Props:    props("scope", r.Scope, "state", string(r.State), "original-state", string(r.Original), "confidence", string(r.Confidence), "fix", r.Fix),
		Origins:  []oscalOrigin{{[]map[string]string{{"type": "tool", "actor-uuid": tool}}}},
		Subjects: []map[string]string{{"subject-uuid": node, "type": "component", "title": mdText(r.Scope)}},
	}
	if o.Description == "" {
		o.Description = mdText(c.Title)
	}
	for _, x := range r.Observations {
		if m := oscalMethods[x.Method]; m != "" && !slices.Contains(o.Methods, m) {
			o.Methods = append(o.Methods, m)
		}
		o.Evidence = append(o.Evidence, oscalEvidence{mdText(x.What + ": " + x.Actual), props("method", string(x.Method), "state", string(x.State), "expected", x.Expected, "source", x.Source)})
	}
	if len(o.Methods) == 0 {
		o.Methods = []string{"UNKNOWN"}
	}
	return o
}
