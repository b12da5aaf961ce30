package harden

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

// WantKind is what a Want changes.
type WantKind string

// The kinds. Name is what it changes, Value what it has to be.
const (
	WantSysctl   WantKind = "sysctl"   // Name of the kernel: net.core.somaxconn; at least Value
	WantModule   WantKind = "module"   // option of a kernel module: nf_conntrack hashsize
	WantUnit     WantKind = "unit"     // Name is a directive of the service: LimitNOFILE; at least Value
	WantSandbox  WantKind = "sandbox"  // the unit confines the process
	WantMode     WantKind = "mode"     // Name is a path; Clear and Owner say what of it
	WantSetting  WantKind = "setting"  // Name is a key of the configuration
	WantReload   WantKind = "reload"   // the broker reads its files again
	WantListener WantKind = "listener" // Name of one whose sockets have to be opened anew
	WantRestart  WantKind = "restart"  // Name is a part of the broker that opens its sockets when that starts, and never again
	WantFirewall WantKind = "firewall" // what is not for others is not reached by them
)

// Want is one change that would help a finding, for a program: package harden/fix makes
// steps of it. What only a person can do has none. It is about the machine as it was seen,
// and nothing in it was chosen by a client.
type Want struct {
	Kind  WantKind
	Name  string
	Value string
	Clear fs.FileMode // WantMode: bits that have to go
	Owner int         // WantMode: whose it has to be; -1: whose it is
	// Cuts says which clients the change shuts out; empty: none.
	Cuts string
}

// modeWanted is what repairs the permissions that err is about, of path itself and of what
// lies in the data directory. A folder further up is not the broker's, and whoever else
// uses it has to be asked.
func (q *inquiry) modeWanted(path string, err error) []Want {
	var open *pki.OpenError
	if !errors.As(err, &open) {
		return nil
	}
	dir := filepath.Clean(q.e.Config.Node.DataDir)
	if open.Path != path && open.Path != dir && !strings.HasPrefix(open.Path, dir+"/") {
		return nil
	}
	return []Want{{Kind: WantMode, Name: open.Path, Clear: open.Clear, Owner: open.Owner}}
}

// closable tells whether an error is of a file that is open to others, and ends with the
// command that closes it.
func closable(err error) bool {
	var open *pki.OpenError
	return errors.As(err, &open) && strings.Contains(err.Error(), ": ch")
}

// wantLoopback adds what binds the listener of a socket to loopback.
func (q *inquiry) wantLoopback(s *socket) {
	q.want(Want{Kind: WantFirewall, Owner: -1})
	binds := q.e.Config.Metrics.Bind
	if s.key != "metrics" {
		l, known := q.e.Config.Listeners[s.name]
		if binds = l.Bind; !known || s.key != "listeners."+s.name {
			return
		}
	}
	var inner []string
	for _, text := range binds {
		if b, err := config.ParseBind(text); err == nil && !b.Loopback() {
			text = fmt.Sprintf("127.0.0.1:%d", b.Port)
		}
		if text = strconv.Quote(text); !slices.Contains(inner, text) {
			inner = append(inner, text)
		}
	}
	q.want(Want{Kind: WantSetting, Name: s.key + ".bind", Value: "[" + strings.Join(inner, ", ") + "]", Cuts: "everybody who connects to " + s.name + " from another host"})
}

// sandboxed adds to what is open of a process that a unit started that the unit can
// confine it.
func (e *Env) sandboxed(ctx context.Context, results []Result) []Result {
	b, err := e.here(ctx)
	if err != nil {
		return results
	}
	if unit, err := e.unitOf(b.PID); err != nil || unit == "" {
		return results
	}
	for i := range results {
		if r := &results[i]; r.State == Fail || r.State == Warn {
			r.Wants, r.Left, r.LeftFix = append(r.Wants, Want{Kind: WantSandbox}), nil, ""
		}
	}
	return results
}

// renewal adds how a certificate is renewed. That of the built-in CA for the broker itself
// is made when it is read.
func (j *certJudge) renewal(c *x509.Certificate) {
	own, err := readChain(pki.CAFile(j.e.Config.Node.DataDir))
	switch {
	case j.builtIn():
		j.mend("redoubt reload", Want{Kind: WantReload})
	case err == nil && c.CheckSignatureFrom(own[0]) == nil && len(c.DNSNames) > 0:
		j.fixes = append(j.fixes, "redoubt cert renew server "+datadir.Quote(c.DNSNames[0]))
	case len(j.e.Config.Listeners[j.s.name].TLS.ACME.Names) > 0:
		j.fixes = append(j.fixes, "the broker renews it by itself: see its log for what the CA said")
	default:
		j.fixes = append(j.fixes, "renew "+pki.Describe(c))
	}
}

// wantFlapping adds the values of the checklist, as far as others are in force.
func (q *inquiry) wantFlapping(f *Flapping) {
	for _, w := range []struct {
		key, value string
		other      bool
	}{
		{"flapping.connects", fmt.Sprint(flappingConnects), f.Connects == 0 || f.Connects > flappingConnects},
		{"flapping.window", config.Duration(flappingWindow).String(), f.Window < flappingWindow},
		{"flapping.ban", config.Duration(flappingBan).String(), f.Ban < flappingBan},
	} {
		if w.other {
			q.want(Want{Kind: WantSetting, Name: w.key, Value: w.value})
		}
	}
}

// ceilingText is the value of a limit as the configuration writes it.
func ceilingText(key string, most int64) string {
	switch {
	case strings.HasSuffix(key, "_bytes"):
		return config.Size(most).String()
	case key == "limits.session_expiry_max":
		return config.Seconds(most).String()
	case key == "limits.connect_deadline":
		return config.Duration(time.Duration(most) * time.Millisecond).String()
	}
	return fmt.Sprint(most)
}

// wholeFixes keeps a list of what would help to what a text may have, by leaving out
// whole commands: half of one is worse than none.
func wholeFixes(fix string) string {
	if len(fix) <= textMax {
		return fix
	}
	const room = 64
	parts := strings.Split(fix, " && ")
	n, size := 0, 0
	for n < len(parts) && size+len(parts[n])+len(" && ") <= textMax-room {
		size += len(parts[n]) + len(" && ")
		n++
	}
	return strings.Join(append(parts[:n:n], fmt.Sprintf("and %d more: redoubt fix shows all", len(parts)-n)), " && ")
}

// Fixable tells whether redoubt fix has something to do about the finding.
func (r *Result) Fixable() bool {
	return len(r.Wants) > 0 && (r.State == Fail || r.State == Warn)
}

// Fixable is how many findings redoubt fix has something to do about.
func (r *Report) Fixable() (n int) {
	for i := range r.Rows {
		for k := range r.Rows[i].Results {
			if r.Rows[i].Results[k].Fixable() {
				n++
			}
		}
	}
	return n
}

// Open tells whether a row was open in a report that was kept.
func (s *Snapshot) Open(id string) bool {
	return slices.ContainsFunc(s.Scopes, func(x ScopeState) bool { return x.ID == id && (x.State == Fail || x.State == Warn) })
}

// fix is what helps, for programs: the command that mends it where there is one.
func (r *Result) fix(c *Check, m remedy) jsonFix {
	f := jsonFix{Text: r.Fix, Cmd: command(r.Fix), Files: m.files, Restart: m.restart, Rollback: m.rollback}
	if r.Fixable() {
		f.Cmd, f.Rollback = "redoubt fix "+c.Name(), "redoubt fix --rollback; by hand: "+m.rollback
	}
	return f
}
