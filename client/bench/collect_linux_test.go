package bench

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/client/internal/fake"
)

// A broker that has a collector collects before its memory is read, without strangers and with all of them.
func TestMemoryOfStrangersIsReadAfterACollection(t *testing.T) {
	asked := make(chan os.Signal, 9)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	b := fake.NewBroker(t, nil)
	for want, collect := range map[int]bool{0: false, 2: true} {
		o := to(b.Server, Flood)
		o.Count, o.Process, o.Flood = 20, os.Getpid(), FloodShape{Kind: Silent, Bystanders: 2, Collect: collect}
		rep, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if f := rep.Flood; f.Held != 20 || f.Resident == nil {
			t.Errorf("%d strangers, and %v bytes", f.Held, f.Resident)
		}
		if len(asked) != want {
			t.Errorf("asked to collect %d times, want %d", len(asked), want)
		}
	}
}
