package fix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// fakeBroker keeps settings, and counts what else it is told.
type fakeBroker struct {
	set             map[string]string
	reloads, opened int
	refuse          error
}

func (b *fakeBroker) RunTime(_ context.Context, key string) (string, bool, error) {
	v, ok := b.set[key]
	return v, ok, nil
}

func (b *fakeBroker) Set(_ context.Context, key, value string) error {
	if b.refuse != nil {
		return b.refuse
	}
	b.set[key] = value
	return nil
}

func (b *fakeBroker) Unset(_ context.Context, key string) error {
	delete(b.set, key)
	return nil
}

func (b *fakeBroker) Reload(context.Context) error { b.reloads++; return b.refuse }

func (b *fakeBroker) Reopen(context.Context, string) error { b.opened++; return nil }

// stage is a host in a folder: files, a kernel, nftables, a broker.
type stage struct {
	*World
	dir    string
	broker *fakeBroker
	table  string // in force, as nft lists it; empty: none
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{dir: dir, broker: &fakeBroker{set: map[string]string{"limits.inflight": "64"}}}
	s.World = &World{Root: filepath.Join(dir, "root"), Proc: filepath.Join(dir, "proc"), Clock: clock.System{}, UID: os.Geteuid(), GID: os.Getegid(), Owner: os.Geteuid(),
		DataDir: filepath.Join(dir, "data"), Broker: s.broker, Run: s.run}
	for path, text := range map[string]string{
		"root/etc/sysctl.d/60-redoubt.conf": marked("# ours\nfs.nr_open = 5\n"), "root/etc/keep": "somebody's\n",
		"proc/sys/net/core/somaxconn": "128\n", "data/key": "secret\n", "redoubt.yaml": "# mine\nlimits: # ours\n  topic_levels: 20\n", "data/sub/key": "secret\n",
	} {
		write(t, filepath.Join(dir, path), text, 0o644)
	}
	if err := os.Chmod(filepath.Join(dir, "root/etc/sysctl.d/60-redoubt.conf"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"data", "data/sub"} {
		if err := os.Chmod(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// run is a kernel with one table.
func (s *stage) run(_ context.Context, input []byte, name string, args ...string) ([]byte, error) {
	switch line := name + " " + strings.Join(args, " "); line {
	case "nft list table inet redoubt":
		if s.table == "" {
			return nil, &programError{name, args, "Error: No such file or directory"}
		}
		return []byte(s.table), nil
	case "nft -c -f -", "nft -f -":
		if strings.Contains(string(input), "mistake") {
			return nil, &programError{name, args, "syntax error"}
		}
		if args[0] == "-f" {
			if s.table = string(input); s.table == tableHead {
				s.table = ""
			} else {
				_, s.table, _ = strings.Cut(s.table, tableHead)
			}
		}
		return nil, nil
	case "systemctl daemon-reload", "systemctl --version":
		return nil, nil
	default:
		return nil, fmt.Errorf("nobody runs %s", line)
	}
}

// snapshot is everything there is, journals and times aside.
func (s *stage) snapshot(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"table": s.table, "settings": fmt.Sprint(s.broker.set)}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.Contains(path, "/redoubt-fix") || strings.HasSuffix(path, "/data/fix") {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := []byte{}
		if fi.Mode().IsRegular() {
			text, err = os.ReadFile(path)
		}
		st := fi.Sys().(*syscall.Stat_t)
		out[strings.TrimPrefix(path, s.dir)] = fmt.Sprintf("%v %d:%d %s", fi.Mode(), st.Uid, st.Gid, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"var", "var/lib"} { // for journals
		delete(out, filepath.Join("/root", made))
	}
	return out
}

// plan is one of every kind that can be had here.
func (s *stage) plan(t *testing.T) *Plan {
	t.Helper()
	p := &Plan{Rows: []Row{{ID: "P0.1-test", Steps: []int{1}}}}
	add := func(step Step) {
		t.Helper()
		now, err := s.look(t.Context(), &step)
		if err != nil {
			t.Fatal(err)
		}
		if step.Was = now; step.Kind == Mode {
			step.Will = now
			step.Will.Mode &^= 0o077
		}
		step.Rows = []string{"P0.1"}
		p.Steps = append(p.Steps, step)
	}
	mine := State{Mode: 0o644, UID: s.UID, GID: s.GID}
	with := func(text string, mode uint32) State {
		w := mine
		w.Content, w.Mode = []byte(text), mode
		return w
	}
	add(Step{Kind: File, Name: sysctlFile, Will: with(marked("# ours\nfs.nr_open = 9\n"), 0o640)})
	add(Step{Kind: File, Name: limitsFile, Will: with(marked("[Service]\nLimitNOFILE=9\n"), 0o644)})
	add(Step{Kind: File, Name: filepath.Join(s.dir, "redoubt.yaml"), Will: with("# mine\nlimits: # ours\n  topic_levels: 10\n", 0o644)})
	add(Step{Kind: Mode, Name: filepath.Join(s.dir, "data/key")})
	add(Step{Kind: Mode, Name: filepath.Join(s.dir, "data/sub/key")})
	if s.UID == 0 {
		add(Step{Kind: Sysctl, Name: "net.core.somaxconn", Will: State{Value: "4096"}})
		add(Step{Kind: Table, Name: "inet redoubt", Will: tableState(tableText(ports(), nil))})
	}
	add(Step{Kind: Setting, Name: "limits.inflight", Will: State{Value: "32"}})
	add(Step{Kind: Setting, Name: "limits.subscriptions", Will: State{Value: "10"}})
	add(Step{Kind: Reload})
	add(Step{Kind: Listener, Name: "mqtts"})
	return p
}

func differences(a, b map[string]string) (out []string) {
	for k := range a {
		if a[k] != b[k] {
			out = append(out, fmt.Sprintf("%s: %q, and now %q", k, a[k], b[k]))
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k+" is new: "+b[k])
		}
	}
	return out
}

// A run does all of it and can be taken back, byte for byte, with modes, owners and what
// was not there. Its journal is nobody else's to read.
func TestApplyAndRollback(t *testing.T) {
	s := newStage(t)
	before := s.snapshot(t)
	p := s.plan(t)
	run, err := s.Apply(t.Context(), p, false, func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	after := s.snapshot(t)
	if len(differences(before, after)) < 8 || s.broker.set["limits.inflight"] != "32" || s.broker.reloads != 1 || s.broker.opened != 1 {
		t.Errorf("too little has changed: %v, %+v", differences(before, after), s.broker)
	}
	for i := range p.Steps {
		if now, err := s.look(t.Context(), &p.Steps[i]); err != nil || !p.Steps[i].Kind.effect() && !p.Steps[i].same(now, p.Steps[i].Will) {
			t.Errorf("%s: %v, %+v", p.Steps[i].Words(), err, now)
		}
	}
	fi, err := os.Stat(filepath.Join(s.journalFolder(), run+".json"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the journal: %v, %v", fi.Mode(), err)
	}
	j, err := s.Rollback(t.Context(), "last", false)
	if err != nil || j.Run != run {
		t.Fatal(err)
	}
	if d := differences(before, s.snapshot(t)); len(d) > 0 {
		t.Errorf("not as before: %q", d)
	}
	if s.broker.reloads != 2 || s.broker.opened != 2 {
		t.Errorf("the broker was not told: %+v", s.broker)
	}
	if _, err := s.Rollback(t.Context(), run, false); err == nil || !strings.Contains(err.Error(), "rolled back already") {
		t.Errorf("a second time: %v", err)
	}
	if _, err := s.Rollback(t.Context(), "", false); err == nil || !strings.Contains(err.Error(), "no run to roll back") {
		t.Errorf("nothing is left: %v", err)
	}
}

// Killed at every point between two changes, a run leaves a journal from which all of it is
// put back; and so does a rollback that is killed. Another run is refused until then.
func TestKilledAnywhere(t *testing.T) {
	killed := errors.New("killed")
	for point := 1; ; point++ {
		s := newStage(t)
		before := s.snapshot(t)
		p := s.plan(t)
		s.Crash = func(n int) error {
			if n == point {
				return killed
			}
			return nil
		}
		run, err := s.Apply(t.Context(), p, false, nil)
		if err == nil {
			if point < 2*len(p.Steps) {
				t.Errorf("there are only %d points", point)
			}
			break
		}
		if !errors.Is(err, killed) || run == "" {
			t.Fatalf("point %d: %q, %v", point, run, err)
		}
		s.Crash = nil
		if _, err := s.Apply(t.Context(), p, false, nil); err == nil || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("point %d: another run beside it: %v", point, err)
		}
		for second := 1; ; second++ { // the rollback is killed, too, again and again
			s.points = 0
			s.Crash = func(n int) error {
				if n == second {
					return killed
				}
				return nil
			}
			if _, err = s.Rollback(t.Context(), run, false); err == nil {
				break
			}
			if !errors.Is(err, killed) || second > 100 {
				t.Fatalf("point %d, %d of the rollback: %v", point, second, err)
			}
		}
		if d := differences(before, s.snapshot(t)); len(d) > 0 {
			t.Errorf("point %d: not as before: %q", point, d)
		}
	}
}

// A step that fails, and a broker that no longer serves, put everything back at once.
func TestFailurePutsBack(t *testing.T) {
	for name, spoil := range map[string]func(*stage) func(context.Context) error{
		"the broker refuses a setting": func(s *stage) func(context.Context) error { s.broker.refuse = errors.New("no"); return nil },
		"the broker does not serve": func(*stage) func(context.Context) error {
			return func(context.Context) error { return errors.New("nobody gets in") }
		},
	} {
		s := newStage(t)
		before := s.snapshot(t)
		p := s.plan(t)
		check := spoil(s)
		run, err := s.Apply(t.Context(), p, false, check)
		if err == nil || run != "" && check != nil {
			t.Errorf("%s: %q, %v", name, run, err)
		}
		if d := differences(before, s.snapshot(t)); len(d) > 0 {
			t.Errorf("%s: not as before: %q", name, d)
		}
	}
}

// Everything is judged before the first change.
func TestJudgedFirst(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *stage, *Plan){
		"somebody's file": func(_ *testing.T, _ *stage, p *Plan) { p.Steps[0].Foreign = "somebody else has made it" },
		"changed since": func(t *testing.T, s *stage, _ *Plan) {
			write(t, filepath.Join(s.dir, "redoubt.yaml"), "other\n", 0o644)
		},
		"the broker is gone": func(_ *testing.T, s *stage, _ *Plan) { s.Broker = nil },
		"a setting not of a host's": func(_ *testing.T, _ *stage, p *Plan) {
			p.Steps = append(p.Steps, Step{Kind: Sysctl, Name: "kernel.core_pattern"})
		},
		"out of its folder": func(_ *testing.T, _ *stage, p *Plan) {
			p.Steps = append(p.Steps, Step{Kind: Sysctl, Name: "net.../../kernel/x"})
		},
	} {
		s := newStage(t)
		p := s.plan(t)
		spoil(t, s, p)
		before := s.snapshot(t)
		if _, err := s.Apply(t.Context(), p, false, nil); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %v", name, err)
		}
		if d := differences(before, s.snapshot(t)); len(d) > 0 || s.broker.reloads > 0 {
			t.Errorf("%s: something has changed: %q", name, d)
		}
	}
}

// What somebody has changed after a run is his: nothing is put back, unless that is asked for.
func TestRollbackOverOthersChanges(t *testing.T) {
	s := newStage(t)
	before := s.snapshot(t)
	if _, err := s.Apply(t.Context(), s.plan(t), false, nil); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.Root, limitsFile), "[Service]\nLimitNOFILE=77\n", 0o644)
	changed := s.snapshot(t)
	if _, err := s.Rollback(t.Context(), "last", false); err == nil || !strings.Contains(err.Error(), "--force") || len(differences(changed, s.snapshot(t))) > 0 {
		t.Errorf("%v, %q", err, differences(changed, s.snapshot(t)))
	}
	if _, err := s.Rollback(t.Context(), "last", true); err != nil {
		t.Fatal(err)
	}
	if d := differences(before, s.snapshot(t)); len(d) > 0 {
		t.Errorf("not as before: %q", d)
	}
}

// Journals come in the order of their runs, and one that others could have written is not
// believed: what it says is what root writes.
func TestJournalOfOthers(t *testing.T) {
	s := newStage(t)
	run, err := s.Apply(t.Context(), s.plan(t), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.journalFolder(), run+".json")
	for _, mode := range []os.FileMode{0o660, 0o606, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Rollback(t.Context(), run, true); err == nil || !strings.Contains(err.Error(), "not believed") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.journalFolder(), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(run); err == nil || !strings.Contains(err.Error(), "others could exchange") {
		t.Errorf("a folder that is open: %v", err)
	}
	if err := os.Chmod(s.journalFolder(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../x", "last/..", run + "/../" + run} {
		if _, err := s.Rollback(t.Context(), name, false); err == nil {
			t.Errorf("%q is a run", name)
		}
	}
}

// Two runs at a time would each write down what the other has half done.
func TestOneAtATime(t *testing.T) {
	s := newStage(t)
	release, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), s.plan(t), false, nil); err == nil || !strings.Contains(err.Error(), "another redoubt fix") {
		t.Error(err)
	}
	release()
	if _, err := s.Apply(t.Context(), s.plan(t), false, nil); err != nil {
		t.Error(err)
	}
}

// Names of runs sort by time, and no two are the same.
func TestRunNames(t *testing.T) {
	s, seen := newStage(t), map[string]bool{}
	for range 100 {
		run := newRun(s.World)
		if !runName.MatchString(run) || seen[run] || !strings.HasPrefix(run, time.Now().UTC().Format("2006")) {
			t.Fatalf("%q", run)
		}
		seen[run] = true
	}
}
