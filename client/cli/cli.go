// Package cli is what `redoubt pub` and `redoubt sub` do: the flags of
// mosquitto_pub and mosquitto_sub, and MQTTX's long ones where they are free, on
// one side, package client on the other, and messages and results as text or
// JSON in between.
//
// It is not the program: it reads no environment, ends no process and prints
// nowhere but to the writers it is handed. The words of failures are package
// client's. docs/cli-pub-sub.md is what it promises.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// IO is what the process hands in.
type IO struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool // Stdout is a terminal: what could steer it is shown as codes
	Watched        bool // Stderr is a terminal: how far long work is can be told there
	JSON           bool // -o json
	Clock          clock.Clock
	ProcessID      int // for --id-prefix
}

// Defaults are settings that come from outside the command line.
type Defaults struct {
	// CAFile is used when the flags name no other source of trust; "" for none.
	CAFile string
	// Password goes with a user name when the flags give no password.
	Password    secret.Value
	HasPassword bool
}

// Exit is the end of a command that failed. What there was to say has been
// printed, unless Reported is false.
type Exit struct {
	Code     int
	Err      error
	reported bool
}

// Error is the failure in one line.
func (e *Exit) Error() string { return e.Err.Error() }

// Unwrap is the failure.
func (e *Exit) Unwrap() error { return e.Err }

// ExitCode is what the process should end with.
func (e *Exit) ExitCode() int { return e.Code }

// Reported tells that the failure has been printed: whoever gets the Exit keeps
// quiet about it.
func (e *Exit) Reported() bool { return e.reported }

// usage is a mistake in the command line.
func usage(format string, args ...any) *client.Error {
	return &client.Error{Kind: client.KindOptions, What: fmt.Sprintf(format, args...)}
}

// UsageError is what a flag parser found wrong, told in our shape.
func UsageError(command string, err error, in IO) error {
	e := usage("%s", err)
	var inner *client.Error
	if errors.As(err, &inner) { // from one of our flags: the parser's words around it say less
		e = &client.Error{Kind: client.KindOptions, What: inner.What, Help: inner.Help}
		if flag := flagName(err); flag != "" {
			e.What = flag + ": " + inner.What
		}
	}
	e.Help = append(e.Help, "see redoubt "+command+" --help")
	return newPrinter(in, command, false).fail(e)
}

// printer writes for one run of a command. Its methods may be called from
// several goroutines.
type printer struct {
	io      IO
	command string
	quiet   bool

	mu sync.Mutex // held while one of the writers writes
}

func newPrinter(in IO, command string, quiet bool) *printer {
	return &printer{io: in, command: command, quiet: quiet}
}

// fail prints err and makes it the end of the command.
func (p *printer) fail(err error) error {
	if err == nil {
		return nil
	}
	code := client.ExitFailed
	var e *client.Error
	if errors.As(err, &e) {
		code = e.ExitCode()
	} else {
		e = &client.Error{Kind: client.KindClosed, What: err.Error(), Err: err}
	}
	p.complain(e)
	return &Exit{Code: code, Err: err, reported: true}
}

// complain prints one failure to standard error: in words, or as one JSON object.
func (p *printer) complain(e *client.Error) {
	if p.quiet && e.Kind != client.KindOptions {
		return
	}
	if p.io.JSON {
		line, err := json.Marshal(map[string]any{"error": e})
		if err == nil {
			p.tell(append(line, '\n'))
		}
		return
	}
	p.tell([]byte("redoubt " + p.command + ": " + e.Text() + "\n"))
}

// warn prints a line that is no failure.
func (p *printer) warn(format string, args ...any) {
	if p.quiet {
		return
	}
	line := fmt.Sprintf(format, args...)
	if p.io.JSON {
		b, err := json.Marshal(map[string]any{"warning": line})
		if err == nil {
			p.tell(append(b, '\n'))
		}
		return
	}
	p.tell([]byte("redoubt " + p.command + ": warning: " + line + "\n"))
}

// trace prints one step for --debug.
func (p *printer) trace(line string) {
	p.tell([]byte("redoubt " + p.command + ": " + strings.TrimSuffix(line, "\n") + "\n"))
}

// tell writes to standard error. When that fails there is nobody left to tell.
func (p *printer) tell(line []byte) { _ = p.write(p.io.Stderr, line) }

// write writes whole lines, one writer at a time.
func (p *printer) write(w io.Writer, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := w.Write(b)
	return err
}
