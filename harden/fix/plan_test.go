package fix

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
)

// found is a report with one finding.
func found(id string, state harden.State, wants ...harden.Want) *harden.Report {
	checks, err := harden.Select(harden.Checks, []string{id})
	if err != nil {
		panic(err)
	}
	return &harden.Report{Node: "n", Rows: []harden.Row{{Check: checks[0], Results: []harden.Result{{Scope: "node", State: state, Summary: "as it is", Fix: "do something", Wants: wants}}}}}
}

// order is one on the configuration of the stage.
func (s *stage) order(t *testing.T, rep *harden.Report) *Order {
	t.Helper()
	file := filepath.Join(s.dir, "redoubt.yaml")
	opts := config.Options{File: file, DataDir: filepath.Join(s.dir, "data"), Now: time.Now(), Hostname: "n"}
	loaded, err := config.Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	return &Order{Report: rep, Named: true, Loaded: loaded, File: file, Systemd: true, ByHand: true,
		Judge: func(text string) error { _, err := config.LoadText(opts, text); return err },
		Ports: func() ([]harden.Port, bool, error) { return ports(), true, nil }}
}

func (s *stage) make(t *testing.T, o *Order) *Plan {
	t.Helper()
	p, err := Make(t.Context(), s.World, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// words are the steps of a plan in short.
func (p *Plan) words() string {
	var out []string
	for i := range p.Steps {
		out = append(out, string(p.Steps[i].Kind)+" "+filepath.Base(p.Steps[i].Name)+" "+p.Steps[i].To)
	}
	return strings.Join(out, "|")
}

func want(kind harden.WantKind, name, value string) harden.Want {
	return harden.Want{Kind: kind, Name: name, Value: value, Owner: -1}
}

// Each want becomes the steps that it takes, in an order in which they count.
func TestStepsOfWants(t *testing.T) {
	for name, c := range map[string]struct {
		row  string
		want harden.Want
		prep func(*stage, *Order)
		words, manual,
		text string // in a difference
	}{
		"a setting of the kernel":     {row: "P1.3a", want: want(harden.WantSysctl, "net.core.somaxconn", "4096"), words: "file 60-redoubt.conf |sysctl net.core.somaxconn 4096", text: "+# redoubt: P1.3a wants 4096 or more; it was 128 when this was written\n+net.core.somaxconn = 4096"},
		"one that would be lowered":   {row: "P1.3b", want: want(harden.WantSysctl, "net.core.somaxconn", "64"), manual: "lowers no value"},
		"one that is not there":       {row: "P1.3b", want: want(harden.WantSysctl, "net.core.nothing", "64"), manual: "cannot be read"},
		"a module":                    {row: "P1.3b", want: want(harden.WantModule, "nf_conntrack hashsize", "64"), words: "file 60-redoubt.conf ", text: "+options nf_conntrack hashsize=64", manual: "cannot be read"},
		"a limit of the unit":         {row: "P1.2", want: want(harden.WantUnit, "LimitNOFILE", "1048576"), words: "file 10-limits.conf ", text: "+[Service]\n+\n+# redoubt: P1.2 wants it\n+LimitNOFILE=1048576"},
		"one of another unit":         {row: "P1.2", want: want(harden.WantUnit, "LimitNOFILE", "9"), prep: func(_ *stage, o *Order) { o.Unit = "mqtt.service" }, manual: "systemctl edit mqtt.service"},
		"one of a container":          {row: "P1.2", want: want(harden.WantUnit, "LimitNOFILE", "9"), prep: func(_ *stage, o *Order) { o.ByHand, o.Systemd = false, false }, manual: "docker run --ulimit"},
		"by hand, without systemd":    {row: "P1.2", want: want(harden.WantUnit, "LimitNOFILE", "9"), prep: func(_ *stage, o *Order) { o.Systemd = false }, manual: "ulimit -n 9"},
		"a sandbox":                   {row: "P1.9", want: want(harden.WantSandbox, "", ""), prep: func(s *stage, o *Order) { o.Unit, s.Direct = "redoubt.service", true }, words: "file 20-sandbox.conf |units . ", text: "+NoNewPrivileges=yes"},
		"a sandbox of no unit":        {row: "P1.9", want: want(harden.WantSandbox, "", ""), manual: "not the unit of the package"},
		"a key of run time":           {row: "P4.3", want: want(harden.WantSetting, "limits.inflight", "32"), words: "setting limits.inflight 32"},
		"one that stands in the file": {row: "P4.3", want: want(harden.WantSetting, "limits.topic_levels", "10"), words: "file redoubt.yaml |reload . ", text: "-  topic_levels: 20\n+  topic_levels: 10"},
		"without a broker":            {row: "P4.3", want: want(harden.WantSetting, "limits.inflight", "32"), prep: func(s *stage, _ *Order) { s.Broker = nil }, words: "file redoubt.yaml ", text: "+  inflight: 32"},
		"one that is refused":         {row: "P4.3", want: want(harden.WantSetting, "limits.inflight", "0"), manual: "refused"},
		"refused in the file":         {row: "P4.3", want: want(harden.WantSetting, "limits.topic_levels", "0"), manual: "would be refused"},
		"a reload":                    {row: "P3.3", want: want(harden.WantReload, "", ""), words: "reload . "},
		"a listener":                  {row: "P1.3a", want: want(harden.WantListener, "mqtts", ""), words: "listener mqtts "},
		"a listener of nobody":        {row: "P1.3a", want: want(harden.WantListener, "mqtts", ""), prep: func(s *stage, _ *Order) { s.Broker = nil }, manual: "start the broker again"},
		"a packet filter":             {row: "P1.4", want: want(harden.WantFirewall, "", ""), words: "file 60-redoubt.nft |file 30-firewall.conf |table inet redoubt ", text: "+ExecStartPre=-+/usr/sbin/nft -f /etc/nftables.d/60-redoubt.nft"},
		"ports that nobody knows": {row: "P1.4", want: want(harden.WantFirewall, "", ""), prep: func(_ *stage, o *Order) {
			o.Ports = func() ([]harden.Port, bool, error) { return nil, false, errors.New("port 0") }
		}, manual: "not known: port 0"},
	} {
		s := newStage(t)
		o := s.order(t, found(c.row, harden.Fail, c.want))
		if c.prep != nil {
			c.prep(s, o)
		}
		before := s.snapshot(t)
		p := s.make(t, o)
		var diffs string
		for i := range p.Steps {
			diffs += p.Steps[i].Diff
		}
		manual := strings.Join(p.Rows[0].Manual, "\n")
		if p.words() != c.words || !strings.Contains(manual, c.manual) || (c.manual == "") != (manual == "") || !strings.Contains(diffs, c.text) {
			t.Errorf("%s: steps %q, want %q; manual %q; differences\n%s", name, p.words(), c.words, manual, diffs)
		}
		if d := differences(before, s.snapshot(t)); len(d) > 0 {
			t.Errorf("%s: a plan has changed something: %q", name, d)
		}
	}
}

// What is well, accepted or not seen wants nothing, whatever stands beside it.
func TestNothingToDo(t *testing.T) {
	for state, note := range map[harden.State]string{harden.Pass: "nothing to do", harden.NotApplicable: "nothing to do", harden.Waived: "accepted", harden.Manual: "for a person to look at", harden.Unknown: "not seen"} {
		s := newStage(t)
		p := s.make(t, s.order(t, found("P1.3a", state, want(harden.WantSysctl, "net.core.somaxconn", "4096"))))
		if len(p.Steps) > 0 || p.Open() || !strings.Contains(p.Rows[0].Note, note) {
			t.Errorf("%s: %+v", state, p)
		}
	}
}

// What shuts out clients is done for a row that is named, and only said for all of them.
func TestCuts(t *testing.T) {
	w := harden.Want{Kind: harden.WantSetting, Name: "limits.inflight", Value: "32", Cuts: "everybody"}
	s := newStage(t)
	o := s.order(t, found("P4.3", harden.Warn, w))
	if p := s.make(t, o); len(p.Steps) != 1 || p.Steps[0].Cuts != "everybody" {
		t.Errorf("named: %+v", p)
	}
	o.Named = false
	if p := s.make(t, o); len(p.Steps) != 0 || !p.Open() || !strings.Contains(p.Rows[0].Manual[0], "shuts out everybody") {
		t.Errorf("all: %+v", p)
	}
}

// A file with our name that somebody else wrote takes --force, which keeps his lines.
func TestSomebodysFile(t *testing.T) {
	s := newStage(t)
	file := filepath.Join(s.Root, sysctlFile)
	write(t, file, "# mine\nvm.swappiness = 1\n", 0o644)
	p := s.make(t, s.order(t, found("P1.3a", harden.Fail, want(harden.WantSysctl, "net.core.somaxconn", "4096"))))
	if len(p.Foreign()) != 1 || !strings.Contains(p.Steps[0].Line(), "takes --force") {
		t.Fatalf("%+v", p)
	}
	if s.UID != 0 { // the setting itself is root's
		return
	}
	if _, err := s.Apply(t.Context(), p, false, nil); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Error(err)
	}
	if _, err := s.Apply(t.Context(), p, true, nil); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "\n# mine\nvm.swappiness = 1\n") || !strings.Contains(string(text), "net.core.somaxconn = 4096") {
		t.Errorf("%s, %v", text, err)
	}
	p = s.make(t, s.order(t, found("P1.3a", harden.Fail, want(harden.WantSysctl, "net.core.somaxconn", "4096"))))
	if len(p.Steps) != 0 {
		t.Errorf("a second time: %s", p.words())
	}
}

// A key that only a group could read is given to the broker, so that it still can; a file
// that others could change stays whose it is.
func TestModesOfWants(t *testing.T) {
	s := newStage(t)
	s.Owner = 4711
	key := filepath.Join(s.dir, "data", "key")
	for clear, uid := range map[os.FileMode]int{0o077: 4711, 0o022: 0} {
		p := s.make(t, s.order(t, found("P2.2", harden.Fail, harden.Want{Kind: harden.WantMode, Name: key, Clear: clear, Owner: -1})))
		if len(p.Steps) == 0 && clear == 0o022 { // 0644 is closed enough
			continue
		}
		if got := p.Steps[0].Will; s.UID == 0 && got.UID != uid || got.Mode != 0o644&^uint32(clear) {
			t.Errorf("%04o: %+v", clear, got)
		}
	}
	sub := filepath.Join(s.dir, "data", "sub")
	rep := found("P2.2", harden.Fail, harden.Want{Kind: harden.WantMode, Name: filepath.Join(sub, "key"), Clear: 0o077, Owner: -1},
		harden.Want{Kind: harden.WantMode, Name: sub, Clear: 0o070, Owner: 4711}, harden.Want{Kind: harden.WantMode, Name: sub, Clear: 0o007, Owner: -1})
	if err := os.Chmod(sub, 0o777); err != nil {
		t.Fatal(err)
	}
	p := s.make(t, s.order(t, rep))
	if len(p.Steps) != 2 || p.Steps[0].Name != sub || p.Steps[0].Will.Mode != 0o700 || p.Steps[0].Will.UID != 4711 {
		t.Errorf("a folder comes before what is in it: %s", p.words())
	}
	if err := os.Symlink(key, key+".link"); err != nil {
		t.Fatal(err)
	}
	p = s.make(t, s.order(t, found("P2.2", harden.Fail, harden.Want{Kind: harden.WantMode, Name: key + ".link", Clear: 0o077, Owner: -1})))
	if len(p.Steps) != 0 || !strings.Contains(p.Rows[0].Manual[0], "links are not followed") {
		t.Errorf("a link: %+v", p)
	}
}

// The folder of files has all that is installed, the script that does it is one that sh
// takes, and a folder with something in it is left alone.
func TestWriteDir(t *testing.T) {
	s := newStage(t)
	rep := found("P1.4", harden.Fail, want(harden.WantFirewall, "", ""))
	rep.Rows = append(rep.Rows, found("P1.3a", harden.Fail, want(harden.WantSysctl, "net.core.somaxconn", "4096"), want(harden.WantListener, "mqtts", "")).Rows...)
	rep.Rows = append(rep.Rows, found("P1.12", harden.Fail).Rows...)
	p := s.make(t, s.order(t, rep))
	dir := filepath.Join(t.TempDir(), "change")
	files, err := p.WriteDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{sysctlFile, tableFile, firewallFile, "/networkpolicy.yaml", "/apply.sh", "/README.md"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(text) == 0 || !slices.Contains(files, filepath.Join(dir, name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	script := p.Script()
	for _, line := range []string{"install -m 0640", "sysctl -w net.core.somaxconn=4096", "nft -c -f ./etc/nftables.d/60-redoubt.nft && nft -f", "redoubt listeners restart mqtts"} {
		if !strings.Contains(script, line) {
			t.Errorf("the script has no %s\n%s", line, script)
		}
	}
	if text := p.readme(); !strings.Contains(text, "by hand: do something") {
		t.Errorf("%s", text)
	}
	if _, err := p.WriteDir(dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second time: %v", err)
	}
}

// The text and the JSON of a plan have every step, and steer no terminal.
func TestPlanIsShown(t *testing.T) {
	s := newStage(t)
	rep := found("P4.3", harden.Warn, want(harden.WantSetting, "limits.topic_levels", "10"))
	rep.Rows[0].Results[0].Summary = "evil \x1b[31m\nline"
	p := s.make(t, s.order(t, rep))
	var out bytes.Buffer
	if err := p.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.Contains(text, "step 1  write ") || !strings.Contains(text, "+  topic_levels: 10") || strings.Contains(text, "\x1b") || p.Summary() != "2 steps, for 1 row" {
		t.Errorf("%s\n%s", text, p.Summary())
	}
	b, err := json.Marshal(p)
	var back Plan
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || len(back.Steps) != 2 || back.Rows[0].Steps[0] != 1 || back.Source != FromBroker {
		t.Errorf("%v: %s", err, b)
	}
}

// A hard limit is raised where that is allowed, and never lowered.
func TestLiveLimit(t *testing.T) {
	for _, c := range []struct {
		now, wanted string
		raise       bool
		want        string
	}{
		{"512:4096", "1024", true, "1024:4096"}, {"512:4096", "8192", true, "8192:8192"}, {"512:4096", "8192", false, "4096:4096"},
		{"4096:4096", "8192", false, "4096:4096"}, {"9000:9000", "8192", true, "9000:9000"}, {"77:99", "0", true, "0:99"}, {"no:thing", "1", true, "no:thing"},
	} {
		if got := liveLimit(c.now, c.wanted, c.raise); got != c.want {
			t.Errorf("%s, %s wanted, raised %v: %s", c.now, c.wanted, c.raise, got)
		}
	}
}
