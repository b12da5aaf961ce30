package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/redoubtmq/redoubt/client/bench"
)

// call is one run of the generator.
type call struct {
	b     *broker
	named bool // with the name and the password of the user
	door  door
	args  []string
	lossy bool // a loss is a figure, and no failure
}

// door is where clients connect.
type door string

const (
	overTCP  door = ""
	overTLS  door = "tls"
	overMTLS door = "mtls"
	overWSS  door = "wss"
)

// arguments are those of redoubt bench.
func (l *lab) arguments(c *call) []string {
	argv := append([]string{"bench", c.args[0], "-V", "311"}, c.args[1:]...) // a row may say another version
	argv = append(argv, "-o", "json", "-k", "600", "-h", "127.0.0.1", "--config", l.path("redoubt.yaml"))
	if !c.lossy { // the broker it begins with is not the one it ends with
		argv = append(argv, "--pid", strconv.Itoa(c.b.cmd.Process.Pid))
	}
	port := portTCP
	switch c.door {
	case overTCP:
		argv = append(argv, "--protocol", "mqtt")
	case overTLS:
		port = portTLS
	case overMTLS:
		port = portMTLS
		argv = append(argv, "--cert", l.path("bench.pem"), "--key", l.path("bench.key"))
	case overWSS:
		port = portWSS
		argv = append(argv, "--protocol", "wss")
	}
	if c.door != overTCP {
		argv = append(argv, "--cafile", l.path("ca.pem"))
	}
	argv = append(argv, "-p", strconv.Itoa(l.port(port)))
	if c.named {
		argv = append(argv, "-u", "bench")
	}
	return argv
}

// generate runs redoubt bench on its core.
func (l *lab) generate(c *call) (*bench.Report, error) {
	g, err := l.begin(c)
	if err != nil {
		return nil, err
	}
	return g.report(l)
}

// generator is one that runs.
type generator struct {
	call      *call
	cmd       *exec.Cmd
	out, errs bytes.Buffer
	ended     chan error
}

func (l *lab) begin(c *call) (*generator, error) {
	g := &generator{call: c, cmd: exec.Command(l.redoubt, l.arguments(c)...), ended: make(chan error, 1)}
	// The same curves on both sides: Mosquitto has no post-quantum ones.
	g.cmd.Env = append(g.cmd.Environ(), "GODEBUG=tlsmlkem=0,tlssecpmlkem=0")
	if c.named {
		g.cmd.Env = append(g.cmd.Env, "REDOUBT_PASSWORD="+l.password)
	}
	g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.errs
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := startOn(g.cmd, l.cores[1]); err != nil {
		return nil, err
	}
	go func() { g.ended <- g.cmd.Wait() }()
	return g, nil
}

// stop ends one whose answer is not wanted any more.
func (g *generator) stop() {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	<-g.ended
}

// report waits for the end and reads the answer.
func (g *generator) report(l *lab) (*bench.Report, error) {
	select {
	case err := <-g.ended:
		return readReport(g.call, g.out.Bytes(), g.errs.Bytes(), err)
	case <-l.stop:
		g.stop()
		return nil, errStopped
	}
}

// readReport judges what the generator said, and how it ended.
func readReport(c *call, out, errs []byte, ended error) (*bench.Report, error) {
	var rep bench.Report
	unread := json.Unmarshal(out, &rep)
	var e *exec.ExitError
	if refused := errors.As(ended, &e) && e.ExitCode() == 1 && unread == nil; ended != nil && (!refused || !c.lossy) {
		return nil, fmt.Errorf("redoubt bench %s: %w: %s", strings.Join(c.args, " "), ended, lastLine(errs))
	}
	if unread != nil {
		return nil, fmt.Errorf("redoubt bench answered no JSON: %w", unread)
	}
	return &rep, nil
}
