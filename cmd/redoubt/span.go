package main

import (
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// span is a flag that says how long something lasts; whole days may be written as 7d.
type span time.Duration

// String is empty for none, of which help says no default.
func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	d, err := config.ParseSpan(text)
	if err != nil {
		return fmt.Errorf("%q %w", text, err)
	}
	*s = span(d)
	return nil
}

// Type implements pflag.Value; help has it.
func (*span) Type() string { return "duration" }
