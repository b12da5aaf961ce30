package harden

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/config"
)

// opened has the kernel say which files below root are opened from now on; the returned function
// ends that and answers their names.
func opened(t *testing.T, root string) func() []string {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[int32]string{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		w, err := syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN)
		dirs[int32(w)], _ = filepath.Rel(root, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		defer syscall.Close(fd)
		names := map[string]bool{}
		buf := make([]byte, 256<<10)
		for {
			n, err := syscall.Read(fd, buf)
			if err != nil || n <= 0 {
				return slices.Sorted(maps.Keys(names))
			}
			for b := buf[:n]; len(b) >= syscall.SizeofInotifyEvent; {
				size := binary.NativeEndian.Uint32(b[12:])
				name := string(bytes.TrimRight(b[syscall.SizeofInotifyEvent:syscall.SizeofInotifyEvent+size], "\x00"))
				if mask := binary.NativeEndian.Uint32(b[4:]); name != "" && mask&syscall.IN_ISDIR == 0 {
					names[filepath.Join(dirs[int32(binary.NativeEndian.Uint32(b))], name)] = true
				}
				b = b[syscall.SizeofInotifyEvent+size:]
			}
		}
	}
}

// machineRows are those that are judged on what the machine of these tests shows, without a probe.
func machineRows() []string {
	return slices.Concat(hostRows, judgedRows, absentRows, []string{"P1.13", "P5.16"})
}

// goodMachine is one on which the row is in order.
func goodMachine(t *testing.T, id string) *machine {
	if slices.Contains(hostRows, id) {
		return newMachine(t)
	}
	return adminGood(t, id)
}

// otherwise are sources without which a row is not unknown, and why that is right; a name that
// ends with a slash is everything below.
var otherwise = map[string]string{
	"P1.1 system.slice/pids.max":                    "a group whose controller is off has no such file, and limits nothing",
	"P1.1 system.slice/redoubt.service/pids.max":    "likewise",
	"P5.11 system.slice/memory.max":                 "likewise; the limit of the group below counts",
	"P5.11 system.slice/redoubt.service/memory.max": "likewise; the row fails then",
	"P1.2 " + on("cgroup"):                          "the unit counts for the next start alone; the limit of the process decides",
	"P1.9 " + on("cgroup"):                          "who has started it makes a failure less, and nothing else",
	"P1.10 " + on("cgroup"):                         "likewise",
	"P1.12 " + on("root/etc/os-release"):            "the other of two places says the same",
	"P1.12 " + on("root/usr/lib/os-release"):        "likewise",
	"P1.8 " + on("net/"):                            "a port below 1024 excuses a capability; there is none to excuse",
	"P1.7 " + on("uid_map"):                         "whose the root of a namespace is, is asked of root alone",
	"P1.7 " + on("task/"):                           "a thread that has ended since; without any the row is unknown",
	"P1.8 " + on("task/"):                           "likewise",
	"P1.9 " + on("task/"):                           "likewise",
	"P1.10 " + on("task/"):                          "likewise",
	"P5.8 sys/net/ipv4/conf/lo/route_localnet":      "what is not 0 is a warning, whatever it is; without the file the row is unknown",
	"P5.10 StoreBytes":                              "a store that is empty",
	"P5.10 StoreBytesMax":                           "no bound is known; what is free is judged all the same",
	"P5.16 Version":                                 forPeople["P5.16"],
	"P5.5 settings":                                 "of a list that is long nobody misses one; without those that there have to be the row is unknown",
	"P5.6 settings":                                 "likewise",
	"P5.13 settings":                                "likewise",
}

// excused tells whether the row may be in order without the source.
func excused(id, source string) bool {
	for key, why := range otherwise {
		row, prefix, _ := strings.Cut(key, " ")
		if row == id && why != "" && (prefix == source || strings.HasSuffix(prefix, "/") && strings.HasPrefix(source, prefix)) {
			return true
		}
	}
	return false
}

// Every file that the kernel sees a row open is evidence: without it, without a word in it, or with
// words nobody understands the row is not pass and does not say that it does not apply.
func TestEveryFileThatIsReadCounts(t *testing.T) {
	t.Parallel()
	for _, id := range machineRows() {
		m := goodMachine(t, id)
		var end func() []string
		m.before = func(root string) { end = opened(t, root) }
		_, row := m.examine(id)
		was := row.State()
		read := end()
		for _, path := range read {
			top, name, _ := strings.Cut(path, "/")
			groups := top == "sys"
			if groups {
				name = strings.TrimPrefix(name, "fs/cgroup/")
			}
			for how, spoil := range map[string]func(files map[string]string){
				"without it":         func(files map[string]string) { delete(files, name) },
				"with nothing in it": func(files map[string]string) { files[name] = "" },
				"with nonsense":      func(files map[string]string) { files[name] = "nonsense nobody understands\n" },
			} {
				m := goodMachine(t, id)
				if groups {
					spoil(m.groups)
				} else {
					spoil(m.files)
				}
				_, row := m.examine(id)
				if s := row.State(); s != Unknown && !excused(id, name) {
					t.Errorf("%s is %s, as %s with all of it, %s: %s: %+v", id, s, was, how, name, row.Results)
				}
			}
			removed(id, name)
		}
	}
}

// unasked is a broker whose one operation fails, and that knows which are asked for.
type unasked struct {
	Broker
	fails string

	mu    sync.Mutex // guards what follows
	asked map[string]bool
}

var errUnasked = errors.New("there is no such operation")

func (u *unasked) ask(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked[name] = true
	if name == u.fails {
		return errUnasked
	}
	return nil
}

// Report implements Broker.
func (u *unasked) Report(ctx context.Context) (r BrokerReport, err error) {
	if err := u.ask("Report"); err != nil {
		return r, err
	}
	return u.Broker.Report(ctx)
}

// AddProbe implements Broker.
func (u *unasked) AddProbe(ctx context.Context, grant bool) (r ProbeUser, err error) {
	if err := u.ask("AddProbe"); err != nil {
		return r, err
	}
	return u.Broker.AddProbe(ctx, grant)
}

// AddProbeBeside implements Broker.
func (u *unasked) AddProbeBeside(ctx context.Context, name string) (r ProbeUser, err error) {
	if err := u.ask("AddProbeBeside"); err != nil {
		return r, err
	}
	return u.Broker.AddProbeBeside(ctx, name)
}

// EndGrant implements Broker.
func (u *unasked) EndGrant(ctx context.Context, name string) error {
	if err := u.ask("EndGrant"); err != nil {
		return err
	}
	return u.Broker.EndGrant(ctx, name)
}

// EndProbe implements Broker.
func (u *unasked) EndProbe(ctx context.Context, name string) error {
	if err := u.ask("EndProbe"); err != nil {
		return err
	}
	return u.Broker.EndProbe(ctx, name)
}

// DenyProbe implements Broker.
func (u *unasked) DenyProbe(ctx context.Context, prints []string) error {
	if err := u.ask("DenyProbe"); err != nil {
		return err
	}
	return u.Broker.DenyProbe(ctx, prints)
}

// Chains implements Broker.
func (u *unasked) Chains(ctx context.Context) (r []ChainTrial, err error) {
	if err := u.ask("Chains"); err != nil {
		return r, err
	}
	return u.Broker.Chains(ctx)
}

// EndBan implements Broker.
func (u *unasked) EndBan(ctx context.Context, id string) error {
	if err := u.ask("EndBan"); err != nil {
		return err
	}
	return u.Broker.EndBan(ctx, id)
}

// ClientUser implements Broker.
func (u *unasked) ClientUser(ctx context.Context, id string) (r string, err error) {
	if err := u.ask("ClientUser"); err != nil {
		return r, err
	}
	return u.Broker.ClientUser(ctx, id)
}

// Refused implements Broker.
func (u *unasked) Refused(ctx context.Context, id string) (r RefusedConnect, err error) {
	if err := u.ask("Refused"); err != nil {
		return r, err
	}
	return u.Broker.Refused(ctx, id)
}

// Access implements Broker.
func (u *unasked) Access(ctx context.Context, q AccessQuestion) (r AccessAnswer, err error) {
	if err := u.ask("Access"); err != nil {
		return r, err
	}
	return u.Broker.Access(ctx, q)
}

// Rules implements Broker.
func (u *unasked) Rules(ctx context.Context) (r []string, err error) {
	if err := u.ask("Rules"); err != nil {
		return r, err
	}
	return u.Broker.Rules(ctx)
}

// probeRows are judged by probes.
var probeRows = []string{"P3.1", "P3.2", "P3.3", "P3.4", "P3.5", "P3.6", "P4.1", "P4.2", "P4.3", "P4.4", "P5.7"}

// goodProbed is a broker that passes the row.
func goodProbed(t *testing.T, id string) *Env {
	t.Helper()
	switch id {
	case "P3.4", "P3.5":
		r := newDeviceRig(t)
		r.listen("devices", "mqtts", "127.0.0.1:0")
		l := r.listener
		l.Protocol = config.ProtocolMQTTS
		r.env.Config.Listeners = map[string]config.Listener{"devices": l}
		r.env.Config.Authn.Chains = map[string][]string{"devices": r.chain}
		return r.alone(r.env)
	case "P3.3", "P3.6":
		s := newStapleRig(t, nil)
		s.stapled()
		s.listen("secure", "mqtts", "127.0.0.1:0")
		s.config = map[string]config.Listener{"secure": s.listener}
		return s.alone(s.env())
	}
	f := newFake(t, flaws{})
	f.config = map[string]config.Listener{"secure": {Protocol: "mqtts"}}
	f.listen("secure", "mqtts", "127.0.0.1:0")
	e := f.env()
	if id == "P5.7" {
		f.pages(e, "127.0.0.1:0", goodPages)
	}
	return f.alone(e)
}

// cleansUp tells whether an operation is no evidence of the row: a user that is not ended ends by
// himself within a minute, and in phase 3 one is made only so that the log has who probes.
func cleansUp(id, operation string) bool {
	return operation == "EndProbe" && id != "P4.1" || operation == "AddProbe" && strings.HasPrefix(id, "P3.")
}

// Every operation that a row asks of the broker counts: where it fails the row is not pass.
func TestEveryOperationThatIsAskedForCounts(t *testing.T) {
	t.Parallel()
	for _, id := range probeRows {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			e := goodProbed(t, id)
			all := &unasked{Broker: e.Broker, asked: map[string]bool{}}
			e.Broker = all
			if row := examine(t, e, id).Rows[0]; row.State() != Pass {
				t.Fatalf("%s: %+v", row.State(), row.Results)
			}
			for _, name := range slices.Sorted(maps.Keys(all.asked)) {
				e := goodProbed(t, id)
				e.Broker = &unasked{Broker: e.Broker, asked: map[string]bool{}, fails: name}
				row := examine(t, e, id).Rows[0]
				if row.State() != Unknown && !cleansUp(id, name) {
					t.Errorf("%s without %s: %+v", row.State(), name, row.Results)
				}
				removed(id, name)
			}
		})
	}
}

// Every figure and every setting that the process tells is evidence where a row shows it: without
// it the row is not pass.
func TestEveryFigureOfTheProcessCounts(t *testing.T) {
	t.Parallel()
	for _, id := range machineRows() {
		_, good := goodMachine(t, id).examine(id)
		try := func(what string, spoil func(b *BrokerReport)) {
			m := goodMachine(t, id)
			spoil(&m.report)
			_, row := m.examine(id)
			if shownAll(row) == shownAll(good) {
				return // it is not looked at
			}
			if s := row.State(); s != Unknown && !excused(id, what) {
				t.Errorf("%s is %s without %s: %+v", id, s, what, row.Results)
			}
			removed(id, what)
		}
		fields := reflect.TypeFor[BrokerReport]()
		for i := range fields.NumField() {
			try(fields.Field(i).Name, func(b *BrokerReport) { reflect.ValueOf(b).Elem().Field(i).SetZero() })
		}
		for key := range goodMachine(t, id).report.Settings {
			if excused(id, "settings") || slices.Contains(absentRows, id) {
				continue
			}
			try(key, func(b *BrokerReport) { delete(b.Settings, key) })
		}
	}
}

// ownPlaces are names and paths that differ from test to test.
var ownPlaces = regexp.MustCompile(`rdt[0-9]+|/tmp/[^ ,]*`)

// shownAll is what a row has seen, without figures of the socket that each test has for itself.
func shownAll(r *Row) string {
	out := ""
	for i := range r.Results {
		out += string(r.Results[i].State) + observed(&r.Results[i])
	}
	return ownPlaces.ReplaceAllString(out, "")
}
