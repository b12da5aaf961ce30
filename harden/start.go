package harden

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// RefuseStart judges what can be judged before anything listens, by the same
// predicates as redoubt doctor, and answers an error that names every finding and
// what to do about it. It is called when the data directory is complete. What
// cannot be looked at refuses too: the broker would not be able to use it either.
func RefuseStart(c *config.Config, clk clock.Clock) error { return refuse(c, clk, Fail, Unknown) }

// WhyRefused is RefuseStart for a start that something else has refused already, such as the reader
// of a key: if that was for a finding of a row, it answers what RefuseStart would have said, and
// nil otherwise. The data directory need not be complete.
func WhyRefused(c *config.Config, clk clock.Clock) error { return refuse(c, clk, Fail) }

func refuse(c *config.Config, clk clock.Clock, states ...State) error {
	e := &Env{Clock: clk, Config: c}
	var found []string
	row := ""
	for _, check := range Checks {
		if check.Start == nil {
			continue
		}
		for _, r := range check.Start(e) {
			for _, o := range r.Observations {
				if slices.Contains(states, o.State) {
					found = append(found, fmt.Sprintf("%s: %s: %s", check.ID, o.What, o.Actual))
					row = check.ID
				}
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	found = append(found, "Do what is behind each; it cannot be waived. Why: redoubt doctor --explain "+row)
	return errors.New("refusing to start: " + strings.Join(found, "\n"))
}
