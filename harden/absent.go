package harden

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Rows whose subject this broker does not have. That it is not there is observed, as everything
// else is: the kernel lists no socket that could be of it, and the running process holds no
// setting of it. Where that cannot be seen the row is unknown, and where something of it is
// seen, this program is older than the broker and cannot judge it.

// absentHow begins How of those rows.
const absentHow = "Goes through the listening sockets of the process as the kernel lists them, each of which has to be a listener, enrolment, metrics or the administration socket, and through the settings that the running process holds. "

// subject is what a row is about and this broker does not have.
type subject struct {
	what string   // in words: a cluster
	keys []string // what its settings would begin with
	why  string   // the reason why the row does not apply
	more func(q *inquiry, b *BrokerReport)
}

// absent judges a row whose subject is not there.
func (e *Env) absent(ctx context.Context, s subject) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("node")
	q.noSocket(ctx, s.what, b.PID)
	q.noSetting(s, b)
	if s.more != nil {
		s.more(q, b)
	}
	return []Result{q.result(Kernel, s.why)}
}

// noSocket sees that every listening socket is something else.
func (q *inquiry) noSocket(ctx context.Context, what string, pid int) {
	const name = "listening sockets of the process"
	want := "none of " + what
	where := fmt.Sprintf("/proc/%d/net, /proc/%d/fd", pid, pid)
	all, err := q.e.listening(ctx)
	if err != nil {
		q.blind(name, want, where, err)
		return
	}
	var known, strange []string
	for i := range all {
		if s := &all[i]; s.name == "" {
			strange = append(strange, s.String())
		} else if !slices.Contains(known, s.name) {
			known = append(known, s.name)
		}
	}
	if len(strange) > 0 {
		q.told(name, want, "nobody says what "+shortened(strings.Join(strange, ", "))+" is for: row P1.4", where, Unknown)
		return
	}
	q.told(name, want, fmt.Sprintf("%d, all of them of %s", len(all), shortened(strings.Join(known, ", "))), where, NotApplicable)
}

// noSetting sees that the process holds no key of it.
func (q *inquiry) noSetting(s subject, b *BrokerReport) {
	const name = "settings in force"
	want := "none of " + s.what
	if len(b.Settings) == 0 {
		q.see(API, name, want, "the broker does not say which it has; it is older than this doctor", Unknown)
		return
	}
	var found []string
	for key := range b.Settings {
		if slices.ContainsFunc(s.keys, func(p string) bool { return strings.HasPrefix(key, p) }) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	if len(found) > 0 {
		q.see(API, name, want, shortened(strings.Join(found, ", "))+": this doctor is older than the broker and cannot judge them", Unknown)
		return
	}
	q.see(API, name, want, fmt.Sprintf("none of %d begins with %s", len(b.Settings), strings.Join(s.keys, " or ")), NotApplicable)
}

// cluster is what a node would need to be one of several.
var cluster = subject{what: "other nodes", keys: []string{"cluster."}}

// noCluster is the rows about what is between nodes.
func noCluster(ctx context.Context, e *Env) []Result {
	s := cluster
	s.why = "this node is not in a cluster: it listens for no other"
	if b := e.baseline(); b != Cluster {
		s.why += "; and baseline " + string(b) + " is about a node of its own"
	}
	return e.absent(ctx, s)
}

// socketUser tells who may open the administration socket, for rows about other ways in.
func socketUser(q *inquiry, b *BrokerReport) {
	path := q.e.Config.Admin.Socket
	look := q.e.inquire("")
	look.socket(b.UID, path, true)
	const what, want = "administration socket", "open to the broker's user and root alone"
	states := make([]State, 0, len(look.obs))
	for _, o := range look.obs {
		states = append(states, o.State)
	}
	switch worst(states...) {
	case Pass:
		q.told(what, want, path+", which only "+opensSocket(b)+" may open", path, NotApplicable)
	case Fail:
		q.told(what, want, look.complaint(Fail)+" (row P5.2)", path, Unknown)
	default:
		q.told(what, want, look.complaint(Unknown), path, Unknown)
	}
}

// remoteAccess is row P1.13.
func remoteAccess(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("host")
	const what, sshPort = "port 22 in the network namespace of the broker", 22
	where := fmt.Sprintf("/proc/%d/net/tcp", b.PID)
	found, err := e.tcpListeners(b.PID)
	if err != nil {
		q.blind(what, "", where, err)
		return []Result{q.result(Kernel, "")}
	}
	open := slices.ContainsFunc(found, func(s socket) bool { return s.addr.Port() == sshPort })
	actual := "nothing listens on port 22, and may elsewhere"
	if open {
		actual = "something listens on port 22"
	}
	q.told(what, "", actual, where, Manual)
	return []Result{q.result(Kernel, "how administrators come in is not the broker's to see: "+actual+"; look at sshd -T")}
}

// opensSocket is who may open the administration socket.
func opensSocket(b *BrokerReport) string {
	if b.UID == 0 {
		return "root"
	}
	return fmt.Sprintf("user %d and root", b.UID)
}
