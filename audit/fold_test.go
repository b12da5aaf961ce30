package audit

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A run of redoubt doctor is one line of the log. What its users were refused is found by the
// reference all the same, is counted, and pushes out no client; what others are refused
// meanwhile is a line of its own.
func TestProbesAreOneLine(t *testing.T) {
	l, out, reg := newLog()
	now := time.Unix(1000, 0)
	rule := &auth.Rule{ID: "7"}
	kept := l.Denied(now, &auth.Principal{Identity: "alice", ClientID: "c"}, auth.Access{Topic: []byte("x")}, rule)
	out.Reset()
	var told []Ref
	run := ""
	for i := range 2 * recentWho {
		name := fmt.Sprint("probe-", i%3)
		if i < 3 {
			l.ProbeMade(now, name)
			run = l.probes.run.String()
		}
		told = append(told, l.Denied(now, &auth.Principal{Identity: name, Username: name, ClientID: fmt.Sprint(i)}, auth.Access{Action: auth.Publish, Topic: []byte("x")}, rule))
	}
	wrong := Refusal{Event: "CONNECT refused", Address: netip.MustParseAddr("127.0.0.1"), Username: "probe-1", Reason: mqtt.BadUserNameOrPassword}
	told = append(told, l.RefusedLogin(now, wrong, ""))
	l.Event(now, slog.LevelWarn, "client banned for flapping", "probe-2\x00c")
	if out.Len() > 0 {
		t.Errorf("in the log:\n%s", out)
	}
	if len(l.Recent().List(Wanted{Ref: kept}, 1)) != 1 {
		t.Error("what a client was refused has been pushed out")
	}
	for _, ref := range told[len(told)-9:] {
		if len(l.Recent().List(Wanted{Ref: ref}, 1)) != 1 {
			t.Errorf("ref %v finds nothing", ref)
		}
	}
	if n := reg.Value(metrics.LogLinesSuppressed); n != int64(len(told)+1) {
		t.Errorf("%d lines are counted", n)
	}
	for i := range 3 {
		l.ProbeEnded(now, fmt.Sprint("probe-", i))
	}
	l.Sweep(now.Add(foldAfter - 1))
	wrong.Username = "probe-0"
	last := l.RefusedLogin(now.Add(time.Second), wrong, "") // it has ended
	wrong.Username = "probe-9"
	l.RefusedLogin(now, wrong, "")
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "user=probe-9") {
		t.Errorf("somebody who only calls himself so:\n%s", out)
	}
	out.Reset()
	l.Sweep(now.Add(foldAfter))
	for _, want := range []string{"users=3", fmt.Sprint("refusals=", len(told)+1), "other_lines=1", "run=" + run, "ref=" + last.String(), "within=10s"} {
		if !holdsWord(out.String(), want) {
			t.Errorf("the line lacks %s:\n%s", want, out)
		}
	}
	if l.ProbeAsked("made", Caller{0, 77}, "r9") {
		t.Error("what is asked after a run is counted in none")
	}
	out.Reset()
	l.Sweep(now.Add(2 * Window))
	l.Denied(now, &auth.Principal{Identity: "probe-1", ClientID: "c"}, auth.Access{Topic: []byte("x")}, rule)
	if n := strings.Count(out.String(), "\n"); n != 1 || l.probe("probe-1", "") {
		t.Errorf("%d lines after the run:\n%s", n, out)
	}
}

// However many users are made, what is remembered of them is bounded.
func TestFoldedUsersAreBounded(t *testing.T) {
	l, _, _ := newLog()
	now := time.Unix(1000, 0)
	for i := range 10 * foldedMax {
		l.ProbeMade(now, fmt.Sprint(i))
		l.ProbeEnded(now, fmt.Sprint(i))
	}
	if n := len(l.probes.names); n > foldedMax || l.probes.alive != 0 {
		t.Errorf("%d users are remembered, %d alive", n, l.probes.alive)
	}
}

// Strangers of a run begin like its users, as nobody else can: they are in its line, and take
// no place and no line of the network that they share with devices.
func TestStrangersOfARunAreFolded(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	wrong := Refusal{Event: "CONNECT refused", Address: netip.MustParseAddr("127.0.0.1"), Username: "pump", ClientID: "pump-1", Reason: mqtt.BadUserNameOrPassword}
	kept := l.RefusedLogin(now, wrong, "")
	out.Reset()
	l.ProbeMade(now, "probe-0123456789abcdef")
	wrong.Username = ""
	for i := range 3 * recentEach {
		wrong.ClientID = fmt.Sprintf("probe-01234567%08x", i)
		l.RefusedLogin(now, wrong, "")
	}
	if len(l.Recent().List(Wanted{Ref: kept}, 1)) != 1 || out.Len() > 0 {
		t.Errorf("a device of the same network is forgotten, or there are lines:\n%s", out)
	}
	wrong.Reason = mqtt.NotAuthorized // another line
	for _, other := range []string{"probe-", "probe-01234567", "probe-0123456800000000", "probe-11234567", ""} {
		wrong.ClientID = other
		l.RefusedLogin(now, wrong, "")
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || len(l.Recent().List(Wanted{Ref: kept}, 1)) != 1 {
		t.Errorf("%d lines of those who only call themselves so:\n%s", n, out)
	}
	l.Mistaken(now, slog.LevelInfo, "client broke the protocol, closed", &auth.Principal{Identity: "probe-0123456789abcdef"}, "x", nil)
	l.ProbeEnded(now, "probe-0123456789abcdef")
	out.Reset()
	l.Sweep(now.Add(foldAfter))
	if !holdsWord(out.String(), fmt.Sprint("refusals=", 3*recentEach)) || !holdsWord(out.String(), "other_lines=1") {
		t.Errorf("the line of the run: %s", out)
	}
	out.Reset()
	wrong.ClientID, wrong.Reason = "probe-0123456700000000", mqtt.Banned
	if l.RefusedLogin(now, wrong, ""); out.Len() == 0 {
		t.Error("after the run nobody is told")
	}
}

// Who uses the socket for a run is in a line of his own, once, and what he did is counted.
func TestWhoMadeARunIsWritten(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	l.ProbeMade(now, "probe-0123456789abcdef")
	for i := range 5 {
		for _, what := range []string{"made", "ended"} {
			if !l.ProbeAsked(what, Caller{1000, 70 + i%2}, fmt.Sprint("r", i)) {
				t.Error("not counted")
			}
		}
	}
	if n := strings.Count(out.String(), "redoubt doctor has begun"); n != 2 || !holdsWord(out.String(), "peer_uid=1000") || !holdsWord(out.String(), "peer_pid=71") || !holdsWord(out.String(), "request_id=r1") {
		t.Errorf("%d lines:\n%s", n, out)
	}
	l.ProbeEnded(now, "probe-0123456789abcdef")
	out.Reset()
	l.Sweep(now.Add(foldAfter))
	for _, want := range []string{"users=1", "made=5", "ended=5", "refusals=0"} {
		if !holdsWord(out.String(), want) {
			t.Errorf("the line lacks %s: %s", want, out)
		}
	}
}
