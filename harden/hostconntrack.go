package harden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What the table of connections of the packet filter must be like.
const (
	conntrackFactor   = 2     // entries for each connection: those that ended stay a while
	conntrackFullest  = 70    // percent in use
	conntrackIdleMost = 86400 // seconds that an established one is kept
	conntrackChain    = 8     // entries for each bucket of its hash
)

const conntrack = "net.netfilter.nf_conntrack_"

// connectionTracking is row P1.3b. The table that counts is the one packets go
// through, which may be a node's or a load balancer's: from inside a container that
// is not seen.
func connectionTracking(ctx context.Context, e *Env) []Result {
	p, err := e.plan(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	if err := e.sameNetwork(p.PID); err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	const where, want = "network namespace", "that of the host, whose table packets go through"
	ours, err := e.inHostNetwork()
	switch {
	case err != nil:
		q.blind(where, want, e.sysctlPath("net.core"), err)
	case !ours:
		q.see(ReadKernel, where, want, "one of its own: ask the node, or run redoubt doctor on it", Unknown)
	default:
		q.see(ReadKernel, where, want, "that of the host", Pass)
	}
	most, err := e.sysctl(conntrack + "max")
	switch {
	case err == nil:
		q.table(p, most)
	case errors.Is(err, fs.ErrNotExist):
		q.untracked(ours)
	default:
		q.blind(conntrack+"max", "", e.sysctlPath(conntrack+"max"), err)
	}
	r := q.result(Kernel, "the table has room for "+p.String())
	if r.State == NotApplicable {
		r.Summary = "connections are not tracked on this host"
	}
	return []Result{r}
}

// untracked settles what it means that there is no setting: nothing to judge where
// the kernel says that the module is not there, and nothing known otherwise.
func (q *inquiry) untracked(host bool) {
	const what, want = "connection tracking (nf_conntrack)", "not loaded, or its settings can be read"
	path := filepath.Join(q.e.proc(), "modules")
	text, err := os.ReadFile(path)
	switch {
	case !host:
		q.see(ReadKernel, what, want, "its settings are not shown in this network namespace", Unknown)
	case err != nil && !errors.Is(err, fs.ErrNotExist): // a kernel without modules has no list of them
		q.blind(what, want, path, err)
	case strings.Contains("\n"+string(text), "\nnf_conntrack "):
		q.told(what, want, "loaded, and its settings are not shown", path, Unknown)
	default:
		q.obs = nil // nothing is left to judge
		q.told(what, want, "not loaded", path, NotApplicable)
	}
}

// table judges the table that is here.
func (q *inquiry) table(p *plan, most int64) {
	need := conntrackFactor * p.connections
	want := fmt.Sprintf("at least %d: %d for each of %s", need, conntrackFactor, p)
	state := Pass
	if most < need {
		state = p.short()
	}
	q.told(conntrack+"max", want, fmt.Sprint(most), q.e.sysctlPath(conntrack+"max"), state)
	if most < need {
		q.set(conntrack+"max", rounded(need))
	}

	want = fmt.Sprintf("less than %d %% of it", conntrackFullest)
	if used, ok := q.seeSysctl(conntrack+"count", want); ok {
		percent := 100 * used / max(most, 1)
		state = passIf(percent < conntrackFullest, Fail)
		q.told(conntrack+"count", want, fmt.Sprintf("%d, %d %%", used, percent), q.e.sysctlPath(conntrack+"count"), state)
		if state == Fail {
			q.set(conntrack+"max", max(rounded(2*used), rounded(need)))
		}
	}

	idle := int64(q.e.Config.Limits.KeepAliveMax) * 2
	want = fmt.Sprintf("%d s to %d s: longer than a client may be silent, and not for days", idle, conntrackIdleMost)
	const timeout = conntrack + "tcp_timeout_established"
	if kept, ok := q.seeSysctl(timeout, want); ok {
		state = Pass
		switch {
		case kept > conntrackIdleMost:
			state = p.short()
		case kept < idle: // a firewall that knows no more of the connection drops it
			state = Warn
		}
		q.told(timeout, want, fmt.Sprintf("%d s", kept), q.e.sysctlPath(timeout), state)
		if state != Pass {
			q.set(timeout, max(7200, idle))
		}
	}

	want = fmt.Sprintf("a bucket for %d entries at least", conntrackChain)
	if buckets, ok := q.seeSysctl(conntrack+"buckets", want); ok {
		state = passIf(buckets*conntrackChain >= most, Warn)
		q.told(conntrack+"buckets", want, fmt.Sprint(buckets), q.e.sysctlPath(conntrack+"buckets"), state)
		if state == Warn {
			q.mend(fmt.Sprintf("echo 'options nf_conntrack hashsize=%d' > /etc/modprobe.d/60-redoubt.conf, and load the module again", rounded(most/4)),
				Want{Kind: WantModule, Name: "nf_conntrack hashsize", Value: fmt.Sprint(rounded(most / 4))})
		}
	}
}
