package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
)

// A back end has one alarm for two reasons, and it ends when both have ended.
func TestABackEndIsDownForTwoReasons(t *testing.T) {
	n := &node{alarms: alarm.New(slog.New(slog.DiscardHandler))}
	d := &downAlarm{n: n, name: "svc"}
	now := time.Unix(0, 0)
	wants := func(why string) {
		t.Helper()
		got := ""
		for _, a := range n.alarms.Active() {
			got += a.Subject + ": " + a.Why
		}
		if got != strings.TrimSuffix("svc: "+why, "svc: ") {
			t.Errorf("the alarm is %q, want %q", got, why)
		}
	}
	d.ofDriver(now, true, "401")
	wants("401")
	d.ofBreaker(now, true, "refused")
	wants("refused")
	d.ofDriver(now, false, "")
	wants("refused")
	d.ofDriver(now, true, "500")
	d.ofBreaker(now, false, "")
	wants("500")
	d.ofDriver(now, false, "")
	wants("")
}
