// Command redoubt is the broker and everything an operator types: one binary.
// It reads flags and the environment, puts the rooms together and ends with an
// exit code; what a command does is in the packages it calls.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// The first thread of the process stays with the main goroutine: others are put behind it, for good (cores.Behind), and this one is what
// the process is taken for.
func init() { runtime.LockOSThread() }

func main() { os.Exit(run(os.Args[1:])) }

// run is main with an exit code: 0 done, 1 refused or failed, 2 usage; commands
// that have more say so in their help.
func run(args []string) int {
	root := rootCmd()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	var told interface{ Reported() bool }
	if text := err.Error(); text != "" && !(errors.As(err, &told) && told.Reported()) {
		fmt.Fprintln(os.Stderr, "redoubt:", text)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "See '%s --help'.\n", cmd.CommandPath())
		return 2
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return 2 }
