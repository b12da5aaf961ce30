package harden

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// backlogLeast is how many connections a listener has to be able to keep waiting:
// what the broker asks for, and what a kernel of today allows.
const backlogLeast = 4096

// synBacklogLeast is the least that a kernel sets tcp_max_syn_backlog to by itself
// (tcp_init in net/ipv4/tcp.c). While SYN cookies are on the value is not looked at
// at all, so that only one that somebody has lowered is worth a warning.
const synBacklogLeast = 128

// synBacklog is row P1.3a. All of it is of one network namespace, and worth nothing
// read in another.
func synBacklog(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	if err := e.sameNetwork(b.PID); err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	q.cookies()
	q.somaxconn()
	before, errBefore := e.overflows(b.PID)
	first, firstErr := e.host().Listening()
	paused := e.Clock.Now()
	pause := time.NewTimer(e.step() / 20)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
	e.seen.paused += e.Clock.Now().Sub(paused)
	after, errAfter := e.overflows(b.PID)
	q.lost(b.PID, before, after, errors.Join(errBefore, errAfter))
	out := []Result{q.result(Kernel, "SYN cookies are on, and no connection is lost")}
	sockets, err := e.listening(ctx)
	if err != nil {
		return append(out, unknown(e, err.Error())...)
	}
	second, secondErr := e.host().Listening()
	if err := errors.Join(firstErr, secondErr); err != nil {
		return append(out, unknown(e, "the listening sockets cannot be asked for their backlog: "+err.Error())...)
	}
	for i := range sockets {
		if s := &sockets[i]; s.network == "tcp" {
			out = append(out, e.judgeBacklog(s, first, second))
		}
	}
	return out
}

// cookies judges what keeps a flood of SYNs from closing the door: with cookies a
// full queue costs options of TCP, without them connections.
func (q *inquiry) cookies() {
	const name, want = "net.ipv4.tcp_syncookies", "1 (2 is allowed)"
	on, known := q.seeSysctl(name, want)
	if known {
		state := passIf(on == 1 || on == 2, Fail)
		q.told(name, want, fmt.Sprint(on), q.e.sysctlPath(name), state)
		if state == Fail {
			q.set(name, 1)
		}
	}
	const half = "net.ipv4.tcp_max_syn_backlog"
	least := fmt.Sprintf("at least %d, and %d without SYN cookies", synBacklogLeast, backlogLeast)
	most, ok := q.seeSysctl(half, least)
	if !ok {
		return
	}
	state := Pass
	switch {
	case !known && most < backlogLeast:
		state = Unknown
	case on != 1 && on != 2 && most < backlogLeast:
		state = Fail
	case most < synBacklogLeast:
		state = Warn
	}
	q.told(half, least, fmt.Sprint(most), q.e.sysctlPath(half), state)
	if state == Fail || state == Warn {
		q.set(half, backlogLeast)
	}
}

// somaxconn judges what cuts a backlog when a socket begins to listen. What it cut
// is seen at the socket: lowered since, it is a warning about the next start.
func (q *inquiry) somaxconn() {
	const name = "net.core.somaxconn"
	want := fmt.Sprintf("at least %d", backlogLeast)
	most, ok := q.seeSysctl(name, want)
	if !ok {
		return
	}
	state := passIf(most >= backlogLeast, Warn)
	q.told(name, want, fmt.Sprint(most), q.e.sysctlPath(name), state)
	if state == Warn {
		q.set(name, backlogLeast)
	}
}

// overflow is what the kernel counts of connections lost in the whole network
// namespace, since it began.
type overflow struct{ overflows, drops int64 }

func (e *Env) overflows(pid int) (o overflow, err error) {
	text, err := e.readProc(pid, filepath.Join("net", "netstat"))
	if err != nil {
		return o, err
	}
	var names []string
	found := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range min(len(names), len(f)) {
			to := map[string]*int64{"ListenOverflows": &o.overflows, "ListenDrops": &o.drops}[names[i]]
			if to == nil {
				continue
			}
			if *to, err = number(f[i]); err != nil {
				return o, err
			}
			found++
		}
		break
	}
	if found != 2 {
		return o, errors.New("ListenOverflows and ListenDrops are not in it")
	}
	return o, nil
}

// lost adds whether connections are being lost while we look. Whose they are is
// said by the sockets.
func (q *inquiry) lost(pid int, before, after overflow, err error) {
	const what, want = "ListenOverflows and ListenDrops of the network namespace", "neither grows while it is looked at"
	where := fmt.Sprintf("/proc/%d/net/netstat", pid)
	if err != nil {
		q.blind(what, want, where, err)
		return
	}
	state := passIf(before == after, Warn)
	q.told(what, want, fmt.Sprintf("%d and %d since the machine started, %d and %d of them just now", after.overflows, after.drops, after.overflows-before.overflows, after.drops-before.drops), where, state)
}

// judgeBacklog judges one listening socket by what the kernel made of the backlog
// that was asked for, and of those who came.
func (e *Env) judgeBacklog(s *socket, first, second []Listening) Result {
	scope := "socket:" + s.String()
	if s.name != "" {
		scope = "listener:" + s.name + "@" + s.addr.String()
	}
	q := e.inquire(scope)
	q.key = s.key
	const where = "sock_diag"
	const what = "backlog of the listening socket (Send-Q of ss -ltn)"
	want := fmt.Sprintf("at least %d", backlogLeast)
	before, now := find(first, s.inode), find(second, s.inode)
	if now == nil {
		q.see(ReadKernel, what, want, "the kernel does not list the socket", Unknown)
		q.source(where)
		return q.result(Kernel, "")
	}
	state := Pass
	if now.Backlog < backlogLeast {
		if state = Fail; s.name != "" && s.protocol == "" {
			state = Warn // metrics: nobody floods his own
		}
	}
	q.told(what, want, fmt.Sprint(now.Backlog), where, state)
	if now.Backlog < backlogLeast {
		q.set("net.core.somaxconn", backlogLeast)
		if s.key == "listeners."+s.name {
			q.want(Want{Kind: WantListener, Name: s.name})
		} else if s.name != "" { // metrics, or enrolment
			q.want(Want{Kind: WantRestart, Name: s.name})
		}
		q.mend("start the broker again, without ProcSubset=pid in its unit")
	}
	q.told("connections that wait to be accepted", "fewer than the half of it", fmt.Sprint(now.Waiting), where, passIf(now.Waiting <= now.Backlog/2, Warn))
	const lost, none = "connections lost at this socket", "none"
	switch {
	case !now.Counted:
		q.told(lost, none, "the kernel does not count them for a socket", where, Unknown)
	case before != nil && before.Counted && now.Dropped != before.Dropped:
		q.told(lost, none, fmt.Sprintf("%d, %d of them just now: it is being flooded, or accepted from too slowly", now.Dropped, now.Dropped-before.Dropped), where, Fail)
	default:
		q.told(lost, none, fmt.Sprintf("%d since it listens", now.Dropped), where, passIf(now.Dropped == 0, Warn))
	}
	return q.result(Kernel, fmt.Sprintf("a backlog of %d, and nobody was lost", now.Backlog))
}

// find is the socket with that inode, nil if there is none.
func find(all []Listening, inode uint64) *Listening {
	for i := range all {
		if all[i].Inode == inode {
			return &all[i]
		}
	}
	return nil
}
