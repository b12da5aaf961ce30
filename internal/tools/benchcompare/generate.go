package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
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
	// shared: another one has the same core at the same time, and the kernel is to see both in one
	// session, because what it thinks of their priorities counts only within one.
	shared bool
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
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: !c.shared, Setpgid: c.shared}
	if err := startOn(g.cmd, l.cores[1]); err != nil {
		return nil, err
	}
	go func() { g.ended <- g.cmd.Wait() }()
	return g, nil
}

// stop ends one that is not to go on. What it measured so far it has said by then.
func (g *generator) stop() { _ = stopProcess(g.cmd.Process, g.ended, stopWithin) }

// runs tells whether it has not ended.
func (g *generator) runs() bool {
	select {
	case err := <-g.ended:
		g.ended <- err // for who stops it
		return false
	default:
		return true
	}
}

// report waits for the end and reads the answer.
func (g *generator) report(l *lab) (*bench.Report, error) {
	select {
	case err := <-g.ended:
		rep, err := readReport(g.call, g.out.Bytes(), g.errs.Bytes(), err)
		return rep, g.call.b.blame(err)
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
	if err := c.whole(&rep); err != nil {
		return nil, fmt.Errorf("redoubt bench %s: %w", strings.Join(c.args, " "), err)
	}
	return &rep, nil
}

// keptRate is the least part of a fixed rate that has to arrive: with less it is another load.
const keptRate = .95

// whole is an error where a run has a figure, but not of the load that was asked for.
func (c *call) whole(rep *bench.Report) error {
	if rep.Interrupted {
		return errors.New("it was interrupted")
	}
	// Who is killed in the middle loses all of them; who visits for a storm's sake may be refused.
	if k := &rep.Connections; !c.lossy && (len(k.Ended) > 0 || k.Failed > 0 && rep.Memory == nil) {
		return fmt.Errorf("%d connections failed %v, and of those that were ready the broker ended %v", k.Failed, k.Reasons, k.Ended)
	}
	s, d := rep.Sent, rep.Delivered
	if rep.QoS == 0 && s != nil && d != nil && rep.Flood == nil && rep.Retained == nil && d.Lost*lostOf > s.Messages {
		return fmt.Errorf("%d of %d messages of QoS 0 were lost", d.Lost, s.Messages)
	}
	if due := c.rate() * rep.Seconds; rep.Latency != nil && rep.Flood == nil && float64(rep.Latency.Count) < keptRate*due {
		return fmt.Errorf("%d messages arrived where %.0f were due: the rate was not kept", rep.Latency.Count, due)
	}
	return nil
}

// lostOf: of so many messages of QoS 0 one may be lost.
const lostOf = 1000

// rate is the fixed rate of all publishers, in messages a second; 0: there is none.
func (c *call) rate() float64 {
	i := slices.Index(c.args, "--rate")
	if i < 0 || i+1 == len(c.args) {
		return 0
	}
	x, _ := strconv.ParseFloat(c.args[i+1], 64) // ours, and a number
	return x
}
