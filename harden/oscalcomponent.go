package harden

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The component definition of OSCAL: which controls of a catalog the broker is about, by which rows of
// the checklist, before anybody has looked at one. It is of this version, and of no node.

// FormatComponent is the word for it beside Formats: it needs no run.
const FormatComponent = "oscal-component"

// controls53 are the controls of NIST SP 800-53 revision 5 that a row helps to meet. It says what a row
// is about, and not that the control is met by it.
var controls53 = map[string][]string{
	"P1.1": {"sc-5"}, "P1.2": {"sc-5"}, "P1.3a": {"sc-5"}, "P1.3b": {"sc-5", "sc-7"},
	"P1.4": {"sc-7", "cm-7", "sc-8"}, "P1.5": {"sc-7", "ia-3"}, "P1.6": {"sc-7"},
	"P1.7": {"ac-6"}, "P1.8": {"ac-6"}, "P1.9": {"ac-6"}, "P1.10": {"cm-7", "sc-39"}, "P1.11": {"au-8", "sc-45"}, "P1.12": {"si-2", "sa-22"}, "P1.13": {"ac-17", "ia-2"},
	"P2.1": {"ia-3", "ia-5", "sc-12"}, "P2.2": {"ac-3", "ac-6", "sc-28"}, "P2.3": {"sc-8", "ia-3"},
	"P3.1": {"sc-8", "sc-13"}, "P3.2": {"sc-8", "sc-13"}, "P3.3": {"sc-17", "sc-12"}, "P3.4": {"ia-3", "ia-5", "sc-17"}, "P3.5": {"ia-5", "sc-17"}, "P3.6": {"sc-17"},
	"P4.1": {"ia-2", "ia-3", "ia-9"}, "P4.2": {"ac-3", "ac-4", "ac-6"}, "P4.3": {"sc-5", "sc-6"}, "P4.4": {"ac-7", "sc-5"}, "P4.5": {"sc-8", "ia-9"},
	"P5.1": {"ia-5", "sc-8"}, "P5.2": {"ac-17", "sc-7"}, "P5.3": {"ia-2"}, "P5.4": {"ac-6", "ia-5"}, "P5.5": {"cp-9", "cp-4"}, "P5.6": {"au-9", "au-6"},
	"P5.7": {"si-11"}, "P5.8": {"ac-3", "sc-7"}, "P5.9": {"ia-9", "sc-7"}, "P5.10": {"au-4", "sc-5"}, "P5.11": {"sc-6"}, "P5.12": {"si-11", "sc-28"},
	"P5.13": {"ia-5", "cm-6"}, "P5.14": {"sc-7", "si-10"}, "P5.15": {"si-7", "cm-7"}, "P5.16": {"si-2", "ra-5"}, "P5.17": {"cp-2", "cp-4"},
}

type oscalDefinition struct {
	Definition oscalComponents `json:"component-definition"`
}

type oscalComponents struct {
	UUID       string                  `json:"uuid"`
	Metadata   oscalMetadata           `json:"metadata"`
	Components []oscalDefinedComponent `json:"components"`
	Back       oscalBackMatter         `json:"back-matter"`
}

type oscalDefinedComponent struct {
	UUID            string                `json:"uuid"`
	Type            string                `json:"type"`
	Title           string                `json:"title"`
	Description     string                `json:"description"`
	Props           []oscalProp           `json:"props"`
	Implementations []oscalImplementation `json:"control-implementations"`
}

type oscalImplementation struct {
	UUID         string             `json:"uuid"`
	Source       string             `json:"source"`
	Description  string             `json:"description"`
	Requirements []oscalRequirement `json:"implemented-requirements"`
}

type oscalRequirement struct {
	UUID        string      `json:"uuid"`
	Control     string      `json:"control-id"`
	Description string      `json:"description"`
	Props       []oscalProp `json:"props"`
}

// catalogs are those that rows are mapped to: what a standard of a row begins with, and what it is.
var catalogs = []struct{ prefix, title, href string }{
	{"", "NIST SP 800-53 revision 5", "https://raw.githubusercontent.com/usnistgov/oscal-content/main/nist.gov/SP800-53/rev5/json/NIST_SP-800-53_rev5_catalog.json"},
	{"IEC62443-4-2:", "IEC 62443-4-2:2019, component requirements", "https://webstore.iec.ch/en/publication/34421"},
	{"CRA:", "Regulation (EU) 2024/2847 (Cyber Resilience Act), Annex I", "https://eur-lex.europa.eu/eli/reg/2024/2847/oj"},
}

// WriteComponentDefinition writes it for this version of the program.
func WriteComponentDefinition(w io.Writer, now time.Time, checker string) error {
	id := func(parts ...string) string {
		return uuidOf(sha256.Sum256([]byte("component\x00" + checker + "\x00" + RulesHash() + "\x00" + strings.Join(parts, "\x00"))))
	}
	c := oscalDefinedComponent{UUID: id("redoubt"), Type: "software", Title: "Redoubt", Description: "An MQTT broker that judges its own hardening: each row is checked by redoubt doctor, whose assessment results name it by the same id.",
		Props: props("version", checker, "rules-sha256", RulesHash())}
	out := oscalComponents{UUID: id("document"), Metadata: oscalMetadata{"Redoubt, and the controls that its hardening checklist is about", now.UTC(), checker, oscalVersion}}
	for _, k := range catalogs {
		source := id("catalog", k.title)
		out.Back.Resources = append(out.Back.Resources, oscalResource{source, k.title, "What the rows are mapped to. A row helps to meet a control, and does not meet it alone.", props("rules-sha256", RulesHash()), []oscalRef{{k.href}}})
		c.Implementations = append(c.Implementations, oscalImplementation{id("implementation", k.title), "#" + source, k.title + ": what rows of the checklist are about.", requirementsOf(k.prefix, id)})
	}
	out.Components = []oscalDefinedComponent{c}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(oscalDefinition{out})
}

// requirementsOf are the controls of a catalog, each with the rows that are about it.
func requirementsOf(prefix string, id func(...string) string) (out []oscalRequirement) {
	rows := map[string][]*Check{}
	var order []string
	for _, c := range Checks {
		controls := controls53[c.ID]
		if prefix != "" {
			controls = nil
			for _, s := range c.Standards {
				if control, ok := strings.CutPrefix(s, prefix); ok {
					controls = append(controls, control)
				}
			}
		}
		for _, k := range controls {
			if rows[k] == nil {
				order = append(order, k)
			}
			rows[k] = append(rows[k], c)
		}
	}
	slices.Sort(order)
	for _, k := range order {
		r := oscalRequirement{UUID: id("requirement", prefix, k), Control: k}
		var titles []string
		for _, c := range rows[k] {
			titles = append(titles, c.ID+": "+mdText(c.Title))
			r.Props = append(r.Props, props("row", c.Name())...)
		}
		r.Description = fmt.Sprintf("%s.", strings.Join(titles, ". "))
		out = append(out, r)
	}
	return out
}
