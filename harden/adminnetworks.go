package harden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fmtProxy is how row P5.9 is judged.
var fmtProxy = fmt.Sprintf("Takes proxy_sources of each listener from the running process. An address, or a network of up to 256 (IPv4 /%d, IPv6 /%d), is exact; a wider one is a warning, and one of more than 16 million (/%d, /%d) a failure, as is one that is written in halves or as IPv4 within IPv6. ",
	exact4, exact6, widest4, widest6)

// How long the prefix of a network has to be.
const (
	exact4, exact6   = 24, 64
	widest4, widest6 = 8, 32
)

// width judges one network by how many it names.
func width(text string) (s State, why string) {
	p, err := netip.ParsePrefix(text)
	if a, aErr := netip.ParseAddr(text); err != nil && aErr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return Unknown, "is not understood"
	}
	bits, exact, widest := p.Bits(), exact6, widest6
	switch {
	case p.Addr().Is4():
		exact, widest = exact4, widest4
	case p.Addr().Is4In6() && bits >= 96, bits == 96 && p.Addr() == netip.MustParseAddr("64:ff9b::"): // IPv4, written so or translated
		bits, exact, widest = bits-96, exact4, widest4
	}
	switch {
	case bits <= widest:
		return Fail, "is a large part of all addresses"
	case bits < exact:
		return Warn, "is more than 256 addresses"
	}
	return Pass, ""
}

// networkLists judges lists of networks of the listeners, by the running process. none is why
// the row does not apply where nothing has one.
func (e *Env) networkLists(ctx context.Context, key, good, none string, worse func(netip.Prefix) string) []Result {
	b, err := e.broker(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	lists := map[string][]string{}
	seen := false
	for k, text := range b.Settings {
		name, rest := nameIn(k, "listeners.")
		if rest != key {
			continue
		}
		if seen = true; text == "[]" {
			continue
		}
		if lists[name] = listOf(text); len(lists[name]) == 0 {
			lists[name] = []string{text} // not understood is said below
		}
	}
	if !seen {
		return unknown(e, "the broker does not say what listeners.<name>."+key+" is; it is older than this doctor")
	}
	if len(lists) == 0 {
		q := e.inquire("node")
		q.see(API, "listeners.<name>."+key, "", "empty for every listener", NotApplicable)
		return []Result{q.result(Effective, none)}
	}
	var out []Result
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		q := e.inquire("listener:" + name)
		q.key = "listeners." + name
		for _, text := range lists[name] {
			state, why := width(text)
			if p, err := netip.ParsePrefix(text); err == nil && worse != nil {
				if w := worse(p); w != "" {
					state, why = Fail, w
				}
			}
			actual := shortened(text)
			if why != "" {
				actual += " " + why
			}
			q.see(API, q.key+"."+key, "addresses, or networks of up to 256", actual, state)
		}
		out = append(out, q.result(Effective, good))
	}
	return out
}

// proxySources is row P5.9.
func proxySources(ctx context.Context, e *Env) []Result {
	return e.networkLists(ctx, "proxy_sources", "proxies are named exactly", "no listener believes a proxy", nil)
}

// metadata is where clouds tell a machine its credentials.
var metadata = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254")}

// fetchGuard is row P5.14.
func fetchGuard(ctx context.Context, e *Env) []Result {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	return e.networkLists(ctx, "tls.fetch_from", "inner addresses are named exactly", "nothing but public addresses is asked for what certificates name", func(p netip.Prefix) string {
		plain := p
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			plain = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		switch {
		case slices.ContainsFunc(metadata, plain.Contains):
			return "holds the address at which clouds show credentials"
		case plain.Overlaps(loopback) && plain.Bits() <= loopback.Bits():
			return "is all of this host's loopback"
		}
		return ""
	})
}

// metricsReach is row P5.8.
func metricsReach(ctx context.Context, e *Env) []Result {
	all, err := e.listening(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	where := fmt.Sprintf("/proc/%d/net/tcp", e.seen.report.PID)
	var out []Result
	missing := map[string]bool{}
	for _, bind := range e.Config.Metrics.Bind {
		missing[bind] = true
	}
	for i := range all {
		s := &all[i]
		if s.network != "tcp" {
			continue
		}
		const what, want = "where metrics are", "loopback: they have no password"
		switch {
		case s.name == "":
			q := e.inquire("socket:" + s.String())
			q.told("whether metrics are on "+s.String(), "a listener or a service of the configuration", "nobody says what it is: row P1.4", where, Unknown)
			out = append(out, q.result(Kernel, ""))
		case s.key == "metrics":
			for _, bind := range e.Config.Metrics.Bind {
				if a, err := netip.ParseAddrPort(bind); err == nil && sameAddr(a, s.addr) {
					delete(missing, bind)
				}
			}
			q := e.inquire("metrics@" + s.addr.String())
			q.key = "metrics"
			if s.addr.Addr().IsLoopback() {
				q.told(what, want, s.addr.String(), where, Pass)
				q.loopbackOnly(s)
			} else {
				q.told(what, want, s.addr.String()+": whoever reaches it reads them", where, Fail)
			}
			out = append(out, q.result(Kernel, "on loopback"))
		}
	}
	for _, bind := range slices.Sorted(maps.Keys(missing)) {
		q := e.inquire("metrics@" + bind)
		q.told("metrics.bind "+bind, "a socket of the process", "the kernel lists none: another configuration is in force", where, Unknown)
		out = append(out, q.result(Kernel, ""))
	}
	if len(out) == 0 {
		q := e.inquire("node")
		q.told("sockets of metrics", "", "none", where, NotApplicable)
		out = append(out, q.result(Kernel, "there is no page of metrics"))
	}
	return out
}

// foreignCode is row P5.15.
func foreignCode(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("process")
	const what, want = "code in the process", "the program, and libraries of the system for a build that is not static"
	where := fmt.Sprintf("/proc/%d/maps", b.PID)
	program, err := os.Readlink(filepath.Join(e.proc(), fmt.Sprint(b.PID), "exe"))
	if err != nil {
		q.blind(what, want, where, err)
		return []Result{q.result(Kernel, "")}
	}
	text, err := e.readProc(b.PID, "maps")
	if err == nil && len(strings.TrimSpace(string(text))) == 0 {
		err = errors.New("the kernel lists nothing")
	}
	if err != nil {
		q.blind(what, want, where, err)
		return []Result{q.result(Kernel, "")}
	}
	own, libraries, foreign := false, map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 || len(f[1]) < 3 || f[1][2] != 'x' {
			continue
		}
		file := strings.Join(f[5:], " ")
		switch {
		case file == program:
			own = true
		case file == "[vdso]" || file == "[vsyscall]":
		case file == "":
			foreign["memory of no file at "+f[0]] = true
		case systemLibrary(file):
			libraries[filepath.Base(file)] = true
		default:
			foreign[file] = true
		}
	}
	switch {
	case len(foreign) > 0:
		q.told(what, want, shortened(strings.Join(slices.Sorted(maps.Keys(foreign)), ", ")), where, Fail)
	case !own:
		q.told(what, want, "the program itself is not among what the kernel lists: "+shortened(program), where, Unknown)
	case len(libraries) > 0:
		q.told(what, want, shortened(program)+", with "+shortened(strings.Join(slices.Sorted(maps.Keys(libraries)), ", ")), where, Pass)
	default:
		q.told(what, want, shortened(program)+" alone", where, Pass)
	}
	return []Result{q.result(Kernel, "the program and nothing else")}
}

// systemLibrary tells whether a mapped file is a shared library where systems have theirs.
func systemLibrary(file string) bool {
	if strings.Contains(file, "/../") || strings.HasSuffix(file, " (deleted)") || !strings.Contains(filepath.Base(file), ".so") {
		return false
	}
	for _, dir := range []string{"/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"} {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return false
}

// updates is row P5.16.
func updates(ctx context.Context, e *Env) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	q := e.inquire("process")
	const what, want = "the file of the program", "there, and the one that runs"
	where := fmt.Sprintf("/proc/%d/exe", b.PID)
	program, err := os.Readlink(filepath.Join(e.proc(), fmt.Sprint(b.PID), "exe"))
	switch {
	case err != nil:
		q.blind(what, want, where, err)
	case strings.HasSuffix(program, " (deleted)"):
		q.told(what, want, shortened(program)+": it was replaced, and what is there now does not run yet", where, Warn)
	default:
		q.told(what, want, shortened(program), where, Pass)
		q.see(API, "updates of "+shortened(b.Version), "none that closes a hole", "nobody is asked about them: see where you have it from, and SECURITY.md", Manual)
	}
	return []Result{q.result(Kernel, "what runs is "+shortened(b.Version)+", and its file is there; whether there is an update is for a person to look up")}
}
