package bench

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// What is read has the time at which the system had it, and not that at which somebody came to read it.
func TestWhenItCame(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	r := &run{opt: &Options{}}
	r.opt.Client.Clock = clock.System{}
	a := newArrivals(r)
	raw, err := to.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { a.watch(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	var n int
	// The system begins to take times a moment after the first has asked for them.
	for began := time.Now(); r.rested == 0 && time.Since(began) < 10*time.Second; {
		before := time.Now()
		if _, err := from.Write([]byte("abc")); err != nil { // on loopback it is there then
			t.Fatal(err)
		}
		if err := raw.Read(func(fd uintptr) bool {
			n, err = a.read(int(fd), b)
			return err != syscall.EAGAIN
		}); err != nil || n != 3 {
			t.Fatal(n, err)
		}
		if d, longest := time.Duration(r.rested), time.Since(before); d > longest {
			t.Errorf("it had been there for %s; it was written %s ago", d, longest)
		}
	}
	if r.rested <= 0 {
		t.Error("nothing that came has a time")
	}
	r.rested = 5
	raw.Control(func(fd uintptr) { n, err = a.read(int(fd), b) })
	if err == nil || r.rested != 5 {
		t.Errorf("%d bytes, %v, rested %d: nothing came, and nothing is said", n, err, r.rested)
	}
}

func TestRests(t *testing.T) {
	const now = int64(1_800_000_000_000_000_000)
	for at, want := range map[int64]int64{now - 700: 700, now: 0, now + 5: 0, now - restMax: restMax, now - restMax - 1: 0} {
		if got := restOf(at, now); got != want {
			t.Errorf("came at %d, read at %d: %d, want %d", at, now, got, want)
		}
	}
	for _, c := range [][]byte{nil, make([]byte, 16), make([]byte, 32)} {
		if at, ok := arrivedAt(c); ok {
			t.Errorf("%v: %d", c, at)
		}
	}
}

// What the broker left no room for counts from when it was due, and so does what waited behind it; a generator that is late counts from
// when it sends, and says how late it was.
func TestWhoIsLate(t *testing.T) {
	r := &run{opt: &Options{}, origin: time.Unix(1_800_000_000, 0)}
	r.opt.Pace.Rate, r.paceFrom, r.tardy = 1000, 1, &r.result.tardy
	p := &peer{run: r, pub: &publisher{seq: 5}} // due after 5 ms
	r.pubs = []*peer{p}
	due := r.dueTime(p)
	for _, step := range []struct {
		at     time.Duration
		held   bool
		want   int64
		counts uint64
	}{
		{5*time.Millisecond + 1, false, due, 1},
		{8 * time.Millisecond, true, due, 1},
		{8 * time.Millisecond, false, int64(8 * time.Millisecond), 2},
		{2 * time.Millisecond, false, due, 3}, // by a clock that is behind
	} {
		r.opt.Client.Clock = clock.NewManual(r.origin.Add(step.at))
		p.pub.held = step.held
		if got := r.sendTime(p); got != step.want || r.tardy.count != step.counts {
			t.Errorf("%+v: counts from %d, %d were late", step, got, r.tardy.count)
		}
	}
	if d := time.Duration(r.tardy.max); d != 8*time.Millisecond-time.Duration(due) {
		t.Errorf("late by %s at most", d)
	}
}
