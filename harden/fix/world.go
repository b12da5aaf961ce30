package fix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// World is what steps act on: a host, and the broker on it.
type World struct {
	// Root is where the files of the host lie; empty: /. Files of the broker have paths of
	// their own, and what is live is always that of the running system.
	Root   string
	Proc   string // where the process file system is mounted; empty: /proc
	Clock  clock.Clock
	UID    int // who runs this
	GID    int
	Owner  int    // the broker's user, who is trusted with what is his
	Direct bool   // systemd runs here and listens to us
	Broker Broker // nil: none answers
	// Run runs a program of the host; nil: the machine's own.
	Run func(ctx context.Context, input []byte, name string, args ...string) ([]byte, error)
	// DataDir is the broker's.
	DataDir string
	// Crash is called before and after each change, with a number that grows; an error ends
	// everything there and then, as a kill would. It is for tests.
	Crash func(point int) error

	points int
}

// programWithin bounds a program of the host.
const programWithin = 20 * time.Second

// outputBytesMax bounds what one may say.
const outputBytesMax = 1 << 20

func (w *World) proc() string {
	if w.Proc != "" {
		return w.Proc
	}
	return "/proc"
}

// run runs a program, found where administrators have them.
func (w *World) run(ctx context.Context, input []byte, name string, args ...string) ([]byte, error) {
	if w.Run != nil {
		return w.Run(ctx, input, name, args...)
	}
	ctx, cancel := context.WithTimeout(ctx, programWithin)
	defer cancel()
	path := ""
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} { // not PATH: this may be root
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, &missingProgram{name}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin = bytes.NewReader(input)
	var out, faults bounded
	cmd.Stdout, cmd.Stderr = &out, &faults
	err := cmd.Run()
	if err != nil {
		said := strings.Join(strings.Fields(string(faults.text)), " ")
		if said == "" {
			said = err.Error()
		}
		err = &programError{name: name, args: args, said: said}
	}
	return out.text, err
}

// missingProgram is one that the host does not have.
type missingProgram struct{ name string }

func (e *missingProgram) Error() string {
	return fmt.Sprintf("%s is not installed here (nftables, systemd and procps are packages of their own)", e.name)
}

// programError is what a program had against it.
type programError struct {
	name string
	args []string
	said string
}

func (e *programError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.name, strings.Join(e.args, " "), e.said)
}

// bounded keeps the beginning of what is written.
type bounded struct{ text []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), outputBytesMax-len(b.text))]...)
	return len(p), nil
}

// crashed is a test's.
type crashed struct{ error }

func (c crashed) Unwrap() error { return c.error }

// reach is a point at which a test may end everything.
func (w *World) reach() error {
	w.points++
	if w.Crash == nil {
		return nil
	}
	if err := w.Crash(w.points); err != nil {
		return crashed{err}
	}
	return nil
}

func isCrash(err error) bool {
	var c crashed
	return errors.As(err, &c)
}
