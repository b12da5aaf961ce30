package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/harden"
)

// once is a flag with one value. The second would take the place of the first without a word, and
// an empty one, of a variable of the shell that is not set, would be as if the flag were not there.
type once string

// String is the value; empty for none, of which help says no default.
func (o *once) String() string { return string(*o) }

// Set implements pflag.Value.
func (o *once) Set(text string) error {
	switch {
	case text == "":
		return errors.New("it has no value: leave the flag out, or give it one")
	case *o != "":
		return fmt.Errorf("there is %q already, and it takes one", string(*o))
	}
	*o = once(text)
	return nil
}

// Type implements pflag.Value; help has it.
func (*once) Type() string { return "string" }

// doctorAlone are flags that do something else than judging rows, and what counts beside them.
var doctorAlone = []struct {
	flag, does string
	with       []string
}{
	{"explain", "says what a row demands", nil},
	{"public-key", "prints a key", nil},
	{"verify", "judges signatures, in words and with the exit code", []string{"key"}},
	{"from", "tries ports from another host", []string{"target", "ports", "output", "within"}},
	{"output", string(harden.FormatComponent) + " is about this version and no broker", nil},
}

// together refuses flags that would say nothing beside each other: who wrote them believes that they did.
func together(cmd *cobra.Command) error {
	fs := cmd.LocalNonPersistentFlags()
	for _, list := range []string{"only", "target", "verify", "ports"} {
		if fl := fs.Lookup(list); fl.Changed && fl.Value.String() == "[]" {
			return fmt.Errorf("--%s has no value: leave the flag out, or give it one", list)
		}
	}
	var err error
	for _, a := range doctorAlone {
		if !fs.Changed(a.flag) || a.flag == "output" && fs.Lookup("output").Value.String() != harden.FormatComponent {
			continue
		}
		fs.VisitAll(func(fl *pflag.Flag) {
			if err == nil && fl.Changed && fl.Name != a.flag && !slices.Contains(a.with, fl.Name) {
				err = fmt.Errorf("--%s %s, and --%s says nothing there: leave one of them out", a.flag, a.does, fl.Name)
			}
		})
	}
	return err
}
