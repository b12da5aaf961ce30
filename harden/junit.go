package harden

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The form of JUnit, which every CI server shows: a suite for each phase, a case for each
// row and scope. What fails is a failure, what could not be seen is an error, what is
// waived, waits for a person or does not apply was skipped. A warning passes; what it
// says is in the output of its suite, where the schemas have a place for it.

type junitReport struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	ID         int             `xml:"id,attr"`
	Package    string          `xml:"package,attr"`
	Name       string          `xml:"name,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Host       string          `xml:"hostname,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
	Out        string          `xml:"system-out"`
	Err        string          `xml:"system-err"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	Time    string      `xml:"time,attr"`
	Skipped *string     `xml:"skipped"` // the reason: an attribute is not in every schema
	Error   *junitWords `xml:"error"`
	Failure *junitWords `xml:"failure"`
}

type junitWords struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

func (r *Report) writeJUnit(w io.Writer, opt WriteOptions) error {
	host := r.Node
	if host == "" {
		host = "unknown"
	}
	score := r.Score()
	var out junitReport
	for phase := 1; phase <= len(Phases); phase++ {
		s := junitSuite{
			ID: len(out.Suites), Package: "redoubt.doctor", Name: fmt.Sprintf("Phase %d. %s", phase, Phases[phase]), Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"), Host: host,
			Properties: []junitProperty{{"score", fmt.Sprint(score.Points)}, {"score-cap", fmt.Sprint(score.Cap)}, {"score-caveat", Caveat}, {"baseline", string(r.Baseline)},
				{"broker-version", r.Version}, {"checker-version", opt.Checker}, {"rules-sha256", RulesHash()}},
		}
		var took time.Duration
		for i := range r.Rows {
			c := r.Rows[i].Check
			if c.Phase != phase {
				continue
			}
			for k := range r.Rows[i].Results {
				x := &r.Rows[i].Results[k]
				took += x.Duration
				s.add(c, x)
			}
		}
		if s.Time = seconds(took); s.Tests > 0 {
			out.Suites = append(out.Suites, s)
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }

// add counts one case.
func (s *junitSuite) add(c *Check, x *Result) {
	tc := junitCase{Name: x.Scope, Class: c.Name(), Time: seconds(x.Duration)}
	s.Tests++
	switch x.State {
	case Fail:
		s.Failures++
		tc.Failure = &junitWords{x.Summary, string(c.Severity), x.detail(c)}
	case Unknown:
		s.Errors++
		tc.Error = &junitWords{x.Summary, "unknown", x.detail(c)}
	case Waived:
		s.Skipped++
		why := fmt.Sprintf("waived by %s until %s: %s (%s)", x.Waiver.by(), x.Waiver.Expires, x.Waiver.Reason, x.Summary)
		tc.Skipped = &why
	case NotApplicable, Manual:
		s.Skipped++
		why := strings.Trim(fmt.Sprintf("%s: %s", strings.ReplaceAll(string(x.State), "_", " "), x.Summary), ": ")
		tc.Skipped = &why
	case Warn:
		s.Out += fmt.Sprintf("warning: %s %s: %s\n", c.Name(), x.Scope, x.Summary)
	}
	s.Cases = append(s.Cases, tc)
}

// detail is the body of a case: the row, what was seen of it and what helps.
func (r *Result) detail(c *Check) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (severity %s)\n", c.ID, c.Title, c.Severity)
	for _, o := range r.Observations {
		if o.State == Fail || o.State == Unknown || o.State == Warn {
			fmt.Fprintf(&b, "%s %s: %s, expected %s [%s]\n", words[o.State], o.What, o.Actual, o.Expected, o.Method)
		}
	}
	if r.Fix != "" {
		fmt.Fprintf(&b, "fix: %s\n", r.Fix)
	}
	if r.At.Line > 0 {
		fmt.Fprintf(&b, "at %s\n", r.At)
	}
	return b.String()
}
