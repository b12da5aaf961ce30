package harden

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// oscalShape is what the model of assessment results 1.1.2 has of the objects that are
// used, by the property they stand in: what they must have, and what else they may have.
var oscalShape = map[string][2]string{
	"":                     {"assessment-results", ""},
	"assessment-results":   {"uuid metadata import-ap results", "local-definitions back-matter"},
	"metadata":             {"title last-modified version oscal-version", "published revisions document-ids props links roles locations parties responsible-parties actions remarks"},
	"import-ap":            {"href", "remarks"},
	"results":              {"uuid title description start reviewed-controls", "end props links local-definitions attestations assessment-log observations risks findings remarks"},
	"local-definitions":    {"", "components inventory-items users assessment-assets tasks"},
	"components":           {"uuid type title description status", "purpose props links responsible-roles protocols remarks"},
	"assessment-assets":    {"assessment-platforms", "components"},
	"assessment-platforms": {"uuid", "title props links uses-components remarks"},
	"uses-components":      {"component-uuid", "props links responsible-parties remarks"},
	"reviewed-controls":    {"control-selections", "description props links control-objective-selections remarks"},
	"control-selections":   {"include-controls", "description props links exclude-controls remarks"},
	"include-controls":     {"control-id", "statement-ids"},
	"observations":         {"uuid description methods collected", "title props links types origins subjects relevant-evidence expires remarks"},
	"origins":              {"actors", "related-tasks"},
	"actors":               {"type actor-uuid", "role-id props links"},
	"subjects":             {"subject-uuid type", "title props links remarks"},
	"relevant-evidence":    {"description", "href props links remarks"},
	"risks":                {"uuid title description statement status", "props links origins threat-ids characterizations mitigating-factors deadline remediations risk-log related-observations remarks"},
	"related-observations": {"observation-uuid", ""},
	"related-risks":        {"risk-uuid", ""},
	"findings":             {"uuid title description target", "props links origins implementation-statement-uuid related-observations related-risks remarks"},
	"target":               {"type target-id status", "title description props links implementation-status remarks"},
	"back-matter":          {"", "resources"},
	"resources":            {"uuid", "title description props document-ids citation rlinks base64 remarks"},
	"rlinks":               {"href", "media-type hashes"},
	"props":                {"name value", "uuid ns class group remarks"},
}

var (
	oscalUUID  = regexp.MustCompile(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[45][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$`)
	oscalToken = regexp.MustCompile(`^(\p{L}|_)(\p{L}|\p{N}|[.\-_])*$`)
	oscalText  = regexp.MustCompile(`^\S(.*\S)?$`)
)

// oscalWalk judges an object that stands in the property name, and all below it.
func oscalWalk(t *testing.T, name string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			t.Errorf("%s is empty, and has to be left out then", name)
		}
		for _, x := range v {
			oscalWalk(t, name, x)
		}
	case map[string]any:
		shape, ok := oscalShape[name]
		if name == "status" { // of a component or of a target
			if v["state"] == nil {
				t.Errorf("a status without a state: %v", v)
			}
			return
		}
		if !ok {
			t.Errorf("%s is nothing that is known", name)
		}
		must, may := strings.Fields(shape[0]), strings.Fields(shape[1])
		for _, k := range must {
			if v[k] == nil {
				t.Errorf("%s has no %s", name, k)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(must, k) && !slices.Contains(may, k) {
				t.Errorf("%s has %s", name, k)
			}
			oscalWalk(t, k, v[k])
		}
	case string:
		ok := oscalText.MatchString(v)
		switch {
		case name == "uuid", strings.HasSuffix(name, "-uuid"):
			ok = oscalUUID.MatchString(v)
		case name == "control-id", name == "target-id", name == "name":
			ok = oscalToken.MatchString(v)
		case slices.Contains([]string{"start", "end", "collected", "expires", "deadline", "last-modified"}, name):
			_, err := time.Parse(time.RFC3339Nano, v)
			ok = err == nil
		}
		if !ok {
			t.Errorf("%s is %q", name, v)
		}
	}
}

// oscalSchema is NIST's own; what it leaves open, such as names that nobody knows, is in oscalShape.
const oscalSchema = "oscal_complete_schema-1-1-2.json"

// The definition of the component is what NIST's schema says, maps each row to a control of each
// catalog, and names rows as assessment results do.
func TestComponentDefinition(t *testing.T) {
	var b strings.Builder
	if err := WriteComponentDefinition(&b, t0, "9.9"); err != nil {
		t.Fatal(err)
	}
	validate(t, oscalSchema, b.String())
	var got oscalDefinition
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	forms := []*regexp.Regexp{regexp.MustCompile(`^[a-z]{2}-[1-9][0-9]?$`), regexp.MustCompile(`^CR[1-7]\.[1-9][0-9]?$`), regexp.MustCompile(`^I\.2\.[a-m]$`)}
	ids := map[string]bool{}
	for i, im := range got.Definition.Components[0].Implementations {
		rows := map[string]bool{}
		for _, r := range im.Requirements {
			if !forms[i].MatchString(r.Control) || ids[r.UUID] {
				t.Errorf("%s: control %q, %s", im.Description, r.Control, r.UUID)
			}
			ids[r.UUID] = true
			for _, p := range r.Props {
				rows[p.Value] = true
			}
		}
		for _, c := range Checks {
			if !rows[c.Name()] {
				t.Errorf("%s has no control in: %s", c.Name(), im.Description)
			}
		}
	}
	for id := range controls53 {
		if !slices.ContainsFunc(Checks, func(c *Check) bool { return c.ID == id }) {
			t.Errorf("%s is no row", id)
		}
	}
}

func TestOSCAL(t *testing.T) {
	for name, r := range map[string]*Report{"every state": allStates(), "no broker": run(nil, row("P4.1", Critical, 10, Behavioural))} {
		for i := range r.Rows {
			r.Rows[i].Check.Why = "Because." // as every row of the table says
		}
		text := written(t, r, FormatOSCAL, WriteOptions{Checker: "9.9"})
		oscalWalk(t, "", decoded(t, text))
		validate(t, oscalSchema, text)
		if t.Failed() {
			t.Fatalf("%s\n%s", name, text)
		}
	}
	text := written(t, allStates(), FormatOSCAL, WriteOptions{Checker: "9.9"})
	var got oscalDocument
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	res := got.Results.Results[0]
	ids, known := map[string]bool{}, map[string]bool{}
	for _, o := range res.Observations {
		if known[o.UUID] = true; ids[o.UUID] {
			t.Errorf("%s is there twice", o.UUID)
		}
		if ids[o.UUID] = true; o.Expires.Sub(o.Collected) != evidenceFor {
			t.Errorf("%s: %v to %v", o.Title, o.Collected, o.Expires)
		}
	}
	var said []string
	for _, f := range res.Findings {
		id, _, _ := strings.Cut(f.Target.ID, "-")
		said = append(said, id+" "+f.Target.Status["state"]+" "+f.Target.Status["reason"])
		for _, o := range f.Related {
			if !known[o["observation-uuid"]] {
				t.Errorf("%s is about %s, which is not there", f.Title, o["observation-uuid"])
			}
		}
	}
	want := "P1.4 satisfied pass, P2.2 satisfied pass, P2.3 not-satisfied other, P3.1 not-satisfied fail, P4.1 not-satisfied fail, P4.3 not-satisfied other, P5.1 not-satisfied fail"
	if s := strings.Join(said, ", "); s != want { // what does not apply has no finding
		t.Errorf("got %s", s)
	}
	if len(res.Risks) != 1 || res.Risks[0].Status != "deviation-approved" || res.Risks[0].Deadline.Format(time.DateOnly) != "2026-03-13" || res.Findings[4].Risks[0]["risk-uuid"] != res.Risks[0].UUID {
		t.Errorf("%+v", res.Risks)
	}
	if m := res.Observations[5].Methods; !slices.Equal(m, []string{"TEST", "EXAMINE"}) {
		t.Errorf("%v", m)
	}
	if d := res.Observations[5].Description; strings.Contains(d, "<script") || strings.Contains(d, "[EVIL](") || !strings.Contains(d, `\[EVIL\]\(`) {
		t.Errorf("Markdown of a peer: %s", d)
	}
}
