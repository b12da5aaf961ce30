package testkit

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stopWithin is how long a program may take to end after SIGTERM before the kit
// kills it and says so. The broker promises 5 s; the race detector slows it.
const stopWithin = 15 * time.Second

// hangsAfter is how long a program that MayHang has.
const hangsAfter = 5 * time.Second

// Process is a program that runs while the test does.
type Process struct {
	Stdout, Stderr *Output

	// MayHang is set of a program of others that can wait for itself for ever when it is asked to
	// end: Stop ends it by force then, and does not complain.
	MayHang bool

	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error         // of Wait; read after done
}

// Run is what a program that ended leaves.
type Run struct {
	Stdout, Stderr string
	Code           int // exit code; -1 if a signal ended it
}

// Text is both streams, for messages.
func (r Run) Text() string { return r.Stdout + r.Stderr }

// Go starts a program. It is ended by the end of the test if it still runs.
func Go(t testing.TB, stdin string, argv ...string) *Process {
	t.Helper()
	p := &Process{Stdout: newOutput(), Stderr: newOutput(), t: t, done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdin = strings.NewReader(stdin)
	p.cmd.Stdout, p.cmd.Stderr = p.Stdout, p.Stderr
	p.cmd.Env = environment()
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v; the tests need what `sudo make deps` installs", argv[0], err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.Stdout.end()
		p.Stderr.end()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// Exec runs a program to its end, at most for timeout.
func Exec(t testing.TB, timeout time.Duration, stdin string, argv ...string) Run {
	t.Helper()
	return Go(t, stdin, argv...).Wait(timeout)
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends one.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v to %s: %v", sig, p.cmd.Path, err)
	}
}

// Wait waits for the end. After timeout the program is killed and the test fails.
func (p *Process) Wait(timeout time.Duration) Run {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(timeout):
		p.kill()
		p.t.Fatalf("%v still ran after %v\nstdout:\n%s\nstderr:\n%s", p.cmd.Args, timeout, p.Stdout, p.Stderr)
	}
	r := Run{Stdout: p.Stdout.String(), Stderr: p.Stderr.String(), Code: p.cmd.ProcessState.ExitCode()}
	if p.err != nil && r.Code == 0 && !errors.Is(p.err, exec.ErrWaitDelay) {
		p.t.Fatalf("%v: %v", p.cmd.Args, p.err)
	}
	return r
}

// Ended tells whether the program is no longer there.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the program to end and waits for it.
func (p *Process) Stop() Run {
	p.t.Helper()
	if !p.Ended() {
		p.Signal(syscall.SIGTERM)
	}
	if p.MayHang {
		select {
		case <-p.done:
		case <-time.After(hangsAfter):
			p.kill()
		}
	}
	return p.Wait(stopWithin)
}

// kill ends the program without asking. It is harmless when it already ended.
func (p *Process) kill() {
	if !p.Ended() {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
