package harden

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// filesReserve is how many open files the broker needs beside its clients, and
// filesFor what connections take: a fifth more than there are, for those that
// come before others have gone. The broker counts the same way when it starts.
const filesReserve = 256

func filesFor(connections int64) int64 { return (connections*12+9)/10 + filesReserve }

// plan is how many connections the host has to have room for.
type plan struct {
	*BrokerReport
	connections int64
	files       int64 // of the machine
	// processFiles are those that the process itself has to be allowed.
	processFiles int64
	// chosen tells that somebody wrote the number down. With auto it follows from
	// the open file limit and is a ceiling that nobody planned, so that a host which
	// has less room for other reasons is a warning.
	chosen bool
	why    string // where the figures come from, if not from the connections alone
}

// short is what too little room for the plan is.
func (p *plan) short() State {
	if p.chosen {
		return Fail
	}
	return Warn
}

func (p *plan) String() string {
	if p.why != "" {
		return fmt.Sprintf("%d connections (%s)", p.connections, p.why)
	}
	if p.chosen {
		return fmt.Sprintf("%d connections", p.connections)
	}
	return fmt.Sprintf("%d connections (limits.connections_total is auto: a ceiling, not a plan)", p.connections)
}

// plan is what the running broker allows, or what its configuration asks for where
// that is more: it will be in force after the next reload or start.
func (e *Env) plan(ctx context.Context) (*plan, error) {
	b, err := e.here(ctx)
	if err != nil {
		return nil, err
	}
	if b.ConnectionsMax <= 0 {
		return nil, errors.New("the broker does not say how many connections it allows; it is older than this doctor")
	}
	p := &plan{BrokerReport: b, connections: b.ConnectionsMax}
	if c := e.Config.Limits.ConnectionsTotal; c != config.Auto {
		p.chosen, p.connections = true, max(p.connections, int64(c))
	}
	e.baseline().size(p)
	return p, nil
}

// kernelFiles is row P1.1: what is above the limits of the process itself.
func kernelFiles(ctx context.Context, e *Env) []Result {
	p, err := e.plan(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	q.oneProcess(p)
	q.allProcesses(p)
	q.ownFiles(p, "open files of the process itself, which the kernel's figures say nothing about", "row P1.2")
	q.tasks(p)
	return []Result{q.result(Kernel, "room for "+p.String())}
}

// million is the figure of the checklist for a million connections.
const million = 2_097_152

// rounded is the next power of two, which is what such settings are set to.
func rounded(n int64) int64 {
	if n <= 1<<20 {
		return 1 << 20 // what the kernel begins with; less was asked for by somebody
	}
	return int64(1) << min(bits.Len64(uint64(n-1)), 62)
}

// oneProcess judges the most one process may open whatever its own limit says. It
// binds at each descriptor, so that lowering it hits those that run.
func (q *inquiry) oneProcess(p *plan) {
	const name = "fs.nr_open"
	want := fmt.Sprintf("at least %d for %s: 1.2 for each and %d (a million takes %d)", p.files, p, filesReserve, million)
	got, ok := q.seeSysctl(name, want)
	if !ok {
		return
	}
	state := Pass
	if got < p.files {
		state = p.short()
	}
	q.told(name, want, fmt.Sprint(got), q.e.sysctlPath(name), state)
	if got < p.files {
		q.set(name, rounded(p.files))
	}
}

// allProcesses judges the most the machine may open, of which others have a part.
func (q *inquiry) allProcesses(p *plan) {
	const name = "fs.file-max"
	want := fmt.Sprintf("at least %d beside what others have open (a million takes %d)", p.files, million)
	most, ok := q.seeSysctl(name, want)
	if !ok {
		return
	}
	const nr = "fs.file-nr"
	text, err := readSmall(q.e.sysctlPath(nr))
	var open int64
	if err == nil {
		first, _, _ := strings.Cut(text, "\t")
		open, err = number(strings.TrimSpace(first))
	}
	if err != nil {
		q.blind(nr, want, q.e.sysctlPath(nr), err)
		return
	}
	table := q.e.descriptors(p.PID)
	own, ownErr := table.count, table.trouble
	others := max(open-own, 0)
	actual := fmt.Sprintf("%d, of which others have %d", most, others)
	state := Pass
	switch {
	case most-others >= p.files:
	case ownErr != nil: // the broker's own may be what is missing
		state = Unknown
		actual += fmt.Sprintf(", those of the broker among them, which cannot be counted: %s", shortened(ownErr.Error()))
	default:
		state = p.short()
	}
	q.told(name, want, actual, q.e.sysctlPath(name), state)
	if most-others < p.files && ownErr == nil {
		q.set(name, rounded(p.files+others))
	}
}

// limitOf reads one row of /proc/PID/limits: soft and hard.
func limitOf(text []byte, name string) (soft, hard int64, err error) {
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name+" ")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			break
		}
		soft, err = number(f[0])
		if err == nil {
			hard, err = number(f[1])
		}
		return soft, hard, err
	}
	return 0, 0, errors.New("it is not among the limits the kernel lists")
}

// ownFiles judges the limit that binds the running process, whatever a unit or a
// shell said when it was started.
func (q *inquiry) ownFiles(p *plan, what, see string) (soft int64, ok bool) {
	where := fmt.Sprintf("/proc/%d/limits", p.PID)
	want := fmt.Sprintf("at least %d for %s: 1.2 for each and %d", p.processFiles, p, filesReserve)
	var hard int64
	b, err := q.e.readProc(p.PID, "limits")
	if err == nil {
		soft, hard, err = limitOf(b, "Max open files")
	}
	if err != nil {
		q.blind(what, want, where, err)
		return 0, false
	}
	actual, state := fmt.Sprintf("%d, and %d at most", soft, hard), Pass
	if soft < p.processFiles {
		state = Fail
		if see != "" {
			actual += ": " + see
		}
	}
	q.told(what, want, actual, where, state)
	return soft, true
}

// openFiles is row P1.2.
func openFiles(ctx context.Context, e *Env) []Result {
	p, err := e.plan(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	soft, ok := q.ownFiles(p, "open files of the running process (RLIMIT_NOFILE)", "")
	if ok && soft < p.processFiles {
		q.mend(fmt.Sprintf("set LimitNOFILE=%d in /etc/systemd/system/redoubt.service.d/10-limits.conf, or ulimit -n before a start by hand, and start the broker again; or lower limits.connections_total", rounded(p.processFiles)),
			Want{Kind: WantUnit, Name: "LimitNOFILE", Value: fmt.Sprint(rounded(p.processFiles))})
	}
	q.unitFiles(ctx, p)
	return []Result{q.result(Kernel, "room for "+p.String())}
}

// unitFiles adds what the unit says, where the process is one's. It decides
// nothing about now: that is the limit in force. Less than needed comes true at the
// next start.
func (q *inquiry) unitFiles(ctx context.Context, p *plan) {
	const what, want = "LimitNOFILE of the unit", "what the process has, at its next start too"
	unit, err := q.e.unitOf(p.PID)
	if err != nil || unit == "" {
		q.see(ReadKernel, what, want, "the process belongs to no unit", NotApplicable)
		return
	}
	values, err := q.e.host().Unit(ctx, unit, "LoadState", "MainPID", "LimitNOFILE", "LimitNOFILESoft")
	if err != nil {
		q.see(API, what, want, "not told: "+shortened(err.Error()), NotApplicable)
		return
	}
	if values["LoadState"] != "loaded" || values["MainPID"] != strconv.Itoa(p.PID) {
		q.see(API, what, want, fmt.Sprintf("%s did not start process %d", shortened(unit), p.PID), NotApplicable)
		return
	}
	// The runtime raises the soft limit to the hard one when the broker starts.
	text := values["LimitNOFILE"]
	if text == "infinity" {
		text = "max"
	}
	n, err := number(text)
	switch {
	case err != nil:
		q.see(API, what, want, "not understood: "+shortened(text), NotApplicable)
	case n < p.processFiles:
		q.see(API, what, want, fmt.Sprintf("%s: %d, fewer than the %d that are needed after its next start", shortened(unit), n, p.processFiles), Warn)
		q.mend(fmt.Sprintf("set LimitNOFILE=%d in /etc/systemd/system/%s.d/10-limits.conf", rounded(p.processFiles), shortened(unit)),
			Want{Kind: WantUnit, Name: "LimitNOFILE", Value: fmt.Sprint(rounded(p.processFiles))})
	default:
		q.see(API, what, want, fmt.Sprintf("%s: %d", shortened(unit), n), Pass)
	}
	q.source("systemctl show " + shortened(unit))
}
