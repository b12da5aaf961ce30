package conn

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// One loop that stands still is enough, whatever the others do; nobody waits for those of
// a server that was shut down.
func TestTurnedIsOfEveryLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		soon, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.server.Turned(soon); err != nil {
			t.Fatal(err)
		}
		for _, l := range r.server.loops {
			hold := make(chan struct{})
			l.inbox.post(event{kind: evCall, fn: func(*Loop) { <-hold }})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := r.server.Turned(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("loop %d stands still: %v", l.id, err)
			}
			cancel()
			close(hold)
			if err := r.server.Turned(soon); err != nil {
				t.Errorf("loop %d goes on: %v", l.id, err)
			}
		}
		r.close()
		if err := r.server.Turned(soon); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
}
