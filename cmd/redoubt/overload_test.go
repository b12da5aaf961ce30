package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/limit/top"
)

// watched is an overseer of a node that is not there.
type watched struct {
	overseer
	now     time.Time
	use     memory.Use
	sent    int64
	late    time.Duration
	waited  time.Duration
	frees   uint64 // bytes that shedding at a level makes garbage, at each pass
	garbage uint64
	takes   time.Duration // a collection

	did     []string
	allowed uint64
	pressed load.State
}

const limitOfTest = 1000 << 20

func newWatched() *watched {
	w := &watched{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.rooms = pressedRooms{
		now: func() time.Time { return w.now }, limit: func() uint64 { return limitOfTest }, measure: func() memory.Use { return w.use },
		lag: func(time.Time) (time.Duration, int) { return w.late, 3 }, commit: func(time.Time) time.Duration { return w.waited },
		taken: func() int64 { return w.sent }, allow: func(b uint64) { w.allowed = b }, press: func(s *load.State) { w.pressed = *s },
		collect: func() {
			w.now = w.now.Add(w.takes)
			w.use.Cycles++
			w.use.Live -= w.garbage
			w.garbage = 0
			w.do("collect")
		},
		giveBack: func() {
			w.now = w.now.Add(w.takes)
			w.do("give back")
		},
		loudest: func(loop int, _ ...top.Measure) string { return fmt.Sprintf("; most on loop %d: somebody", loop) },
		shed: func(l load.Level, _ uint64) int {
			w.garbage = min(w.frees, w.use.Live)
			w.do(l.String())
			return 0
		},
		alarms: alarm.New(slog.New(slog.NewTextHandler(io.Discard, nil))), log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	return w
}

func (w *watched) do(what string) { w.did = append(w.did, what) }

func (w *watched) live(percent uint64) {
	w.use.Live = limitOfTest / 100 * percent
	w.use.Objects, w.use.Resident = w.use.Live, w.use.Live
}

// looks looks n times, as often as it wants to.
func (w *watched) looks(n int) {
	for range n {
		w.now = w.now.Add(w.look())
	}
}

func (w *watched) story() string { return strings.Join(w.did, ", ") }

func (w *watched) alarmed() (names string) {
	for _, a := range w.rooms.alarms.Active() {
		names += a.Kind.Name + " "
	}
	return names
}

// Memory that is full is shed class by class, each time with a collection that shows what
// it brought, until there is enough; then everything ends by itself, in the order back.
func TestOverseerShedsInOrderAndRecovers(t *testing.T) {
	w := newWatched()
	w.live(95)
	w.frees = limitOfTest / 100
	w.looks(4)
	if want := "strangers, collect, collect, qos0, collect, collect, idle, collect, collect, lagging, collect, collect"; w.story() != want {
		t.Errorf("did %s, want %s", w.story(), want)
	}
	if w.alarmed() != "memory_pressure " || w.pressed.Busy == "" || w.pressed.Pressure != 1 {
		t.Errorf("alarms %q, said to the door and the broker: %+v", w.alarmed(), w.pressed)
	}
	w.did, w.frees = nil, limitOfTest/100*70 // the attackers have gone
	w.looks(1)
	for range 200 {
		if w.looks(1); w.pressed.Level == load.Fine {
			break
		}
	}
	if w.pressed.Level != load.Fine || w.alarmed() != "" || w.pressed.Busy != "" || w.pressed.Pressure != 0 {
		t.Errorf("after it: %+v, alarms %q", w.pressed, w.alarmed())
	}
	if n := strings.Count(w.story(), "give back"); n != 1 {
		t.Errorf("memory was given back %d times: %s", n, w.story())
	}
	if d := w.look(); d != lookSeldom {
		t.Errorf("it looks again after %v when all is well", d)
	}
	w.did = nil
	w.looks(60)
	if w.story() != "give back" {
		t.Errorf("in the minute after it: %q; what those leave who go later is given back once", w.story())
	}
}

// What a publisher may bring until the next look is what is left, and what has come
// since the last collection counts until the next one.
func TestOverseerBoundsWhatComesBetweenLooks(t *testing.T) {
	w := newWatched()
	w.live(30)
	w.looks(1)
	if w.allowed != limitOfTest/100*60 {
		t.Errorf("%d MiB may come, want 600", w.allowed>>20)
	}
	w.sent += limitOfTest / 100 * 50
	w.use.Objects = limitOfTest / 100 * 85
	w.looks(1)
	if w.allowed != limitOfTest/100*10 || w.story() != "collect" {
		t.Errorf("%d MiB may come, did %q: want 100 MiB, and a collection that tells more", w.allowed>>20, w.story())
	}
	w.looks(1)
	if w.allowed != limitOfTest/100*60 || w.pressed.Level != load.Fine {
		t.Errorf("%d MiB may come after a collection: what was sent has gone again", w.allowed>>20)
	}
}

// Collections out of turn take an eighth of the time at most, however long one takes.
func TestOverseerDoesNotCollectAllTheTime(t *testing.T) {
	w := newWatched()
	w.takes = 400 * time.Millisecond
	w.live(93) // of idle clients: nothing can be shed
	begun := w.now
	w.looks(400)
	n := strings.Count(w.story(), "collect")
	if spent := time.Duration(n) * w.takes; n == 0 || spent > w.now.Sub(begun)/collectPart+2*w.takes {
		t.Errorf("%d collections in %v", n, w.now.Sub(begun))
	}
}

// Who brings the memory over a mark and back again and again does not have the broker give
// it back each time, which takes as long as a collection; it is given back in the end.
func TestOverseerDoesNotGiveBackAllTheTime(t *testing.T) {
	w := newWatched()
	w.takes = 400 * time.Millisecond
	begun := w.now
	for i := range 200 {
		w.live(78)
		w.looks(2)
		w.live(60)
		for w.looks(1); w.pressed.Level > load.Warm; w.looks(1) {
		}
		if i == 0 && w.pressed.Level != load.Warm {
			t.Fatalf("it is not the overload that was meant: %+v", w.pressed)
		}
	}
	n := len(w.did) - strings.Count(w.story(), "strangers")
	if spent := time.Duration(n) * w.takes; n == 0 || spent > w.now.Sub(begun)/collectPart+2*w.takes {
		t.Errorf("%d collections of %v in %v: %d of them to give back", n, w.takes, w.now.Sub(begun), strings.Count(w.story(), "give back"))
	}
	w.did = nil
	if w.looks(30); w.story() != "give back" {
		t.Errorf("in the half minute after it: %q", w.story())
	}
}

func TestOverseerAlarmsOfLateness(t *testing.T) {
	w := newWatched()
	w.live(10)
	w.late, w.waited = 3*time.Second, 3*time.Second
	w.looks(4)
	if w.alarmed() != "" || w.pressed.Pressure != 1 {
		t.Errorf("after 4 s: alarms %q, %+v", w.alarmed(), w.pressed)
	}
	w.looks(3)
	if w.alarmed() != "commit_latency loop_lag " || w.pressed.Busy == "" || w.pressed.Level != load.Fine {
		t.Errorf("after 7 s: alarms %q, %+v", w.alarmed(), w.pressed)
	}
	if lag := time.Duration(w.seen.lag.Load()); lag != 3*time.Second {
		t.Errorf("the gauge says %v", lag)
	}
	w.late, w.waited = 0, 0
	w.looks(12)
	if w.alarmed() != "" || w.pressed.Busy != "" || w.seen.lag.Load() != 0 {
		t.Errorf("after it: alarms %q, %+v", w.alarmed(), w.pressed)
	}
}

// Homes that ask for a look get one at once, but not without end.
func TestOverseerLooksSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched()
		var looks atomic.Int64
		w.rooms.taken = func() int64 { looks.Add(1); return 0 }
		soon := make(chan struct{}, 1)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx, soon) }()
		for range 1000 {
			select {
			case soon <- struct{}{}:
			default:
			}
			time.Sleep(time.Millisecond)
		}
		if n := looks.Load(); n < 50 || n > 110 {
			t.Errorf("%d looks in a second of asking", n)
		}
		stop()
		<-done
	})
}

func TestBehindWindowKeepsASecond(t *testing.T) {
	var w window
	at := time.Unix(1000, 0)
	w.add(at, time.Second, 0)
	for i := range 25 {
		at = at.Add(100 * time.Millisecond)
		w.add(at, 0, time.Duration(i))
		lag, _ := w.most()
		if want := i < 10; want && lag != time.Second || i > 20 && lag != 0 {
			t.Errorf("%d ms after it: %v", (i+1)*100, lag)
		}
	}
	if _, wait := w.most(); wait != 24 {
		t.Error(fmt.Sprint(wait))
	}
}
