package bench

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

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
		if f := rep.Flood; (f.Held > 0) != (f.Resident != nil) { // nobody has come yet where the machine is busy
			t.Errorf("%d strangers, and %v bytes", f.Held, f.Resident)
		}
		if len(asked) != want {
			t.Errorf("asked to collect %d times, want %d", len(asked), want)
		}
		for len(asked) > 0 { // the cases come in any order
			<-asked
		}
	}
}

// So does one that is to tell what it keeps, with a third and with all.
func TestMemoryIsReadAfterACollection(t *testing.T) {
	asked := make(chan os.Signal, 9)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Memory)
	o.Count, o.Process, o.Memory = 30, os.Getpid(), MemoryShape{Kind: OfConnection, Settle: time.Millisecond, Collect: true}
	rep, err := Run(context.Background(), o)
	if err != nil || rep.Memory == nil || rep.Memory.Count != 30 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if len(asked) != 2 {
		t.Errorf("asked to collect %d times, want 2", len(asked))
	}
}
