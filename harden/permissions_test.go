package harden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

// house is a data directory as a broker makes it, and a process as the kernel
// shows it.
type house struct {
	t   *testing.T
	dir string
	env *Env
}

// account is a broker that only says who it is.
type account struct {
	BrokerReport
	err error
}

func (a account) Report(context.Context) (BrokerReport, error) { return a.BrokerReport, a.err }
func (account) EndBan(context.Context, string) error           { return errors.New("no") }
func (account) AddProbe(context.Context, bool) (ProbeUser, error) {
	return ProbeUser{}, errors.New("no probe users here")
}
func (account) AddProbeBeside(context.Context, string) (ProbeUser, error) {
	return ProbeUser{}, errors.New("no probe users here")
}
func (account) EndGrant(context.Context, string) error    { return nil }
func (account) EndProbe(context.Context, string) error    { return nil }
func (account) DenyProbe(context.Context, []string) error { return errors.New("not here") }
func (account) Access(context.Context, AccessQuestion) (AccessAnswer, error) {
	return AccessAnswer{}, nil
}
func (account) Chains(context.Context) ([]ChainTrial, error) { return nil, nil }
func (account) Rules(context.Context) ([]string, error)      { return nil, nil }

func (account) Refused(context.Context, string) (RefusedConnect, error) {
	return RefusedConnect{}, errors.New("no clients here")
}

func (account) ClientUser(context.Context, string) (string, error) {
	return "", errors.New("no clients here")
}

func newHouse(t *testing.T) *house {
	t.Helper()
	root, err := os.MkdirTemp("", "rdt-") // a unix socket has 107 bytes for its path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	h := &house{t: t, dir: filepath.Join(root, "data")}
	if err := datadir.Init(h.dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pki.Ensure(h.dir, time.Now(), pki.LocalNames("h", nil)); err != nil {
		t.Fatal(err)
	}
	h.write("data/users.json", "{}", 0o600)
	h.write("data/rules.yaml", "version: 1\n", 0o600)
	for _, name := range []string{"data/store/log", "data/store/view", "data/store"} {
		if err := os.MkdirAll(h.path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.write("redoubt.yaml", "", 0o600)
	loaded, err := config.Load(config.Options{DataDir: h.dir, File: h.path("redoubt.yaml"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", loaded.Config.Admin.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	h.chmod("data/admin.sock", 0o600)
	h.write("proc/7/environ", "PATH=/bin\x00HOME=/\x00CREDENTIALS_DIRECTORY=/run/c\x00TLS_KEY_PASSWORD=file:/etc/pw\x00API_TOKEN=\x00", 0o600)
	h.write("proc/7/cmdline", "redoubt\x00serve\x00--data-dir\x00/var/lib/redoubt\x00--password-file\x00/etc/pw\x00", 0o600)
	h.write("proc/7/limits", "Limit                     Soft Limit           Hard Limit           Units\nMax cpu time              unlimited            unlimited            seconds\nMax core file size        0                    unlimited            bytes\n", 0o600)
	h.env = &Env{Clock: clock.System{}, Config: loaded.Config, File: loaded.File, Proc: h.path("proc"),
		Broker: account{BrokerReport: BrokerReport{PID: 7, UID: os.Geteuid()}}}
	return h
}

func (h *house) path(name string) string { return filepath.Join(filepath.Dir(h.dir), name) }

func (h *house) write(name, text string, mode os.FileMode) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
	h.chmod(name, mode)
}

func (h *house) chmod(name string, mode os.FileMode) {
	h.t.Helper()
	if err := os.Chmod(h.path(name), mode); err != nil {
		h.t.Fatal(err)
	}
}

// stranger gives a file to another user, or makes us another user.
func (h *house) stranger(name string) {
	h.t.Helper()
	if os.Geteuid() != 0 {
		h.env.Broker = account{BrokerReport: BrokerReport{PID: 7, UID: os.Geteuid() + 1}}
		return
	}
	if err := os.Lchown(h.path(name), 12345, 12345); err != nil {
		h.t.Fatal(err)
	}
}

// devices makes the CA of devices and spoils one of its files.
func (h *house) devices(name string, mode os.FileMode) {
	h.t.Helper()
	if _, err := pki.InitDevices(h.dir, "", time.Now()); err != nil {
		h.t.Fatal(err)
	}
	h.chmod("data/certs/devices/"+name, mode)
}

const key = "-----BEGIN EC PRIVATE KEY-----\n" + canary + "\n"

// Every way to leave a secret open is found and named, with a command that helps,
// and the secret itself is shown nowhere.
func TestOpenFilesAndProcesses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(h *house)
		scope string
		state State
		want  string
		start bool // it also refuses the start
	}{
		"readable key":             {func(h *house) { h.chmod("data/certs/ca.key", 0o640) }, "files", Fail, "ca.key has mode 0640", true},
		"readable leaf key":        {func(h *house) { h.chmod("data/certs/server.key", 0o604) }, "files", Fail, "server.key has mode 0604", true},
		"readable device CA key":   {func(h *house) { h.devices("ca.key", 0o640) }, "files", Fail, "ca.key has mode 0640", true},
		"readable canary":          {func(h *house) { h.devices("canary.key", 0o644) }, "files", Fail, "canary.key has mode 0644", true},
		"writable device list":     {func(h *house) { h.devices("crl.pem", 0o622) }, "files", Fail, "crl.pem has mode 0622", true},
		"readable users":           {func(h *house) { h.chmod("data/users.json", 0o644) }, "files", Fail, "users.json has mode 0644", true},
		"readable users of before": {func(h *house) { h.write("data/users.json.migrated", "{}", 0o640) }, "files", Fail, "users.json.migrated has mode 0640", true},
		"open store":               {func(h *house) { h.chmod("data/store", 0o755) }, "files", Fail, "store has mode 0755", true},
		"open log":                 {func(h *house) { h.chmod("data/store/log", 0o710) }, "files", Fail, "log has mode 0710", true},
		"writable index":           {func(h *house) { h.chmod("data/store/view", 0o770) }, "files", Fail, "view has mode 0770", true},
		"writable rules":           {func(h *house) { h.chmod("data/rules.yaml", 0o664) }, "files", Fail, "rules.yaml has mode 0664", true},
		"writable certificate":     {func(h *house) { h.chmod("data/certs/ca.pem", 0o622) }, "files", Fail, "ca.pem has mode 0622", true},
		"open data directory":      {func(h *house) { h.chmod("data", 0o750) }, "files", Fail, "data has mode 0750", true},
		"writable folder":          {func(h *house) { h.chmod("data/certs", 0o722) }, "files", Fail, "certs has mode 0722", true},
		"writable parent":          {func(h *house) { h.chmod(".", 0o777) }, "files", Fail, "has mode 0777", true},
		"somebody else's key":      {func(h *house) { h.stranger("data/certs/ca.key") }, "files", Fail, "user", os.Geteuid() == 0},
		"no rules":                 {func(h *house) { _ = os.Remove(h.path("data/rules.yaml")) }, "files", Unknown, "rules.yaml", true},
		"open socket":              {func(h *house) { h.chmod("data/admin.sock", 0o666) }, "files", Fail, "admin.sock has mode 0666", false},
		"something else for it":    {func(h *house) { _ = os.Remove(h.path("data/admin.sock")); h.write("data/admin.sock", "", 0o600) }, "files", Fail, "is not a socket", false},
		"writable configuration":   {func(h *house) { h.chmod("redoubt.yaml", 0o666) }, "files", Fail, "redoubt.yaml has mode 0666", false},
		"a key an editor left":     {func(h *house) { h.write("data/certs/ca.key~", key, 0o644) }, "files", Warn, "ca.key~ has mode 0644", false},
		"password in environment":  {func(h *house) { h.write("proc/7/environ", "A=b\x00DB_PASSWORD="+canary+"\x00", 0o600) }, "environment", Fail, "variable DB_PASSWORD", false},
		"key in environment":       {func(h *house) { h.write("proc/7/environ", "NAME="+key+"\x00", 0o600) }, "environment", Fail, "a private key", false},
		"our secret by any name":   {func(h *house) { h.write("proc/7/environ", "NAME=rdt_"+strings.Repeat("a", 33)+"\x00", 0o600) }, "environment", Fail, "a generated secret", false},
		"password in an address":   {func(h *house) { h.write("proc/7/environ", "http_proxy=http://me:"+canary+"@proxy:80\x00", 0o600) }, "environment", Fail, "an address with a password", false},
		"password as argument":     {func(h *house) { h.write("proc/7/cmdline", "redoubt\x00--ldap-password\x00"+canary+"\x00", 0o600) }, "command line", Fail, "argument 1", false},
		"password after equals":    {func(h *house) { h.write("proc/7/cmdline", "redoubt\x00--token="+canary+"\x00", 0o600) }, "command line", Fail, "argument 1", false},
		"core dumps": {func(h *house) {
			h.write("proc/7/limits", "Max core file size        unlimited            unlimited            bytes\n", 0o600)
		}, "core dumps", Fail, "unlimited", false},
		"unknown limits":           {func(h *house) { h.write("proc/7/limits", "Max cpu time 1 1 s\n", 0o600) }, "core dumps", Unknown, "not among", false},
		"no environment to read":   {func(h *house) { _ = os.Remove(h.path("proc/7/environ")) }, "environment", Unknown, "cannot be read", false},
		"no command line to read":  {func(h *house) { _ = os.Remove(h.path("proc/7/cmdline")) }, "command line", Unknown, "cannot be read", false},
		"no limits to read":        {func(h *house) { _ = os.Remove(h.path("proc/7/limits")) }, "core dumps", Unknown, "cannot be read", false},
		"process in another space": {func(h *house) { h.env.Broker = account{BrokerReport: BrokerReport{UID: os.Geteuid()}} }, "environment", Unknown, "not known here", false},
		"broker keeps silent":      {func(h *house) { h.env.Broker = account{err: errors.New("no")} }, "process", Unknown, "no account", false},
		"the broker":               {func(h *house) { h.env.Broker = nil }, "process", Unknown, "no broker", false},
	} {
		t.Run(name, func(t *testing.T) {
			fixture("P2.2", name, c.state)
			fixture("P2.2", "good", Pass)
			h := newHouse(t)
			if rep := examine(t, h.env, "P2.2"); rep.Rows[0].State() != Pass || rep.Rows[0].Confidence() != Kernel {
				t.Fatalf("before: %+v", rep.Rows[0].Results)
			}
			if err := RefuseStart(h.env.Config, clock.System{}); err != nil {
				t.Fatalf("before: %v", err)
			}
			h.env.seen = seen{}
			c.spoil(h)
			rep := examine(t, h.env, "P2.2")
			var out strings.Builder
			if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
				t.Fatal(err)
			}
			if err := rep.WriteJSON(&out, "0"); err != nil {
				t.Fatal(err)
			}
			found := false
			for _, r := range rep.Rows[0].Results {
				if r.Scope == c.scope {
					found = r.State == c.state && strings.Contains(observed(&r)+r.Summary, c.want)
				} else if r.State != Pass && c.scope != "process" && h.env.Broker != nil && name != "process in another space" {
					t.Errorf("%s: %s %s", r.Scope, r.State, r.Summary)
				}
			}
			if !found || rep.Rows[0].State() != c.state {
				t.Errorf("want %s of %s with %q:\n%s", c.state, c.scope, c.want, out.String())
			}
			if strings.Contains(out.String(), canary) || strings.Contains(out.String(), "rdt_aaa") {
				t.Error("the output holds a secret")
			}
			err := RefuseStart(h.env.Config, clock.System{})
			if (err != nil) != c.start || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "P2.2")) {
				t.Errorf("start: %v", err)
			}
		})
	}
}

// The command that is shown repairs what it is shown for.
func TestTheFixRepairs(t *testing.T) {
	h := newHouse(t)
	for name, mode := range map[string]os.FileMode{"data": 0o755, "data/certs/ca.key": 0o644, "data/rules.yaml": 0o666, "data/admin.sock": 0o777, "data/certs": 0o777} {
		h.chmod(name, mode)
	}
	for range 5 { // a folder is found before what lies in it
		rep := examine(t, h.env, "P2.2")
		h.env.seen = seen{}
		r := rep.Rows[0].Results[0]
		if r.State == Pass {
			return
		}
		if out, err := exec.Command("/bin/sh", "-c", r.Fix).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", r.Fix, err, out)
		}
	}
	t.Errorf("still open: %+v", examine(t, h.env, "P2.2").Rows[0].Results[0])
}

// A link cannot hide what it leads to: what is judged is what is opened.
func TestALinkedKeyIsJudged(t *testing.T) {
	h := newHouse(t)
	if err := os.Rename(h.path("data/certs/ca.key"), h.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(h.path("elsewhere"), h.path("data/certs/ca.key")); err != nil {
		t.Fatal(err)
	}
	if s := examine(t, h.env, "P2.2").Rows[0].State(); s != Pass {
		t.Errorf("a closed file behind a link: %s", s)
	}
	h.chmod("elsewhere", 0o644)
	h.env.seen = seen{}
	if s := examine(t, h.env, "P2.2").Rows[0].State(); s != Fail {
		t.Errorf("an open file behind a link: %s", s)
	}
	fixture("P2.2", "an open file behind a link", Fail)
}

func TestKeysOfTheConfigurationAreJudged(t *testing.T) {
	h := newHouse(t)
	h.write("own.key", key, 0o600)
	h.write("own.pem", "", 0o644)
	h.env.Config.Listeners["mqtts"] = config.Listener{Protocol: config.ProtocolMQTTS, TLS: config.TLS{Certificates: []config.Certificate{{Cert: h.path("own.pem"), Key: config.Secret{Ref: "file:" + h.path("own.key")}}}}}
	if r := examine(t, h.env, "P2.2").Rows[0]; r.State() != Pass {
		t.Errorf("%+v", r.Results[0])
	}
	h.env.seen = seen{}
	h.chmod("own.key", 0o644)
	r := examine(t, h.env, "P2.2").Rows[0].Results[0]
	if want := fmt.Sprintf("chmod 0600 %s", h.path("own.key")); r.State != Fail || r.Fix != want {
		t.Errorf("%s, fix %q, want %q", r.Summary, r.Fix, want)
	}
	h.chmod("own.key", 0o600)
	h.write("plant.keytab", "", 0o644)
	h.env.seen = seen{}
	h.env.Config.Authn.Kerberos = map[string]config.KerberosAuthenticator{"plant": {Keytab: h.path("plant.keytab")}}
	r = examine(t, h.env, "P2.2").Rows[0].Results[0]
	if want := fmt.Sprintf("chmod 0600 %s", h.path("plant.keytab")); r.State != Fail || r.Fix != want {
		t.Errorf("%s, fix %q, want %q", r.Summary, r.Fix, want)
	}
}

// Root asks while nothing runs: what is there belongs to the user of the broker, and to give
// it to root would keep the broker from it.
func TestFilesOfAStoppedBrokerAreItsUsers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, owner, owner))
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		asks int
		dir  string
		want int
	}{{0, h.dir, owner}, {4711, h.dir, 4711}, {0, h.path("none"), 0}} {
		if got := userWithout(c.asks, c.dir); got != c.want {
			t.Errorf("%d asks about %s: judged for %d, want %d", c.asks, c.dir, got, c.want)
		}
	}
	h.env.Broker, h.env.File = nil, ""
	for _, r := range examine(t, h.env, "P2.2").Rows[0].Results {
		if r.Scope == "files" && r.State != Pass || r.Scope != "files" && r.State != Unknown {
			t.Errorf("%s is %v: %s", r.Scope, r.State, r.Summary)
		}
	}
}
