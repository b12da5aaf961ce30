package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/client/bench"
)

var rewrite = flag.Bool("rewrite", false, "record the table of rows in docs/performance/comparison.md")

// The table of rows in the documentation is that of the tool, row for row.
func TestTheDocumentedRows(t *testing.T) {
	const path, begin, end = "../../../docs/performance/comparison.md", "<!-- rows: go test ./internal/tools/benchcompare -rewrite -->\n", "<!-- end of rows -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	want := documented()
	if *rewrite {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("the rows in %s are stale: run go test ./internal/tools/benchcompare -rewrite", path)
	}
}

// documented is the table of rows, in Markdown.
func documented() string {
	var b strings.Builder
	b.WriteString("| Row | What | Unit | Must reach | Aim |\n| --- | --- | --- | ---: | ---: |\n")
	for i := range rows {
		r := rows[i].begin(1)
		fmt.Fprintf(&b, "| `%s` | %s %s | %s | %s | %s |\n", r.Name, grouped(r.Clients), r.Title, r.Unit, r.limit(r.Must), r.limit(r.Aim))
	}
	return b.String()
}

// Rows are told apart by name, and figures of one run have one load.
func TestRowsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range groups(rows) {
		for _, r := range g {
			if seen[r.name] {
				t.Errorf("%s is there twice", r.name)
			}
			seen[r.name] = true
			if r.args != nil && strings.Join(r.args(9), " ") != strings.Join(g[0].args(9), " ") || r.clients != g[0].clients || r.door() != g[0].door() {
				t.Errorf("%s is no figure of the run of %s", r.name, g[0].name)
			}
		}
	}
	if some, err := choose("flood-hello-life,start,flood-hello"); err != nil || len(groups(some)) != 2 || len(groups(some)[1]) != 2 {
		t.Errorf("%v, %v", groups(some), err)
	}
}

// Floods are measured with the same option of Mosquitto's as every other latency, by the worst of their
// rounds.
func TestFloodsAreMeasuredAsLatencyIs(t *testing.T) {
	for i := range floodRows {
		r := &floodRows[i]
		if !r.setup().nodelay || strings.HasSuffix(r.name, "-p99") != (r.worst && r.unit == "times before") {
			t.Errorf("%s: %+v", r.name, r)
		}
	}
	for i := range isolationRows {
		if !isolationRows[i].worst {
			t.Errorf("%s is judged by its best round", isolationRows[i].name)
		}
	}
	if (&row{name: "p2p-q0"}).setup().nodelay {
		t.Error("processor time is measured with it")
	}
}

func TestFewerRounds(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 6: 3} {
		if got := (&row{often: half}).rounds(n); got != want {
			t.Errorf("%d of %d, want %d", got, n, want)
		}
	}
	for _, r := range latencyRows {
		if want := map[bool]int{true: 6, false: 1}[r.group == "latency"]; r.rounds(3) != want {
			t.Errorf("%s has %d of 3 rounds, want %d", r.name, r.rounds(3), want)
		}
	}
}

// Limits of a figure itself need no Mosquitto, a promise is judged by its worst round, and what has
// no limit has no verdict.
func TestLimitsOfTheFigureItself(t *testing.T) {
	for name, c := range map[string]struct {
		row           row
		ours, theirs  []float64
		best          float64
		verdict, must string
	}{
		"aim":             {row{own: true, must: .5, aim: .2}, []float64{.3, .2}, nil, .2, "aim, 2 rounds", "<= 0.5 itself"},
		"reached":         {row{own: true, must: .5, aim: .2}, []float64{.3, .4}, []float64{.1}, .3, "reached, 2 rounds", "<= 0.5 itself"},
		"the worst":       {row{own: true, must: 10, aim: 10, worst: true}, []float64{9.8, 10.1}, nil, 10.1, "missed, 2 rounds", "<= 10 itself"},
		"nothing is lost": {row{own: true, worst: true}, []float64{0, 0}, []float64{100, 100}, 0, "aim, 2 rounds", "<= 0 itself"},
		"one is lost":     {row{own: true, worst: true}, []float64{0, .01}, []float64{100, 100}, .01, "missed, 2 rounds", "<= 0 itself"},
		"no limit":        {row{}, []float64{2}, []float64{4}, 2, "", "-"},
		"a ratio":         {row{must: 1, aim: .5}, []float64{2}, []float64{4}, 2, "aim, 1 round", "<= 1.00"},
		"nobody's ratio":  {row{must: 1, aim: .5}, []float64{2}, []float64{0}, 2, "", "<= 1.00"},
	} {
		r := c.row.begin(1)
		r.Redoubt, r.Mosquitto = side(c.ours...), side(c.theirs...)
		r.judge(1)
		if r.Redoubt.Best != c.best || r.Verdict != c.verdict || r.limit(r.Must) != c.must {
			t.Errorf("%s: best %v, %q, %q", name, r.Redoubt.Best, r.Verdict, r.limit(r.Must))
		}
	}
}

// What the generator answers becomes a figure, or none.
func TestFiguresOfMemoryAndFloods(t *testing.T) {
	flood := &bench.FloodReport{Opened: 9, Open: 4, Resident: 3 << 10, LifeMax: 9.94, Oldest: 10.04, P99Ratio: 1.5}
	for name, c := range map[string]struct {
		of   func(*usage) float64
		rep  bench.Report
		want float64
	}{
		"memory":            {each, bench.Report{Memory: &bench.MemoryReport{Each: 512}}, .5},
		"less than nothing": {each, bench.Report{Memory: &bench.MemoryReport{Each: -5}}, 0},
		"no memory":         {each, bench.Report{}, math.NaN()},
		"size":              {strangerSize, bench.Report{Flood: flood}, 3},
		"given back":        {strangerSize, bench.Report{Flood: &bench.FloodReport{Open: 1, Resident: -5}}, math.NaN()},
		"none was held":     {strangerSize, bench.Report{Flood: &bench.FloodReport{Opened: 1}}, math.NaN()},
		"life":              {strangerLife, bench.Report{Flood: flood}, 10},
		"nobody came":       {strangerLife, bench.Report{Flood: &bench.FloodReport{}}, math.NaN()},
		"their own latency": {strangerLatency, bench.Report{Flood: flood}, math.NaN()},
		"resumed":           {cpuPerResumed, bench.Report{Broker: &bench.BrokerReport{CPUSeconds: 1}, Connections: bench.ConnectionsReport{Connected: 100, Resumed: 90}}, 100},
		"not resumed":       {cpuPerResumed, bench.Report{Broker: &bench.BrokerReport{CPUSeconds: 1}, Connections: bench.ConnectionsReport{Connected: 100, Resumed: 89}}, 0},
	} {
		got := c.of(&usage{report: &c.rep})
		if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestLostPart(t *testing.T) {
	sent := func(n uint64) *bench.SentReport { return &bench.SentReport{Acknowledged: n} }
	if got, err := lostPart(&bench.Report{Sent: sent(400), Offline: &bench.OfflineReport{Lost: 3}}); got != .75 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, rep := range []bench.Report{{}, {Sent: sent(5)}, {Sent: sent(0), Offline: &bench.OfflineReport{}}} {
		if got, err := lostPart(&rep); err == nil {
			t.Errorf("%+v: %v", rep, got)
		}
	}
}

func TestConnack(t *testing.T) {
	for _, bad := range [][4]byte{{}, {0x20, 2, 0, 5}, {0x20, 3, 0, 0}, {0x30, 2, 0, 0}} {
		if connackError(bad, false) == nil {
			t.Errorf("%x is one", bad)
		}
	}
	if err := connackError([4]byte{0x20, 2, 1, 0}, true); err != nil {
		t.Error(err)
	}
	if err := connackError([4]byte{0x20, 2, 0, 0}, false); err != nil {
		t.Error(err)
	}
	if err := connackError([4]byte{0x20, 2, 0, 0}, true); !errors.Is(err, errNoSession) {
		t.Errorf("a session that is not there: %v", err)
	}
}

// A loss is a figure where it is measured, and a failure elsewhere; so is everything else.
func TestReportsOfTheGenerator(t *testing.T) {
	one, two := exec.Command("sh", "-c", "exit 1").Run(), exec.Command("sh", "-c", "exit 2").Run()
	for name, c := range map[string]struct {
		lossy bool
		out   string
		ended error
		want  string // of the error; empty: none
	}{
		"well":           {false, `{"seconds":2}`, nil, ""},
		"a loss":         {true, `{"seconds":2}`, one, ""},
		"a failure":      {false, `{"seconds":2}`, one, "exit status 1: broken"},
		"no report":      {true, ``, one, "exit status 1: broken"},
		"used wrongly":   {true, `{"seconds":2}`, two, "exit status 2"},
		"not started":    {true, `{"seconds":2}`, errors.New("x"), "x"},
		"interrupted":    {false, `{"seconds":2,"interrupted":true}`, nil, "interrupted"},
		"refused":        {false, `{"connections":{"connected":9,"failed":4,"failed_by_reason":{"closed":4}}}`, nil, "4 connections failed map[closed:4]"},
		"ended":          {false, `{"connections":{"connected":9,"ended_by_reason":{"reset":2}},"memory":{}}`, nil, "ended map[reset:2]"},
		"visitors":       {false, `{"seconds":2,"connections":{"connected":9,"failed":4},"memory":{}}`, nil, ""},
		"killed":         {true, `{"seconds":2,"connections":{"connected":9,"failed":4,"ended_by_reason":{"reset":2}}}`, nil, ""},
		"some lost":      {false, `{"seconds":2,"sent":{"messages":9000},"delivered":{"messages":8991,"lost":9}}`, nil, ""},
		"many lost":      {false, `{"seconds":2,"sent":{"messages":9000},"delivered":{"messages":8990,"lost":10}}`, nil, "10 of 9000 messages"},
		"a flood":        {false, `{"seconds":2,"sent":{"messages":9000},"delivered":{"messages":10,"lost":8990},"flood":{}}`, nil, ""},
		"the rate":       {false, `{"seconds":2,"latency_ms":{"count":190}}`, nil, ""},
		"another rate":   {false, `{"seconds":2,"latency_ms":{"count":189}}`, nil, "the rate was not kept"},
		"something else": {false, `usage`, nil, "no JSON"},
	} {
		rep, err := readReport(&call{lossy: c.lossy, args: []string{"offline", "--rate", "100"}}, []byte(c.out), []byte("so\nbroken\n"), c.ended)
		switch {
		case c.want == "" && (err != nil || rep.Seconds != 2), c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
	}
}

// Who connects where, and as whom.
func TestArgumentsOfTheGenerator(t *testing.T) {
	l := &lab{settings: &settings{first: 20000}, dir: "/lab"}
	b := &broker{cmd: &exec.Cmd{Process: &os.Process{Pid: 7}}}
	for _, c := range []struct {
		row    row
		ours   bool
		want   []string
		refuse []string
	}{
		{row{}, true, []string{"-p 20000", "--protocol mqtt", "-u bench", "--pid 7"}, []string{"--cafile", "--cert"}},
		{row{}, false, []string{"-p 20000"}, []string{"-u"}},
		{row{passwords: true, tls: true}, false, []string{"-p 20001", "-u bench", "--cafile /lab/ca.pem"}, []string{"--protocol"}},
		{row{over: overMTLS, passwords: true}, true, []string{"-p 20002", "--cert /lab/bench.pem", "--key /lab/bench.key"}, []string{"-u"}},
		{row{over: overWSS}, true, []string{"-p 20003", "--protocol wss", "-u bench"}, nil},
	} {
		text := strings.Join(l.arguments(c.row.call(b, c.ours, []string{"conn"})), " ") + " "
		for _, w := range c.want {
			if !strings.Contains(text, " "+w+" ") {
				t.Errorf("%+v: no %q in %s", c.row, w, text)
			}
		}
		for _, w := range c.refuse {
			if strings.Contains(text, " "+w+" ") {
				t.Errorf("%+v: %q in %s", c.row, w, text)
			}
		}
	}
}

// Mosquitto has what a row wants of it and nothing else, and both have the ports that are asked for.
func TestConfigurationsOfARun(t *testing.T) {
	plain := peerConf("x\n", 9, &setup{}, false)
	if plain != "x\n" {
		t.Errorf("%q", plain)
	}
	all := peerConf("x\n", 9, &setup{nodelay: true, passwords: true, wss: true, persist: true}, true)
	for _, want := range []string{"user root\n", "set_tcp_nodelay true\n", "allow_anonymous false\npassword_file passwords\n", "persistence true\n", "listener 9 127.0.0.1\nprotocol websockets\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
	l := &lab{settings: &settings{first: 20000}}
	for _, name := range []string{"redoubt.yaml", "mosquitto.conf"} {
		text, err := os.ReadFile(filepath.Join("../../../bench", name))
		if err != nil {
			t.Fatal(err)
		}
		moved := string(l.moved(text))
		if strings.Contains(moved, "1883") || !strings.Contains(moved, "20001") || !strings.Contains(moved, "20002") {
			t.Errorf("%s:\n%s", name, moved)
		}
	}
}

// Mosquitto 2.0.11 drops what has to wait for a client once as much has ever waited: no run may publish that much, as
// long as one may be and a million messages a second.
func TestNoRunReachesMosquittosLimit(t *testing.T) {
	text, err := os.ReadFile("../../../bench/mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nmax_queued_messages ")
	line, _, _ := strings.Cut(rest, "\n")
	if most, err := strconv.Atoi(line); err != nil || most < 600*1_000_000 {
		t.Errorf("max_queued_messages %q, %v", line, err)
	}
}

// A data directory is copied with its permissions, or the broker would refuse it, and files are read
// to their end.
func TestDataDirectoriesAreCopied(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	if err := os.Mkdir(filepath.Join(from, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 3<<20)
	if err := os.WriteFile(filepath.Join(from, "certs", "key"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	key, err := os.Stat(filepath.Join(to, "certs", "key"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", key, err)
	}
	dir, err := os.Stat(filepath.Join(to, "certs"))
	if err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", dir, err)
	}
	if n, err := readFiles(to); n != int64(len(big)) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := readFiles(t.TempDir()); err == nil {
		t.Error("an empty store was read")
	}
}
