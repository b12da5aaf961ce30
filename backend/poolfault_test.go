package backend

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// A bug that an answer sets off ends neither the worker nor the process, and is told.
func TestABugInTheWorkEndsNothing(t *testing.T) {
	told := make(chan any, 1)
	p := NewPool(clock.System{}, PoolOptions{Workers: 1, Queue: 10, Share: 10, Timeout: time.Minute, Caught: func(fault any) { told <- fault }})
	defer p.Close()
	p.Do(netip.Addr{}, func(context.Context) { panic("BUG: a row nobody thought of") }, func(Kind) {})
	if fault := <-told; fault != "BUG: a row nobody thought of" {
		t.Error(fault)
	}
	done := make(chan struct{})
	p.Do(netip.Addr{}, func(context.Context) { close(done) }, func(k Kind) { t.Error(k); close(done) })
	<-done
}
