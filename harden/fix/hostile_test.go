package fix

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
)

// Who has taken the broker's user over and can write the configuration names a file of
// root's as his key. Root gives it to nobody and closes it for nobody: it says what it is.
// Where the configuration is root's alone, it is done.
func TestAHostileConfigurationNamesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root changes what is somebody else's
	}
	const user = 4711
	for name, c := range map[string]struct {
		spoil func(s *stage, file, key string) error
		steps int
		words string
	}{
		"root's":           {func(*stage, string, string) error { return nil }, 1, ""},
		"of the broker's":  {func(_ *stage, file, _ string) error { return os.Chown(file, user, 0) }, 0, "redoubt.yaml belongs to user 4711"},
		"its group writes": {func(_ *stage, file, _ string) error { return os.Chmod(file, 0o664) }, 0, "has mode 0664"},
		"in his folder":    {func(s *stage, _, _ string) error { return os.Chown(s.dir, user, 0) }, 0, "belongs to user 4711, who could exchange"},
		"a link": {func(_ *stage, file, _ string) error {
			return errorsOf(os.Rename(file, file+".x"), os.Symlink(file+".x", file))
		}, 0, "links are not followed"},
		"his, and the key too": {func(_ *stage, file, key string) error {
			return errorsOf(os.Chown(file, user, 0), os.Chown(key, user, 0))
		}, 1, ""},
		"and root's broker": {func(s *stage, file, _ string) error {
			s.Owner = 0
			return os.Chown(file, user, 0)
		}, 0, "redoubt.yaml belongs to user 4711"},
	} {
		s := newStage(t)
		s.Owner = user
		key, file := filepath.Join(s.dir, "etc", "shadow"), filepath.Join(s.dir, "redoubt.yaml")
		write(t, key, "root:x\n", 0o640)
		o := s.order(t, found("P2.2", harden.Fail, harden.Want{Kind: harden.WantMode, Name: key, Clear: 0o077, Owner: -1}))
		if err := c.spoil(s, file, key); err != nil {
			t.Fatal(err)
		}
		p := s.make(t, o)
		manual := strings.Join(p.Rows[0].Manual, "\n")
		if len(p.Steps) != c.steps || !strings.Contains(manual, c.words) || (manual == "") != (c.steps > 0) || c.steps == 0 && !p.Open() {
			t.Errorf("%s: steps %q, manual %q", name, p.words(), manual)
		}
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// A journal has a file twice, in base64. What a run writes down it can read again, and
// what it could not it does not begin.
func TestALargeFileIsTakenBack(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(s.dir, "redoubt.yaml")
	text := "limits:\n  topic_levels: 20\n" + strings.Repeat("# "+strings.Repeat("x", 97)+"\n", 9_000)
	write(t, file, text, 0o644)
	p := s.make(t, s.order(t, found("P4.3", harden.Fail, want(harden.WantSetting, "limits.topic_levels", "10"))))
	if _, err := s.Apply(t.Context(), p, false, nil); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) == text {
		t.Fatalf("not written: %v", err)
	}
	if _, err := s.Rollback(t.Context(), "last", false); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != text {
		t.Errorf("%d bytes, %v", len(now), err)
	}
	huge := &Plan{Steps: []Step{{Kind: Mode, Name: filepath.Join(s.dir, "data", "key"), Note: strings.Repeat("x", journalBytesMax)}}}
	now, err := s.look(t.Context(), &huge.Steps[0])
	if err != nil {
		t.Fatal(err)
	}
	huge.Steps[0].Was, huge.Steps[0].Will = now, now
	if _, err := s.Apply(t.Context(), huge, false, nil); err == nil || !strings.Contains(err.Error(), "nothing was changed: the journal would be larger") {
		t.Errorf("%v", err)
	}
	if all, err := s.Runs(); err != nil || len(all) != 1 {
		t.Errorf("%d runs, %v", len(all), err)
	}
}

// A data directory with any number of open files is a plan of some of them.
func TestManyOpenFiles(t *testing.T) {
	s := newStage(t)
	var wants []harden.Want
	for i := range modesMax + 2 {
		path := filepath.Join(s.dir, "data", fmt.Sprintf("f%d", i))
		write(t, path, "", 0o644)
		wants = append(wants, harden.Want{Kind: harden.WantMode, Name: path, Clear: 0o077, Owner: -1})
	}
	p := s.make(t, s.order(t, found("P2.2", harden.Fail, wants...)))
	if len(p.Steps) != modesMax || len(p.Rows[0].Manual) != 1 || !strings.Contains(p.Rows[0].Manual[0], "chmod -R go= "+s.DataDir) {
		t.Errorf("%d steps, %q", len(p.Steps), p.Rows[0].Manual)
	}
}

// The script speaks to the broker that the plan is of, wherever it is run.
func TestTheScriptNamesItsBroker(t *testing.T) {
	p := &Plan{Command: "redoubt --config /srv/a.yaml", Steps: []Step{{Kind: Reload}, {Kind: Setting, Name: "limits.inflight", To: "32"}, {Kind: Listener, Name: "mqtts"}}}
	for _, want := range []string{"\nredoubt --config /srv/a.yaml reload\n", "\nredoubt --config /srv/a.yaml config set limits.inflight 32\n", "\nredoubt --config /srv/a.yaml listeners restart mqtts\n"} {
		if !strings.Contains(p.Script(), want) {
			t.Errorf("no %q in\n%s", want, p.Script())
		}
	}
	if p.Command = ""; !strings.Contains(p.Script(), "\nredoubt reload\n") {
		t.Error(p.Script())
	}
}

// Each limit has the words of where it is set.
func TestWordsOfLimits(t *testing.T) {
	for _, c := range []struct {
		name, words string
		byHand      bool
	}{
		{"LimitNOFILE", "ulimit -n 9 before", true},
		{"LimitCORE", "ulimit -c 9 before", true},
		{"TasksMax", "service with TasksMax=9", true},
		{"TasksMax", "docker run --pids-limit", false},
		{"LimitNOFILE", "docker run --ulimit", false},
	} {
		s := newStage(t)
		o := s.order(t, found("P1.1", harden.Fail, want(harden.WantUnit, c.name, "9")))
		o.Systemd, o.ByHand = false, c.byHand
		if got := strings.Join(s.make(t, o).Rows[0].Manual, "\n"); !strings.Contains(got, c.words) || strings.Contains(got, "ulimit - ") {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// What a configuration says gets into no line of its own of what root loads.
func TestNothingIsInjectedIntoRules(t *testing.T) {
	list := []harden.Port{{Name: "a\nflush ruleset", Addr: netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("x\nflush ruleset\n#"), 1883), Open: true}}
	for _, text := range []string{tableText(list, nil), policyText(list, nil)} {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "flush") {
				t.Errorf("a line of its own:\n%s", text)
			}
		}
	}
}
