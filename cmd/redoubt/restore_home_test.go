package main

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/broker"
)

// A bug while the sessions of one home come back ends the start: its loop catches it and would go on
// without them.
func TestNoStartWithoutSessions(t *testing.T) {
	each := func(fn func(time.Time, *broker.Home)) {
		for range 3 {
			func() {
				defer func() { _ = recover() }()
				fn(time.Time{}, nil)
			}()
		}
	}
	calls := 0
	if err := inEachHome(each, 3, func(time.Time, *broker.Home) { calls++ }); err != nil || calls != 3 {
		t.Fatalf("%d calls, %v", calls, err)
	}
	err := inEachHome(each, 3, func(time.Time, *broker.Home) {
		if calls++; calls == 5 {
			panic("a bug")
		}
	})
	if err == nil || !strings.Contains(err.Error(), "1 of 3 event loops") {
		t.Errorf("the start goes on: %v", err)
	}
}
