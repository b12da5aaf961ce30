package harden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// threadsMax bounds how many threads of the process are looked at.
const threadsMax = 4096

// thread is what /proc says of one: credentials and filters are a thread's own, and
// the first one may have others than those that read from sockets.
type thread struct {
	id     string
	status map[string]string
}

// threads are all of the process, looked at once a run.
func (e *Env) threads(pid int) ([]thread, error) {
	if e.seen.threads == nil {
		all, err := e.findThreads(pid)
		e.seen.threads = &threads{all, err}
	}
	return e.seen.threads.list, e.seen.threads.trouble
}

// threads is what was seen of them.
type threads struct {
	list    []thread
	trouble error
}

func (e *Env) findThreads(pid int) ([]thread, error) {
	dir := filepath.Join(strconv.Itoa(pid), "task")
	entries, err := os.ReadDir(filepath.Join(e.proc(), dir))
	if err != nil {
		return nil, err
	}
	if len(entries) > threadsMax {
		return nil, fmt.Errorf("%d threads are more than are looked at", len(entries))
	}
	var out []thread
	for _, d := range entries {
		text, err := e.readProc(pid, filepath.Join("task", d.Name(), "status"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended since
		}
		if err != nil {
			return nil, err
		}
		t := thread{d.Name(), map[string]string{}}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok {
				t.status[name] = strings.TrimSpace(value)
			}
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, errors.New("no thread is listed")
	}
	return out, nil
}

// confined runs one of the rows about the process: every thread has to satisfy it.
// judge answers what it saw of one; the worst of all is what is shown.
func (e *Env) confined(ctx context.Context, good string, what, want string, judge func(pid int, t thread) (actual string, s State)) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("process")
	where := fmt.Sprintf("/proc/%d/task/*/status", b.PID)
	all, err := e.threads(b.PID)
	if err != nil {
		q.blind(what, want, where, err)
		return []Result{q.result(Kernel, "")}
	}
	shown, bad, worstOf := "", 0, NotApplicable
	for _, t := range all {
		actual, s := judge(b.PID, t)
		if s != Pass {
			bad++
		}
		if s.badness() > worstOf.badness() {
			shown, worstOf = actual, s
		}
	}
	if bad > 0 && bad < len(all) {
		shown += fmt.Sprintf(" (%d of %d threads)", bad, len(all))
	}
	q.told(what, want, shown, where, worstOf)
	return []Result{q.result(Kernel, good)}
}

// ids are the four of a line of status: real, effective, saved, file system.
func (t thread) ids(name string) ([]int, error) {
	f := strings.Fields(t.status[name])
	if len(f) != 4 {
		return nil, fmt.Errorf("%s has %d values", name, len(f))
	}
	var out []int
	for _, text := range f {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// notRoot is row P1.7.
func notRoot(ctx context.Context, e *Env) []Result {
	return e.confined(ctx, "it runs as a user of its own", "user and group of the process", "neither is root, for no thread",
		func(pid int, t thread) (string, State) {
			users, err := t.ids("Uid")
			if err != nil {
				return "not told: " + shortened(err.Error()), Unknown
			}
			groups, err := t.ids("Gid")
			if err != nil {
				return "not told: " + shortened(err.Error()), Unknown
			}
			outside, mapped, err := e.outside(pid)
			switch {
			case slices.Contains(users, 0) && err != nil:
				return "user 0, and what that is outside of the user namespace is not told: " + shortened(err.Error()), Unknown
			case slices.Contains(users, 0) && mapped && outside != 0:
				return fmt.Sprintf("user 0 in its user namespace, which is user %d outside", outside), Pass
			case slices.Contains(users, 0):
				return fmt.Sprintf("user 0 (real, effective, saved, files: %v): a fault costs the whole machine", users), Fail
			case slices.Contains(groups, 0) || slices.Contains(strings.Fields(t.status["Groups"]), "0"):
				return fmt.Sprintf("user %d, and group 0, which may write what is root's group's", users[1]), Warn
			}
			return fmt.Sprintf("user %d, group %d", users[1], groups[1]), Pass
		})
}

// outside is who user 0 of the process is outside of its user namespace. mapped is
// false for the one the system began with.
func (e *Env) outside(pid int) (id int64, mapped bool, err error) {
	text, err := e.readProc(pid, "uid_map")
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return 0, false, fmt.Errorf("uid_map has a line of %d fields", len(f))
		}
		if f[0] != "0" {
			continue
		}
		id, err = number(f[1])
		return id, f[2] != "4294967295", err
	}
	return 0, false, errors.New("uid_map has no user 0")
}

// capabilityNames are those of Linux, by bit (include/uapi/linux/capability.h).
var capabilityNames = strings.Fields("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable " +
	"net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin " +
	"sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog " +
	"wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore")

// bindService is the one capability a broker can have a use for: a port below 1024.
const bindService = 1 << 10

// named lists what a set of capabilities holds.
func named(set uint64) string {
	var out []string
	for i := range 64 {
		if set&(1<<i) == 0 {
			continue
		}
		name := fmt.Sprint(i)
		if i < len(capabilityNames) {
			name = capabilityNames[i]
		}
		out = append(out, name)
	}
	if len(out) > 5 {
		return fmt.Sprintf("%d capabilities, %s among them", len(out), strings.Join(out[:3], ", "))
	}
	return strings.Join(out, ", ")
}

// noCapabilities is row P1.8.
func noCapabilities(ctx context.Context, e *Env) []Result {
	low, lowErr := e.lowPort(ctx)
	return e.sandboxed(ctx, e.confined(ctx, "it has no capabilities", "capabilities of the process (CapEff, CapPrm)", "none, or net_bind_service alone where a port below 1024 is bound",
		func(_ int, t thread) (string, State) {
			var set uint64
			for _, name := range []string{"CapEff", "CapPrm"} { // what is permitted can be made effective at any time
				n, err := strconv.ParseUint(t.status[name], 16, 64)
				if err != nil {
					return name + " is not told", Unknown
				}
				set |= n
			}
			switch {
			case set == 0:
				return "none", Pass
			case set == bindService && lowErr != nil:
				return "net_bind_service, and whether a port below 1024 is bound is not known: " + lowErr.Error(), Unknown
			case set == bindService && low:
				return "net_bind_service, for a port below 1024", Pass
			}
			return named(set), Fail
		}))
}

// lowPort tells whether the process listens on a port that takes a capability.
func (e *Env) lowPort(ctx context.Context) (bool, error) {
	all, err := e.listening(ctx)
	return slices.ContainsFunc(all, func(s socket) bool { return s.network != "unix" && s.addr.Port() < 1024 }), err
}

// noNewPrivileges is row P1.9.
func noNewPrivileges(ctx context.Context, e *Env) []Result {
	return e.sandboxed(ctx, e.confined(ctx, "no program it starts gains rights", "NoNewPrivs of every thread", "1",
		func(pid int, t thread) (string, State) {
			switch t.status["NoNewPrivs"] {
			case "1":
				return "1", Pass
			case "0":
				return e.unconfined(pid, "0")
			}
			return "not told by this kernel", Unknown
		}))
}

// systemCalls is row P1.10.
func systemCalls(ctx context.Context, e *Env) []Result {
	return e.sandboxed(ctx, e.confined(ctx, "system calls are filtered", "Seccomp of every thread", "2: a filter is in force",
		func(pid int, t thread) (string, State) {
			switch t.status["Seccomp"] {
			case "2":
				return "2", Pass
			case "0":
				return e.unconfined(pid, "0: every system call is allowed")
			}
			return "not told by this kernel", Unknown
		}))
}

// unconfined is the state of what only a unit or a container can give. One that is
// there and does not is a finding; a broker started by hand is told.
func (e *Env) unconfined(pid int, actual string) (string, State) {
	if e.byHand(pid) {
		return actual + "; started by hand, so that nothing confines it: run it as a service", Warn
	}
	return actual + ", although a unit or a container started it", Fail
}
