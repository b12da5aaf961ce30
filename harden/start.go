package harden

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// RefuseStart judges what can be judged before anything listens, by the same
// predicates as redoubt doctor, and answers an error that names every finding and
// what to do about it. It is called when the data directory is complete. What
// cannot be looked at refuses too: the broker would not be able to use it either.
func RefuseStart(c *config.Config, clk clock.Clock) error {
	e := &Env{Clock: clk, Config: c}
	var found []string
	for _, check := range Checks {
		if check.Start == nil {
			continue
		}
		for _, r := range check.Start(e) {
			for _, o := range r.Observations {
				if o.State == Fail || o.State == Unknown {
					found = append(found, fmt.Sprintf("%s: %s: %s", check.ID, o.What, o.Actual))
				}
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return errors.New("refusing to start: " + strings.Join(found, "\n"))
}
