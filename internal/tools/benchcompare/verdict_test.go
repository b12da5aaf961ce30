package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A verdict says how much it stands on, and there is none where it would stand on nothing.
func TestVerdictsSayWhatTheyStandOn(t *testing.T) {
	broke := func(s Side) Side { s.Failed = append(s.Failed, "lost"); return s }
	later := func(s Side) Side { s.Rounds = []int{2, 3}; return s } // the first failed
	for name, c := range map[string]struct {
		ours, theirs Side
		target       string
		scale        float64
		want         string
	}{
		"three":                        {side(1, 1, 1), side(4, 4, 4), "ratio", 1, "aim"},
		"one":                          {side(1), side(4), "ratio", 1, "aim, 1 round"},
		"two":                          {side(3, 3), side(4, 4), "ratio", 1, "missed, 2 rounds"},
		"a round of ours failed":       {broke(side(1, 1)), side(4, 4, 4), "ratio", 1, "failed"},
		"all of ours failed":           {broke(Side{}), side(4), "ratio", 1, "failed"},
		"and a look":                   {broke(side(1)), side(4), "ratio", .5, "failed"},
		"a round of theirs failed":     {side(1, 1, 1), broke(later(side(4, 4))), "ratio", 1, "aim, 2 of 3 rounds"},
		"which a figure does not mind": {side(1, 1, 1), broke(later(side(4, 4))), "figure", 1, "missed"},
		"all of theirs failed":         {side(1), broke(Side{}), "ratio", 1, ""},
		"interrupted":                  {side(1, 1), side(4), "ratio", 1, ""},
		"a figure, interrupted":        {side(.1, .1), side(4), "figure", 1, "aim, 2 rounds"},
		"some of the clients":          {side(1, 1, 1), side(4, 4, 4), "ratio", .99, ""},
		"some of them, a figure":       {side(1, 1, 1), Side{}, "figure", .1, ""},
	} {
		r := Row{Target: c.target, Must: .5, Aim: .25, Redoubt: c.ours, Mosquitto: c.theirs}
		if r.judge(c.scale); r.Verdict != c.want {
			t.Errorf("%s: %q, want %q", name, r.Verdict, c.want)
		}
	}
}

// The range of the ratio is of rounds that belong together, whichever have failed.
func TestRangesPairRounds(t *testing.T) {
	r := Row{Must: 1, Aim: 1, Redoubt: side(2, 10, 12), Mosquitto: Side{Runs: []float64{10, 12}, Rounds: []int{2, 3}, Failed: []string{"x"}}}
	if r.judge(1); *r.RatioLow != .2 || *r.RatioHigh != 1 || r.rounds() != "3, 2" {
		t.Errorf("%v to %v, %s", *r.RatioLow, *r.RatioHigh, r.rounds())
	}
	same := Row{Redoubt: side(2), Mosquitto: Side{}}
	if same.rounds() != "1" {
		t.Errorf("%q", same.rounds())
	}
}

// What is no number is no figure, and does not keep the others from being written.
func TestWhatIsNoFigure(t *testing.T) {
	l := &lab{log: io.Discard}
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var r Row
		if l.note(&r, &r.Redoubt, "", 0, []float64{x}, 0, nil); len(r.Redoubt.Runs) != 0 || len(r.Redoubt.Failed) != 1 {
			t.Errorf("%v: %+v", x, r.Redoubt)
		}
	}
	var r Row
	l.note(&r, &r.Redoubt, "", 1, []float64{5}, 0, nil)
	if r.Redoubt.Runs[0] != 5 || r.Redoubt.Rounds[0] != 2 {
		t.Errorf("%+v", r.Redoubt)
	}
}

// The table says what a reader has to know of how it came about, and what was there before stays.
func TestTheTableSaysHowItWasMeasured(t *testing.T) {
	res := &Results{Rounds: 3, Scale: 1, Interrupted: true, Threads: true, Rows: []Row{
		{Name: "full", Must: .13, Aim: .1, Redoubt: Side{Runs: []float64{1.34, 1.35, 1.4}, Rounds: []int{1, 2, 3}, Busy: .97, BrokerBusy: .8}, Mosquitto: side(10, 10, 10)},
		{Name: "both", Redoubt: Side{Runs: []float64{1, 1, 1}, Rounds: []int{1, 2, 3}, Busy: .99, BrokerBusy: 1}, Mosquitto: Side{Runs: []float64{1, 1, 1}, Rounds: []int{1, 2, 3}, Busy: .5, BrokerBusy: .5}},
		{Name: "few", Redoubt: side(1), Mosquitto: Side{Runs: []float64{1}, Rounds: []int{1}, Busy: .5}},
	}}
	for i := range res.Rows {
		res.Rows[i].judge(1)
	}
	text := res.table()
	for _, want := range []string{"Interrupted:", "two threads of one core", "core was full (0.95 or more) and the broker's was not: full (Redoubt: 0.97 and 0.80). Rates", "these are a look: few.", "0.134 (0.134 to 0.140)", "rounds"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	dir := t.TempDir()
	for _, text := range []string{"first", "second"} {
		if err := res.write(dir, text); err != nil {
			t.Fatal(err)
		}
	}
	now, _ := os.ReadFile(filepath.Join(dir, "table.txt"))
	before, _ := os.ReadFile(filepath.Join(dir, "table.txt.previous"))
	if string(now) != "second" || string(before) != "first" {
		t.Errorf("%q, and before %q", now, before)
	}
	if _, err := os.Stat(filepath.Join(dir, "results.json.previous")); err != nil {
		t.Error(err)
	}
}

// An interrupt is a failure, whatever was written.
func TestInterruptsFail(t *testing.T) {
	l := &lab{settings: &settings{out: t.TempDir()}, log: io.Discard}
	res := &Results{Rows: []Row{{Name: "a", Redoubt: side(1)}}}
	if err := l.conclude(res); err != nil {
		t.Error(err)
	}
	res.Interrupted = true
	if err := l.conclude(res); err != errStopped {
		t.Errorf("%v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(l.out, "results.json")); !strings.Contains(string(text), `"interrupted": true`) {
		t.Errorf("%s", text)
	}
	if err := l.conclude(&Results{}); err == nil {
		t.Error("nothing is a result")
	}
}

// The one that is named is compared with, and no other.
func TestMosquittoIsNamed(t *testing.T) {
	l := &lab{settings: &settings{mosquitto: "sh"}, log: io.Discard}
	if err := l.findPeer(); err != nil || !filepath.IsAbs(l.peer) || filepath.Base(l.peer) != "sh" {
		t.Errorf("%q, %v", l.peer, err)
	}
	l.mosquitto = filepath.Join(t.TempDir(), "none")
	if err := l.findPeer(); err == nil || !strings.Contains(err.Error(), "-mosquitto") {
		t.Errorf("%v", err)
	}
}

// Rows about what is on a disk have no figure where there is none.
func TestRowsThatNeedADisk(t *testing.T) {
	l := &lab{inMemory: true}
	var of []string
	for _, r := range rows {
		if r.disk {
			of = append(of, r.name)
			if _, _, err := l.once([]row{r}, 1, true); !errors.Is(err, errInMemory) {
				t.Errorf("%s: %v", r.name, err)
			}
		}
	}
	const want = "durable durable-cpu start-full kill9 latency-store-p50 latency-store-p99 latency-store-p999 growth-stored"
	if strings.Join(of, " ") != want {
		t.Errorf("%s, want %s", of, want)
	}
}

// Latency is measured beside something, or not at all.
func TestAccounts(t *testing.T) {
	some := func(connected int) bench.Report {
		return bench.Report{Connections: bench.ConnectionsReport{Connected: connected}}
	}
	with := func(messages uint64, packets int64) bench.Report {
		r := some(1)
		r.Delivered, r.Rogue = &bench.DeliveredReport{Messages: messages}, &bench.RogueReport{Packets: packets}
		return r
	}
	for name, c := range map[string]struct {
		scenario string
		reps     []bench.Report
		want     string
	}{
		"nothing ran":        {"", nil, ""},
		"no report":          {"conn", []bench.Report{{}}, "let in"},
		"nobody":             {"conn", []bench.Report{some(0), some(0)}, "let in"},
		"somebody":           {"conn", []bench.Report{some(0), some(3)}, ""},
		"no message":         {"sub", []bench.Report{with(0, 5)}, "no message"},
		"a message":          {"sub", []bench.Report{with(0, 0), with(1, 0)}, ""},
		"rogue, and nothing": {"rogue", []bench.Report{with(5, 0)}, "sent nothing"},
		"rogue":              {"rogue", []bench.Report{with(0, 1)}, ""},
	} {
		var a account
		for i := range c.reps {
			a.add(c.scenario, &c.reps[i])
		}
		err := a.judge()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if (c.scenario == "") != (a.text() == "") {
			t.Errorf("%s: %q", name, a.text())
		}
	}
	if cutOff([]byte("nothing")) != nil || cutOff([]byte(`{"interrupted":true,"seconds":2}`)).Seconds != 2 {
		t.Error("what a run said that was ended is not read")
	}
}

// Who does not end is killed, which is told; who dies is asked for its last words.
func TestProcessesEnd(t *testing.T) {
	start := func(script string) *broker {
		b := &broker{cmd: exec.Command("sh", "-c", script), ended: make(chan error, 1), text: &bytes.Buffer{}}
		out, err := b.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		wait(b)
		return b
	}
	b := start(`trap "" TERM; echo; exec sleep 60`)
	if err := stopProcess(b.cmd.Process, b.ended, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	b = start("echo; exec sleep 60")
	if err := b.blame(io.EOF); err != io.EOF {
		t.Errorf("it runs, and is blamed: %v", err)
	}
	if err := b.endInOrder(); err != nil {
		t.Error(err)
	}
	b = start("echo; exit 3")
	b.text.WriteString("first\nno memory left\n")
	if err := b.blame(io.EOF); !errors.Is(err, io.EOF) || !strings.HasSuffix(err.Error(), "the broker ended (exit status 3): no memory left") {
		t.Errorf("%v", err)
	}
	if err := b.endInOrder(); err != nil { // how it ended is there for whoever ends it
		t.Error(err)
	}
	if b.blame(nil) != nil {
		t.Error("nothing went wrong")
	}
}

// steps is a clock that goes on by a second each time it is read.
type steps struct{ now time.Time }

func (s *steps) Now() time.Time { s.now = s.now.Add(time.Second); return s.now }

// A start is measured from exec on, and ends with the client that was let in.
func TestStartsAreFromExec(t *testing.T) {
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	got := make(chan mqtt.Connect, 1)
	go func() {
		c, err := door.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 512)
		n, _ := c.Read(buf)
		_, _ = c.Write([]byte{0x20, 2, 1, 0})
		got <- mqtt.Connect{ClientID: string(buf[14 : 14+min(7, n)]), CleanStart: buf[9]&2 != 0}
	}()
	cores, _, err := twoCores()
	if err != nil {
		cores = [2]int{}
	}
	l := &lab{settings: &settings{redoubt: "true", first: door.Addr().(*net.TCPAddr).Port}, dir: t.TempDir(), cores: cores, log: io.Discard, clock: &steps{time.Now()}}
	b, took, err := l.startTimed(true, &setup{keep: true, unanswered: true}, returning)
	if err != nil {
		t.Fatal(err)
	}
	b.end()
	// The clock is read at exec, for the connection's deadline, and at the end.
	if k := <-got; took != 2*time.Second || k.ClientID != "full-s0" || k.CleanStart {
		t.Errorf("%s, %+v", took, k)
	}
}

// Every row that others were measured in is one of ours, and has its ratio to the best of them.
func TestBestPeers(t *testing.T) {
	seen := 0
	for _, r := range rows {
		if bestPeers[r.name] == 0 {
			continue
		}
		seen++
		row := r.begin(1)
		row.Redoubt.add(0, 3)
		row.Mosquitto.add(0, 2)
		if row.judge(1); row.ByBest == nil || math.Abs(*row.ByBest*bestPeers[r.name]-1.5) > 1e-9 {
			t.Errorf("%s: %v by the best peer, which stood at %v", r.name, row.ByBest, bestPeers[r.name])
		}
	}
	if seen != len(bestPeers) {
		t.Errorf("%d of %d rows are known", seen, len(bestPeers))
	}
}

// The port of Mosquitto's WebSocket is waited for: libwebsockets opens it when the others answer already.
func TestAPortThatOpensLaterIsWaitedFor(t *testing.T) {
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := door.Addr().String()
	l := &lab{settings: &settings{first: door.Addr().(*net.TCPAddr).Port}, clock: clock.System{}}
	if err := door.Close(); err != nil {
		t.Fatal(err)
	}
	if l.comes(0, time.Millisecond) {
		t.Error("a port that is closed answers")
	}
	opened := make(chan net.Listener, 1)
	go func() {
		<-time.After(100 * time.Millisecond)
		door, _ := net.Listen("tcp", address)
		opened <- door
	}()
	comes := l.comes(0, 20*time.Second)
	if door := <-opened; door == nil {
		t.Fatal("somebody else has the port now")
	} else {
		defer door.Close()
	}
	if !comes {
		t.Error("a port that opened after a tenth of a second was given up")
	}
}
