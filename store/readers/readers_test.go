package readers

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Reads run in their turn, side by side, and a pool that was closed does nothing.
func TestPool(t *testing.T) {
	p := New(2, nil)
	first, second, both := make(chan int), make(chan int), make(chan int)
	p.Do(func() { first <- 1; <-both })
	p.Do(func() { second <- 2; <-both })
	<-first
	<-second
	ran := make(chan int, 1)
	p.Do(func() { ran <- 3 })
	select {
	case <-ran:
		t.Error("a third read ran beside two that wait")
	default:
	}
	both <- 0
	<-ran
	both <- 0
	p.Close()
	p.Do(func() { t.Error("a read ran after Close") })
}

// A bug in a read ends that read: the goroutine goes on with the next.
func TestABugInAReadEndsItAlone(t *testing.T) {
	caught := make(chan any, 1)
	p := New(1, func(fault any) { caught <- fault })
	defer p.Close()
	for range 3 {
		p.Do(func() { panic("a bug") })
		if got := <-caught; got != "a bug" {
			t.Errorf("told of %v", got)
		}
	}
	ran := make(chan int)
	p.Do(func() { ran <- 1 })
	<-ran
}
