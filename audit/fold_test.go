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
	for i := range 2 * recentWho {
		name := fmt.Sprint("probe-", i%3)
		if i < 3 {
			l.ProbeMade(now, name)
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
	for _, want := range []string{"users=3", fmt.Sprint("refusals=", len(told)+1), "other_lines=1", "ref=" + last.String(), "within=10s"} {
		if !holdsWord(out.String(), want) {
			t.Errorf("the line lacks %s:\n%s", want, out)
		}
	}
	out.Reset()
	l.Sweep(now.Add(2 * Window))
	l.Denied(now, &auth.Principal{Identity: "probe-1", ClientID: "c"}, auth.Access{Topic: []byte("x")}, rule)
	if n := strings.Count(out.String(), "\n"); n != 1 || l.probe("probe-1") {
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
