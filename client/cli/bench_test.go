package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/client/bench"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// planned is what a command line asks package bench for.
func planned(s bench.Scenario, line ...string) (*Bench, error) {
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	b := NewBench(fs, s)
	if err := fs.Parse(line); err != nil {
		return b, err
	}
	return b, b.plan(fs.Args(), Defaults{}, IO{Clock: clock.System{}, Stdin: strings.NewReader("")})
}

// MQTTX's flags are understood, also the one of two letters, and say what they say there.
func TestBenchFlags(t *testing.T) {
	b, err := planned(bench.Pair, "-c", "20", "-i", "5", "-im", "100", "-S", "64", "-q", "1", "-t", "a/b", "-M", "7", "--duration", "3", "-h", "broker", "-V", "311")
	if err != nil {
		t.Fatal(err)
	}
	o := &b.o
	if o.Count != 20 || o.Crowd.Interval != 5*time.Millisecond || o.Pace.Rate != 200 || o.Payload != 64 || o.QoS != 1 || o.Topic != "a/b" ||
		o.Pace.Window != 7 || o.Pace.Duration != 3*time.Second || o.Client.Host != "broker" || o.Client.Connect.Version != 4 {
		t.Errorf("%+v", o)
	}
	if b, err = planned(bench.Fan, "--fan-in", "50", "--share", "5", "--ramp", "10", "--protocol", "wss"); err != nil || b.o.Crowd.Interval != 200*time.Millisecond || b.o.Client.WebSocket != "/mqtt" || b.o.Fan.Share != 5 {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Flood, "--kind", "half-hello"); err != nil || b.o.Flood.Kind != bench.HalfHello || b.o.Pace.Rate != 1000 || b.o.Count != benchFloodCount {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Conn, "-c", "9", "--hold", "60", "--subscribe"); err != nil || b.o.Crowd.Hold != time.Minute || !b.o.Crowd.Subscribe {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Memory, "-c", "5000", "--kind", "retained", "--settle", "3", "--visitors", "0", "--pid", "9"); err != nil ||
		b.o.Memory != (bench.MemoryShape{Kind: bench.OfRetained, Settle: 3 * time.Second}) || b.o.Payload != 64 || b.o.Process != 9 {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Conn, "--resume"); err != nil || !b.o.Client.TLS.Resume {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Offline, "--killed", "--undrained", "-q", "1"); err != nil || !b.o.Offline.Killed || !b.o.Offline.Undrained {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Flood, "--before", "2"); err != nil || b.o.Flood.Before != 2*time.Second {
		t.Errorf("%+v, %v", b.o, err)
	}
}

func TestBenchFlagsOfExtras(t *testing.T) {
	b, err := planned(bench.Fan, "--fan-out", "5", "--topic-alias", "--user-property", "unit=K", "--user-property", "a=b=c")
	if p := b.o.UserProperties; err != nil || !b.o.TopicAlias || len(p) != 2 || p[0].Value != "K" || p[1].Name != "a" || p[1].Value != "b=c" {
		t.Errorf("%+v, %v", b.o, err)
	}
	for _, text := range []string{"unit", "=K"} {
		if _, err := planned(bench.Pair, "--user-property", text); err == nil || !strings.Contains(err.Error(), "NAME=VALUE") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if b, err = planned(bench.Retained, "--times", "3", "--keep"); err != nil || b.o.Count != bench.DefaultRetained || b.o.Retained != (bench.RetainedShape{Times: 3, Keep: true}) {
		t.Errorf("%+v, %v", b.o, err)
	}
	if b, err = planned(bench.Rogue, "--kind", "unread"); err != nil || b.o.Count != 1 || b.o.Rogue != bench.Unread {
		t.Errorf("%+v, %v", b.o, err)
	}
	if _, err = planned(bench.Rogue, "--kind", "loud"); err == nil || !strings.Contains(err.Error(), "dawdles") {
		t.Errorf("%v", err)
	}
	text := benchText(&bench.Report{
		Scenario: bench.Retained, Version: "5.0", Transport: "tcp", Retained: &bench.RetainedReport{Messages: 12345, Times: 2, Delivered: 24690, Lost: 7, Seconds: 1.5},
		Rogue: &bench.RogueReport{Kind: bench.Fast, Connected: 3, Closed: 2, Packets: 4567, BytesOut: 3 << 20},
	})
	for _, want := range []string{"12,345 messages", "2 times: 24,690 in 1.5 s; lost: 7", "fast: 3 connected, 0 refused, 2 closed", "4,567 packets, 3.0 MiB"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestBenchFlagsThatMakeNoSense(t *testing.T) {
	for want, line := range map[string][]string{
		"give one of them":    {"--rate", "5", "--message-interval", "6"},
		"how fast to connect": {"--ramp", "5", "-i", "6"},
		"-im: ":               {"-im", "x"},
		"from 16":             {"-S", "15"},
		"wildcard":            {"-t", "a/#"},
		"more than 0":         {"--rate", "0"},
		"ws-path":             {"--ws-path", "/x"},
		"two passwords":       {"-P", "a", "--password-file", "b"},
	} {
		if _, err := planned(bench.Pair, line...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := planned(bench.Conn, "--resume", "--protocol", "mqtt"); err == nil || !strings.Contains(err.Error(), "about TLS") {
		t.Errorf("sessions without TLS: %v", err)
	}
	if _, err := planned(bench.Memory, "--kind", "loud"); err == nil || !strings.Contains(err.Error(), "wildcard") {
		t.Errorf("a kind that is none: %v", err)
	}
	if _, err := planned(bench.Flood, "--kind", "loud"); err == nil || !strings.Contains(err.Error(), "half-hello") {
		t.Errorf("a kind that is none: %v", err)
	}
}

// A report for a person has what one has to see, and no line for what there was none of.
func TestBenchText(t *testing.T) {
	r := &bench.Report{
		Scenario: bench.Pair, Version: "5.0", Transport: "tls", QoS: 1, Payload: 256, Interrupted: true,
		Connections: bench.ConnectionsReport{Connected: 2000, PerSecond: 1234, Ended: map[string]int{"closed": 2}},
		Sent:        &bench.SentReport{Messages: 1234567, Refused: 3, Refusals: map[string]int{"quota exceeded": 3}},
		Delivered:   &bench.DeliveredReport{Messages: 1234564, Duplicated: 1},
		Latency:     &bench.Latency{P50: 1.5, P99: 2000},
		Generator:   &bench.GeneratorReport{CPUSeconds: 3.25, Busy: .65},
		Broker:      &bench.BrokerReport{CPUSeconds: 2, CPUPerMillion: 3.5, Busy: .4, ResidentBytes: 10 << 20},
	}
	text := benchText(r)
	for _, want := range []string{"QoS 1, 256 bytes (interrupted)", "2,000, 1,234/s", "closed 2", "1,234,567", "quota exceeded 3", "duplicated 1", "p50 1.5 ms", "p99 2s", "40 % of a core, 3.50 s for a million", "10.0 MiB", "3.25 s of processor, 65 % of a core"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, not := range []string{"stalls", "unsent", "failed", "foreign", "newcomer", "drained", "full"} {
		if strings.Contains(text, not) {
			t.Errorf("%q in\n%s", not, text)
		}
	}
	for busy, want := range map[float64]bool{.8: true, .97: false} {
		if r.Generator.Busy, r.Broker.Busy = .98, busy; strings.Contains(benchText(r), "rates are the generator's") != want {
			t.Errorf("a generator with %v of its core, a broker with %v of its own:\n%s", r.Generator.Busy, busy, benchText(r))
		}
	}
}

// The line of progress is for a terminal, and it is gone when the report comes.
func TestBenchLine(t *testing.T) {
	for _, on := range []bool{false, true} {
		var errs strings.Builder
		l := &benchLine{p: newPrinter(IO{Stderr: &errs}, "bench pair", false), on: on}
		l.tell(bench.Progress{Phase: "measuring", Elapsed: 3 * time.Second, Connected: 10, Failed: 1, Sent: 1500})
		l.end()
		if got := errs.String(); on != (strings.Contains(got, "measuring") && strings.Contains(got, "1,500 sent/s") && strings.HasSuffix(got, "\r\x1b[K")) || !on && got != "" {
			t.Errorf("on %t: %q", on, got)
		}
	}
}
