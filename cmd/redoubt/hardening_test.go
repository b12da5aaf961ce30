package main

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/admin"
)

// A score that nobody has looked after is no score of now.
func TestAStaleScoreIsNone(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		stale bool
		want  string
	}{{false, "93/100, looked at 2026-11-29 12:00:00 UTC; 1 waived"}, {true, "stale: nobody has looked since 2026-11-29 12:00:00 UTC, when it was 93/100"}} {
		if line := hardeningLine(&admin.HardeningStatus{Score: 93, At: at, Waived: 1, Stale: c.stale}); !strings.HasPrefix(line, c.want) {
			t.Errorf("%s", line)
		}
	}
}

// What $SYS has of the score: nothing before somebody has looked, and no number when that is long ago.
func TestTheScoreInSys(t *testing.T) {
	for want, s := range map[string]*admin.HardeningStatus{"": nil, "93": {Score: 93}, "stale": {Score: 93, Stale: true}} {
		topic, known := hardeningTopic(s)
		if known != (s != nil) || topic.Value != want || known && topic.Name != "hardening/score" {
			t.Errorf("%+v, %v, want %q", topic, known, want)
		}
	}
}
