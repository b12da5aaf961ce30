package backend

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// A bug that an answer sets off ends neither the worker nor the process, and is told.
func TestABugInTheWorkEndsNothing(t *testing.T) {
	told := make(chan any, 2)
	p := NewPool(clock.System{}, PoolOptions{Workers: 1, Queue: 10, Share: 10, Timeout: time.Minute, Caught: func(fault any) { told <- fault }})
	defer p.Close()
	refused := make(chan Kind, 2)
	p.Do(netip.Addr{}, func(context.Context) { panic("BUG: a row nobody thought of") }, func(k Kind) {
		refused <- k
		panic("BUG: another")
	})
	if k := <-refused; k != Garbage {
		t.Error(k)
	}
	if fault := <-told; fault != "BUG: a row nobody thought of" {
		t.Error(fault)
	}
	done := make(chan struct{})
	p.Do(netip.Addr{}, func(context.Context) { close(done) }, func(k Kind) { t.Error(k); close(done) })
	<-done
	if len(refused) != 0 {
		t.Error("refused twice")
	}
}

// oneRow answers every question.
type oneRow struct{}

func (oneRow) Ask(context.Context, Question) ([]Row, error) { return []Row{{}}, nil }
func (oneRow) Ping(context.Context) error                   { return nil }
func (oneRow) Close()                                       {}

// Who asked hears of a bug in what was done with the answer, and once more only then; the
// question counts once.
func TestABugAfterAnAnswerIsAnAnswer(t *testing.T) {
	told := make(chan any, 2)
	b := New("db", oneRow{}, clock.System{}, Options{Workers: 1, Timeout: time.Minute, Caught: func(fault any) { told <- fault }})
	answers := make(chan error, 4)
	for _, bad := range []bool{true, false} {
		b.Ask(netip.Addr{}, Question{RowsMax: 1}, func(rows []Row, err error) {
			answers <- err
			if bad && err == nil {
				panic("BUG: a row nobody thought of")
			}
		})
	}
	b.Drain()
	close(answers)
	var got []Kind
	for err := range answers {
		got = append(got, KindOf(err))
	}
	if !slices.Equal(got, []Kind{Answered, Garbage, Answered}) || len(told) != 1 {
		t.Error(got, len(told))
	}
	if s := b.Stats(); s.Counts[Answered] != 2 || s.Counts[Garbage] != 0 {
		t.Error(s.Counts)
	}
}
