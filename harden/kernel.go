package harden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Host is what the process file system does not say and a call does.
type Host interface {
	// Listening are the TCP sockets that listen in our own network namespace, in
	// both address families. An error is a kernel that does not tell.
	Listening() ([]Listening, error)
	// Clock is how well the clock of the machine is kept.
	Clock() (ClockState, error)
	// Unit are properties of a unit of systemd, by name. An error is a machine
	// without one that answers.
	Unit(ctx context.Context, unit string, properties ...string) (map[string]string, error)
	// Ruleset is the packet filter in the JSON form of nft. An error is one that may
	// not be read.
	Ruleset(ctx context.Context) ([]byte, error)
	// Space is what the file system of a path has.
	Space(path string) (Space, error)
}

// Listening is one listening socket, as sock_diag(7) tells it.
type Listening struct {
	Addr    netip.AddrPort
	Inode   uint64
	Waiting uint32 // connections that nobody has accepted yet
	Backlog uint32 // how many may wait: what listen(2) asked for, cut at somaxconn
	// Dropped are connections that were lost here since the socket listens, because
	// the queue was full for the most part. Counted tells whether the kernel said.
	Dropped uint32
	Counted bool
}

// ClockState is what adjtimex(2) answers.
type ClockState struct {
	Status         int32 // STA_* bits
	State          int   // TIME_*, what the call returned
	MaxErrorMicros int64 // how far off it may be
}

// host is what calls go to.
func (e *Env) host() Host {
	switch {
	case e.Host != nil:
		return e.Host
	case e.Quiet:
		return noPrograms{thisHost{}}
	}
	return thisHost{}
}

// noPrograms is a host of which nothing is asked that another program would have to be started
// for: a broker that looks at itself starts none.
type noPrograms struct{ thisHost }

var errNoProgram = errors.New("no other program is started in the background")

func (noPrograms) Unit(context.Context, string, ...string) (map[string]string, error) {
	return nil, errNoProgram
}

func (noPrograms) Ruleset(context.Context) ([]byte, error) { return nil, errNoProgram }

// here is the running broker, if it is a process of this machine that can be
// looked at.
func (e *Env) here(ctx context.Context) (*BrokerReport, error) {
	b, err := e.broker(ctx)
	if err != nil {
		return nil, err
	}
	if b.PID <= 0 {
		return nil, errors.New("the process id of the broker is not known here; it may run in another container: run redoubt doctor inside it")
	}
	return b, nil
}

// sysctlBytesMax bounds what is read of one setting of the kernel.
const sysctlBytesMax = 4 << 10

// sysctlPath is where a setting is: net.core.somaxconn.
func (e *Env) sysctlPath(name string) string {
	return filepath.Join(e.proc(), "sys", strings.ReplaceAll(name, ".", "/"))
}

// sysctl reads a setting in force. Those of net are of the network namespace of
// who reads, which has to be the broker's.
func (e *Env) sysctl(name string) (int64, error) {
	text, err := readSmall(e.sysctlPath(name))
	if err != nil {
		return 0, err
	}
	return number(text)
}

// readSmall reads a file of one line.
func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, sysctlBytesMax))
	return strings.TrimSpace(string(b)), err
}

// number reads one as the kernel writes them; what is beyond int64 is no limit
// that matters.
func number(text string) (int64, error) {
	if text == "unlimited" || text == "max" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(text, "-") {
		return math.MaxInt64, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", shortened(text))
	}
	return n, nil
}

// seeSysctl reads a setting for an observation; ok is false, and the observation
// made, where that cannot be done.
func (q *inquiry) seeSysctl(name, want string) (value int64, ok bool) {
	value, err := q.e.sysctl(name)
	if err != nil {
		q.blind(name, want, q.e.sysctlPath(name), err)
		return 0, false
	}
	return value, true
}

// blind adds that the kernel could not be asked.
func (q *inquiry) blind(what, want, where string, err error) {
	q.see(ReadKernel, what, want, "cannot be read: "+shortened(err.Error()), Unknown)
	q.source(where)
}

// told adds what the kernel says, with where.
func (q *inquiry) told(what, want, actual, where string, s State) {
	q.see(ReadKernel, what, want, actual, s)
	q.source(where)
}

// The command that sets something in the kernel, now and at each boot. The file
// holds nothing that is not ours.
const (
	dropInHead = `printf '`
	dropInTail = `\n' >> /etc/sysctl.d/60-redoubt.conf && sysctl --system`
)

// set adds a setting to what would help, all in one command.
func (q *inquiry) set(name string, value int64) {
	line := fmt.Sprintf("%s = %d", name, value)
	q.want(Want{Kind: WantSysctl, Name: name, Value: fmt.Sprint(value), Owner: -1}) // the command of before holds this line
	for i, f := range q.fixes {
		if rest, ok := strings.CutPrefix(f, dropInHead); ok {
			if !strings.Contains(f, line) {
				q.fixes[i] = dropInHead + line + `\n` + rest
			}
			return
		}
	}
	q.fixes = append(q.fixes, dropInHead+line+dropInTail)
}

// inHostNetwork tells whether we are in the network namespace that the kernel
// began with: the settings of devices and of packet budgets are shown in no other.
// An error is a process file system that hides its settings.
func (e *Env) inHostNetwork() (bool, error) {
	if _, err := os.Stat(e.sysctlPath("net.core")); err != nil {
		return false, err
	}
	_, err := os.Stat(e.sysctlPath("net.core.netdev_max_backlog"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// hostProcesses is the process namespace that the kernel begins with: its number
// is part of the interface (PROC_PID_INIT_INO in include/linux/proc_ns.h).
const hostProcesses = "pid:[4026531836]"

// unitOf is the unit of systemd that a process belongs to, empty if none, by the
// control group the kernel has it in. Units of a user's own manager are not meant.
func (e *Env) unitOf(pid int) (string, error) {
	b, err := e.readProc(pid, "cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" || strings.Contains(parts[2], "/user.slice/") {
			continue
		}
		if last := filepath.Base(parts[2]); strings.HasSuffix(last, ".service") {
			return last, nil
		}
	}
	return "", nil
}

// byHand tells whether somebody has just started the broker, as with make run:
// neither a unit nor a container confines it, and nothing promises to.
func (e *Env) byHand(pid int) bool {
	unit, err := e.unitOf(pid)
	if err != nil || unit != "" {
		return false
	}
	ns, err := os.Readlink(filepath.Join(e.proc(), strconv.Itoa(pid), "ns", "pid"))
	return err == nil && ns == hostProcesses
}
