package test

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/redoubtmq/redoubt/client/bench"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestBenchCommand: `redoubt bench` against a real broker, over TLS as a user would, over
// WebSocket, and over TCP with the event loop, counts what it sent and loses nothing; sessions that were away get
// everything once and are gone afterwards.
func TestBenchCommand(t *testing.T) {
	port := testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{ListenerTCP: port, WebSocket: true})
	b.AddUser("load", "pw-of-load")
	run := func(words ...string) *bench.Report {
		t.Helper()
		argv := append([]string{"bench"}, words...)
		argv = append(argv, "-u", "load", "-P", "pw-of-load", "-t", "devices/load/bench", "-q", "1", "-c", "4", "-o", "json")
		r := b.Redoubt("", argv...)
		var rep bench.Report
		if err := json.Unmarshal([]byte(r.Stdout), &rep); r.Code != 0 || err != nil {
			t.Fatalf("%q ended with %d, %v\n%s", words, r.Code, err, r.Text())
		}
		return &rep
	}
	for transport, where := range map[string][]string{
		"tls": {"-p", strconv.Itoa(b.Port)},
		"wss": {"-p", strconv.Itoa(b.WebSocket), "--protocol", "wss"},
		"tcp": {"-p", strconv.Itoa(port), "--protocol", "mqtt", "--pid", strconv.Itoa(b.Pid())},
	} {
		rep := run(append([]string{"pair", "--duration", "0.2", "--warm-up", "0"}, where...)...)
		s, d := rep.Sent, rep.Delivered
		if rep.Transport != transport || s.Messages == 0 || s.Acknowledged != s.Messages || d.Messages != s.Messages || d.Lost+d.Duplicated+d.Reordered > 0 {
			t.Errorf("%s: sent %+v, delivered %+v", transport, s, d)
		}
		if rep.Latency == nil || rep.Latency.P99 < rep.Latency.P50 || transport == "tcp" && (rep.Broker == nil || rep.Broker.ResidentBytes < 1<<20) {
			t.Errorf("%s: latency %+v, broker %+v", transport, rep.Latency, rep.Broker)
		}
	}
	rep := run("offline", "-p", strconv.Itoa(port), "--protocol", "mqtt", "--messages", "5")
	if o := rep.Offline; o.Present != 4 || o.Lost+o.Unacknowledged > 0 || rep.Sent.Acknowledged != 20 || rep.Delivered.Messages != 20 || rep.Delivered.Duplicated > 0 {
		t.Errorf("offline: %+v, delivered %+v", o, rep.Delivered)
	}
	if r := b.Redoubt("", "sessions", "list", "-o", "json"); r.Code != 0 || len(r.Stdout) > 200 {
		t.Errorf("sessions are left: %s", r.Text())
	}
}
