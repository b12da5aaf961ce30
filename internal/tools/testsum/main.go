// Command testsum turns `go test -json` into something a person reads: one line
// per package, every failure in full, and at the end one line of numbers. It is
// the last command of `make test` and its exit code is the verdict.
//
// It has three forms:
//
//	testsum                     read events from standard input, print, judge
//	testsum stream NAME CMD...  run a `go test -json` command and pass its events on,
//	                            marked with NAME; a failure that left no event becomes one
//	testsum step NAME CMD...    run any command as one test called NAME
//
// It is strict where silence would look like success: a package that does not
// build, a test that never ended, a skipped test and an empty run are failures.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout))
}

// run answers the exit code: 0 all passed, 1 something failed, 2 used wrongly.
func run(args []string, in io.Reader, out io.Writer) int {
	switch {
	case len(args) == 0:
		s := newSummary(out)
		if err := s.read(in); err != nil {
			fmt.Fprintf(out, "testsum: %v\n", err)
			s.failed++
		}
		return s.verdict()
	case len(args) >= 3 && args[0] == "stream":
		return stream(args[1], args[2:], out)
	case len(args) >= 3 && args[0] == "step":
		return step(args[1], args[2:], out)
	}
	fmt.Fprintln(out, "usage: testsum | testsum stream NAME CMD... | testsum step NAME CMD...")
	return 2
}

// step runs a command as one test. The exit code is 0 even if it failed: the
// verdict belongs to the reader of the events.
func step(name string, cmd []string, out io.Writer) int {
	e := newEmitter(out)
	e.emit(event{Action: "run", Package: "make", Test: name})
	c := exec.Command(cmd[0], cmd[1:]...)
	text, err := c.CombinedOutput()
	e.emit(event{Action: "output", Package: "make", Test: name, Output: string(text)})
	if err != nil {
		e.emit(event{Action: "output", Package: "make", Test: name, Output: fmt.Sprintf("%v: %v\n", cmd, err)})
		e.emit(event{Action: "fail", Package: "make", Test: name})
		return 0
	}
	e.emit(event{Action: "pass", Package: "make", Test: name})
	return 0
}

// stream passes the events of a command on. Lines that are no events (the go
// command's own complaints) are shown as they are.
func stream(name string, cmd []string, out io.Writer) int {
	e := newEmitter(out)
	c := exec.Command(cmd[0], cmd[1:]...)
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		e.emit(event{Action: "output", Package: name, Test: "start", Output: err.Error() + "\n"})
		e.emit(event{Action: "fail", Package: name, Test: "start"})
		return 0
	}
	failures := 0
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			ev, ok := parse(line)
			if !ok {
				_, _ = out.Write(line)
			} else {
				ev.Pass = name
				if ev.Action == "fail" || ev.Action == "build-fail" {
					failures++
				}
				e.emit(ev)
			}
		}
		if err != nil {
			break
		}
	}
	if err := c.Wait(); err != nil {
		var exit *exec.ExitError
		if failures == 0 || !errors.As(err, &exit) {
			e.emit(event{Action: "output", Package: name, Test: "command", Output: fmt.Sprintf("%v: %v, and no test says why\n", cmd, err)})
			e.emit(event{Action: "fail", Package: name, Test: "command"})
		}
	}
	return 0
}
