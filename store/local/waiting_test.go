package local

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// What waits is as old as its oldest, whether the committer has it already or not, and
// when all is decided nothing waits.
func TestWaitingIsAsOldAsTheOldest(t *testing.T) {
	d, now := faultfs.New(), clock.NewManual(time.Unix(0, 0))
	o := tiny
	o.Clock = now
	l, _ := mustOpen(t, d, o)
	defer shut(l)
	is := func(what string, want time.Duration) {
		t.Helper()
		if got := l.Waiting(now.Now()); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	is("nothing was said", 0)
	for i := range 3 {
		l.Submit(0, message(i), func(store.Seq, error) {})
		now.Advance(time.Second)
	}
	is("three wait, a second apart", 3*time.Second)
	once := false
	d.Fault(func(faultfs.Op, string) error {
		if !once {
			once = true
			l.Submit(0, message(9), func(store.Seq, error) {})
			now.Advance(time.Second)
			is("the committer has them, and another waits", 4*time.Second)
		}
		return nil
	})
	l.step()
	l.step()
	l.step()
	is("all are decided", 0)
}
