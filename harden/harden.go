// Package harden is the hardening checklist as a table of values: each Check says
// what a row demands and judges it by observation, on the files, on what the
// kernel reports and by probes of the running broker. The same predicates refuse
// an unsafe start. It changes nothing and repairs nothing; what it probes with is
// its own small encoder of MQTT, and of ClientHellos that no library writes, so
// that a mistake in the broker's cannot hide itself, and the users it probes with
// are ordinary ones. Where a handshake has to be finished, the client of crypto/tls
// does it.
//
// Rules: a control counts when it was seen to hold. A row whose demanded
// confidence was not reached is unknown and never pass; a probe without its
// positive control is unknown; what listens is what the kernel lists, not what
// the configuration says.
package harden

import (
	"context"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// State is the verdict on one scope of one row.
type State string

// The states. Waived keeps what it was in Result.Original.
const (
	Pass          State = "pass"
	Fail          State = "fail"
	Warn          State = "warn"           // holds, but looser than the checklist
	Unknown       State = "unknown"        // could not be observed: never counted as pass
	NotApplicable State = "not_applicable" // there is nothing to judge
	Manual        State = "manual"         // only a person can tell
	Waived        State = "waived"         // a finding that somebody accepted for a time
)

// Severity is what an open finding costs.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// Severities lists them, worst first.
var Severities = []Severity{Critical, High, Medium, Low}

// AtLeast tells whether s is as severe as t. An unknown word is below all.
func (s Severity) AtLeast(t Severity) bool { return s.rank() >= t.rank() }

func (s Severity) rank() int {
	for i, known := range Severities {
		if s == known {
			return len(Severities) - i
		}
	}
	return 0
}

// Confidence is how a verdict was reached: a ladder.
type Confidence string

// The ladder, from hearsay to proof.
const (
	Declared    Confidence = "declared"    // a configuration says so
	Effective   Confidence = "effective"   // the running process holds the value
	Kernel      Confidence = "kernel"      // the operating system enforces it now
	Behavioural Confidence = "behavioural" // a probe was refused while its positive control passed
	External    Confidence = "external"    // seen from another host
)

var ladder = []Confidence{Declared, Effective, Kernel, Behavioural, External}

// Reaches tells whether c is as good as what was demanded.
func (c Confidence) Reaches(demanded Confidence) bool { return c.rung() >= demanded.rung() }

func (c Confidence) rung() int {
	for i, known := range ladder {
		if c == known {
			return i + 1
		}
	}
	return 0
}

// Method is how one observation was made.
type Method string

// The methods.
const (
	ReadConfig Method = "read-config"
	ReadFile   Method = "read-file"
	ReadKernel Method = "read-kernel"
	API        Method = "api"
	Probe      Method = "probe"
	// FaultInjection is of the running process, with something in it made to fail.
	FaultInjection Method = "fault-injection"
)

// Observation is one thing that was looked at. It never holds a secret: neither
// what is expected nor what came is taken from one.
type Observation struct {
	Method   Method `json:"method"`
	What     string `json:"what"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
	Source   string `json:"source,omitempty"` // a path, or the key that holds the value
	// State is pass, fail, warn or unknown; a Result is as bad as the worst.
	State State `json:"state"`
}

// Result is the verdict of a check on one scope: a listener, a file, the node.
type Result struct {
	Scope        string
	State        State
	Original     State // before a waiver
	Summary      string
	Observations []Observation
	Confidence   Confidence // reached
	Duration     time.Duration
	Fix          string  // for this finding; empty: the check's
	Waiver       *Waiver // in force on it
	// Began is when it was looked at; zero: with the run.
	Began time.Time
	// At is where the configuration has what Key names; zero: in no file.
	At config.Origin

	// Key is what a waiver names as its scope: listeners.<name>, metrics, or empty.
	Key string
	// Demands is less than the row demands, where nothing above it could change the
	// verdict on this scope; empty: what the row demands. The observations say why.
	Demands Confidence
	// Untried: unknown for no other reason than that a broker that looks at itself connects to
	// nothing. It is not news, not an alarm, and not in the score; see Env.Quiet.
	Untried bool
	// Wants are changes that would help and that a program can make; see package harden/fix.
	Wants []Want
	// Left are findings beside them that none of Wants helps, and LeftFix is what does.
	Left    []string
	LeftFix string
}

// Check is one row of the checklist. The table of all is Checks.
type Check struct {
	ID        string // row of the checklist, stable for ever: P3.1
	Slug      string // tls-versions
	Title     string // the sentence that is true when the row passes
	Phase     int    // 1 to 5, see Phases
	Severity  Severity
	Weight    int // share in the score
	Standards []string
	Why       string // what happens to those who leave it open
	How       string // how it is checked, and with which positive control
	Fix       string // what to do about a finding
	Demands   Confidence
	// Looks: it connects to nothing and needs no user, so that a broker judges it on itself;
	// see Background.
	Looks bool
	// Run judges the row, one Result for each scope. It observes within ctx and
	// answers unknown for what ctx left no time for.
	Run func(ctx context.Context, e *Env) []Result
	// Start is the part of Run that can be judged before the broker listens; a
	// failure there refuses the start. Nil: none.
	Start func(e *Env) []Result
}

// Name is the id with its slug: P3.1-tls-versions.
func (c *Check) Name() string { return c.ID + "-" + c.Slug }

// Phases names the five phases of the checklist, by number.
var Phases = map[int]string{
	1: "Infrastructure and operating system",
	2: "Trust and secrets",
	3: "Transport",
	4: "MQTT application",
	5: "Administration and maintenance",
}
