package harden

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// badness orders states for "as bad as the worst".
func (s State) badness() int {
	switch s {
	case Fail:
		return 5
	case Unknown:
		return 4
	case Warn:
		return 3
	case Manual:
		return 2
	case Pass:
		return 1
	}
	return 0
}

// worst is the state of many; nothing at all is not applicable.
func worst(states ...State) State {
	out := NotApplicable
	for _, s := range states {
		if s.badness() > out.badness() {
			out = s
		}
	}
	return out
}

// inquiry collects what is observed about one scope.
type inquiry struct {
	e     *Env
	scope string
	key   string
	began time.Time
	obs   []Observation
	fixes []string
	wants []Want
	done  doneBy
}

func (e *Env) inquire(scope string) *inquiry {
	return &inquiry{e: e, scope: scope, began: e.Clock.Now()}
}

// see adds one observation.
func (q *inquiry) see(m Method, what, expected, actual string, s State) {
	q.obs = append(q.obs, Observation{Method: m, What: what, Expected: expected, Actual: actual, State: s})
}

// source says where the last observation was made.
func (q *inquiry) source(where string) { q.obs[len(q.obs)-1].Source = where }

// doubt turns what passed since mark into unknown, because the positive control
// of it failed. A failure stays one: it needs no control.
func (q *inquiry) doubt(mark int) {
	for i := range q.obs[mark:] {
		if o := &q.obs[mark+i]; o.State == Pass || o.State == Warn {
			o.State = Unknown
			o.Actual += " (proves nothing: the positive control failed)"
		}
	}
}

// result is the verdict: as bad as the worst observation. good is the summary
// when nothing is wrong; otherwise it is made of what is.
func (q *inquiry) result(reached Confidence, good string) Result {
	r := Result{Scope: q.scope, Key: q.key, Observations: q.obs, Confidence: reached, Began: q.began, Duration: q.e.Clock.Now().Sub(q.began)}
	states := make([]State, len(q.obs))
	for i := range q.obs {
		states[i] = q.obs[i].State
	}
	r.State = worst(states...)
	r.Summary = good
	if r.State == Fail || r.State == Unknown || r.State == Warn {
		r.Summary = q.complaint(r.State)
	}
	r.Fix, r.Wants = strings.Join(q.fixes, " && "), q.wants
	r.Left, r.LeftFix = q.left()
	return r
}

// complaint names the first observation of that state and counts the others.
func (q *inquiry) complaint(s State) string {
	text, more := "", -1
	for i := range q.obs {
		if q.obs[i].State != s {
			continue
		}
		if more++; more == 0 {
			text = q.obs[i].What + ": " + q.obs[i].Actual
		}
	}
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// unseenScope is that of a row that could not look at anything.
const unseenScope = "node"

// unknown is the one Result of a row that could not look at anything.
func unknown(e *Env, why string) []Result {
	return []Result{{Scope: unseenScope, State: Unknown, Summary: why}}
}

// judge runs one check and holds its results to what the row demands.
func judge(ctx context.Context, e *Env, c *Check) []Result {
	results := append(append(c.Run(ctx, e), e.unprobed(ctx, c)...), e.stopped(ctx, c)...)
	results = append(results, e.unlisted(ctx, c)...)
	if len(results) == 0 {
		results = []Result{{Scope: "node", State: Unknown, Summary: "the check looked at nothing"}}
	}
	for i := range results {
		r := &results[i]
		demands := c.Demands
		if r.Demands != "" {
			demands = r.Demands
		}
		if (r.State == Pass || r.State == Warn) && !r.Confidence.Reaches(demands) {
			r.Summary = fmt.Sprintf("%s (%s, the row demands %s)", r.Summary, r.Confidence, demands)
			r.State = Unknown
		}
		if r.Fix == "" && (r.State == Fail || r.State == Warn) {
			r.Fix = c.Fix
		}
		if len(r.Left) > 0 && r.LeftFix == "" {
			r.LeftFix = c.Fix
		}
		if r.State == Unknown && ctx.Err() != nil {
			r.Summary = fmt.Sprintf("the run's own limit of time ran out before this was seen; give it more with --within 1m, or look at it alone with --only %s (%s)", c.ID, r.Summary)
		}
		r.Original = r.State
	}
	return results
}
