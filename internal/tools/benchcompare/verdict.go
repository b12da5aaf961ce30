package main

import (
	"fmt"
	"slices"
	"strconv"
)

// Row is one row. Ratio is the best of Redoubt's rounds by the best of Mosquitto's, and its
// range that of each round by itself. Of a promise (Worst) best is the worst.
type Row struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	Unit      string   `json:"unit"`
	Clients   int      `json:"clients"`
	Higher    bool     `json:"more_is_better"`
	Worst     bool     `json:"worst_counts"`
	Target    string   `json:"target"` // what the limits are for: ratio, Redoubt's own figure, or none
	Redoubt   Side     `json:"redoubt"`
	Mosquitto Side     `json:"mosquitto"`
	Ratio     *float64 `json:"ratio"`
	RatioLow  *float64 `json:"ratio_low"`
	RatioHigh *float64 `json:"ratio_high"`
	BestPeer  float64  `json:"best_peer,omitempty"`          // where the best of others stood, as a ratio to Mosquitto; 0: not known
	ByBest    *float64 `json:"ratio_to_best_peer,omitempty"` // Ratio by that
	Must      float64  `json:"must_reach"`
	Aim       float64  `json:"aim"`
	Verdict   string   `json:"verdict"`        // aim, reached, missed, with the rounds where they are few; failed; empty: nothing to compare with
	Note      string   `json:"note,omitempty"` // why Mosquitto has no figure
}

// Side is one broker's part.
type Side struct {
	Best   float64   `json:"best"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	Runs   []float64 `json:"runs"`
	Rounds []int     `json:"rounds"` // of each of the runs, from 1 on: those that failed are missing
	Failed []string  `json:"failed,omitempty"`
	// Busy is the most of the generator's core that a run took, and BrokerBusy what that run took of
	// the broker's.
	Busy       float64 `json:"generator_busy,omitempty"`
	BrokerBusy float64 `json:"broker_busy,omitempty"`
}

// add takes the figure of a round, from 0 on.
func (s *Side) add(round int, x float64) {
	s.Runs, s.Rounds = append(s.Runs, x), append(s.Rounds, round+1)
}

// tried is how many rounds there were, with those that failed.
func (s *Side) tried() int { return len(s.Runs) + len(s.Failed) }

// still is in how many rounds memory did not grow, where the figure is of memory.
func (s *Side) still(unit string) (n int) {
	for _, x := range s.Runs {
		if unit == kilobytes && x == 0 {
			n++
		}
	}
	return n
}

func (s *Side) judge(most bool) {
	if len(s.Runs) == 0 {
		return
	}
	s.Low, s.High = slices.Min(s.Runs), slices.Max(s.Runs)
	if s.Best = s.Low; most {
		s.Best = s.High
	}
}

// roundsOfResult is how many rounds a verdict needs to stand without their number.
const roundsOfResult = 3

// judge makes ratios of runs, and compares with the limits, which are for all of the clients
// (scale 1). A round that failed with Redoubt is the row's verdict, whatever the others show.
// One that failed with Mosquitto alone is its own: the rounds that both have are judged.
func (r *Row) judge(scale float64) {
	most := r.Higher != r.Worst
	r.Redoubt.judge(most)
	r.Mosquitto.judge(most)
	r.compare()
	r.ByBest = r.byBestPeer()
	x, ok := r.judged()
	reached := func(limit float64) bool { return !r.Higher && x <= limit || r.Higher && x >= limit }
	switch {
	case len(r.Redoubt.Failed) > 0:
		r.Verdict = "failed"
		return
	case scale < 1 || !ok:
		return
	case reached(r.Aim):
		r.Verdict = "aim"
	case reached(r.Must):
		r.Verdict = "reached"
	default:
		r.Verdict = "missed"
	}
	n, all := len(r.Redoubt.Runs), r.Redoubt.tried()
	if r.Target != "figure" {
		n = min(n, len(r.Mosquitto.Runs))
	}
	switch {
	case n < all:
		r.Verdict += fmt.Sprintf(", %d of %d rounds", n, all)
	case n == 1:
		r.Verdict += ", 1 round"
	case n < roundsOfResult:
		r.Verdict += fmt.Sprintf(", %d rounds", n)
	}
}

// judged is what the limits are for: Redoubt's figure, or the ratio. false: there is none, or one
// side had more chances than the other, as after an interrupt.
func (r *Row) judged() (float64, bool) {
	switch {
	case len(r.Redoubt.Runs) == 0 || r.Target == "none":
		return 0, false
	case r.Target == "figure":
		return r.Redoubt.Best, true
	case r.Ratio == nil || r.Redoubt.tried() != r.Mosquitto.tried():
		return 0, false
	}
	return *r.Ratio, true
}

// compare makes the ratio, where there is anything to divide by.
func (r *Row) compare() {
	if len(r.Redoubt.Runs) == 0 || len(r.Mosquitto.Runs) == 0 || r.Mosquitto.Low <= 0 {
		return
	}
	ratio := r.Redoubt.Best / r.Mosquitto.Best
	low, high := ratio, ratio
	for i, round := range r.Redoubt.Rounds {
		if j := slices.Index(r.Mosquitto.Rounds, round); j >= 0 {
			x := r.Redoubt.Runs[i] / r.Mosquitto.Runs[j]
			low, high = min(low, x), max(high, x)
		}
	}
	r.Ratio, r.RatioLow, r.RatioHigh = &ratio, &low, &high
}

// rounds writes how many rounds gave a figure, for both where they differ.
func (r *Row) rounds() string {
	a, b := len(r.Redoubt.Runs), len(r.Mosquitto.Runs)
	if a == b || r.Mosquitto.tried() == 0 {
		return strconv.Itoa(a)
	}
	return fmt.Sprintf("%d, %d", a, b)
}

// limit writes one of the two in the table.
func (r *Row) limit(x float64) string {
	sign := "<= "
	if r.Higher {
		sign = ">= "
	}
	switch r.Target {
	case "none":
		return "-"
	case "figure":
		return sign + strconv.FormatFloat(x, 'g', -1, 64) + " itself"
	}
	return sign + strconv.FormatFloat(x, 'f', 2, 64)
}
