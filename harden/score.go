package harden

import "fmt"

// Score is 0 to 100, with what holds it down.
type Score struct {
	Points int
	Cap    int // the most it can be with what is open; 100: nothing is
	Why    string
}

// Caveat is what every score is shown with.
const Caveat = "The score counts the rows of this report and nothing else; a full score is not a proof of security."

// The most a score can be while a row of that severity fails.
const (
	capCritical = 49
	capHigh     = 79
)

// Score weighs the rows. A row that passes counts in full, one that holds but is
// looser than the checklist in half, a failed or unknown one not at all; what
// does not apply, waits for a person or is waived is left out. So is what a broker that
// looks at itself did not try: nobody knows, and it is neither for nor against.
func (r *Report) Score() Score {
	var got, of int
	open := map[Severity]int{}
	for i := range r.Rows {
		row := &r.Rows[i]
		state := row.State()
		if row.Untried() {
			if state = row.looked(); state == Pass {
				continue
			}
		}
		switch state {
		case Pass:
			got += 2 * row.Check.Weight
		case Warn:
			got += row.Check.Weight
		case Fail:
			open[row.Check.Severity]++
		case Unknown:
		default:
			continue
		}
		of += 2 * row.Check.Weight
	}
	s := Score{Cap: 100}
	if of > 0 {
		s.Points = 100 * got / of
	}
	switch {
	case open[Critical] > 0:
		s.Cap, s.Why = capCritical, fmt.Sprintf("%d critical open", open[Critical])
	case open[High] > 0:
		s.Cap, s.Why = capHigh, fmt.Sprintf("%d high open", open[High])
	}
	s.Points = min(s.Points, s.Cap)
	return s
}
