package web

import (
	"slices"
	"testing"
	"time"
)

// While somebody is told of trouble no question waits for that, and what is told last is what
// holds.
func TestNobodyWaitsForWhoIsTold(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var tr trouble
	var told []bool // guarded by telling
	entered, leave, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	tell := func(_ time.Time, down bool, _ string) {
		told = append(told, down)
		if len(told) == 1 {
			close(entered)
			<-leave
		}
	}
	tr.bad(noon, 2, "500", tell)
	go func() { defer close(over); tr.bad(noon.Add(TroubleAfter), 2, "500", tell) }()
	<-entered
	counted := make(chan struct{})
	go func() { defer close(counted); tr.bad(noon.Add(TroubleAfter), 2, "500", tell) }()
	select {
	case <-counted:
	case <-time.After(5 * time.Second):
		t.Error("a question waits for who is told")
	}
	ended := make(chan struct{})
	go func() { defer close(ended); tr.good(noon.Add(2*TroubleAfter), tell) }()
	close(leave)
	<-over
	<-ended
	<-counted
	if !slices.Equal(told, []bool{true, false}) {
		t.Error(told)
	}
}
