package limit

import (
	"testing"
	"time"
)

// sender is a client that wants to send at a rate, on one of two loops, and is not read
// while it has to wait. Like a loop, it is looked at every 100 ms.
type sender struct {
	want  float64 // a second
	bytes int64

	paid    Paid
	backlog float64
	sent    int
	late    time.Duration // longest time that a message waited
	since   time.Time     // when the oldest that waits was made
}

// gather lets senders send for a time, of which the last half counts.
func gather(t *Fair, now time.Time, of time.Duration, senders []*sender) (total int, end time.Time) {
	const tick = 100 * time.Millisecond
	shares := []*Share{t.Share(), t.Share()}
	for end = now.Add(of); now.Before(end); now = now.Add(tick) {
		counts := end.Sub(now) <= of/2
		for i, s := range senders {
			if s.backlog < 1 {
				s.since = now
			}
			s.backlog = min(s.backlog+s.want*tick.Seconds(), 1e4)
			for s.backlog >= 1 && shares[i%2].Wait(now, s.paid) == 0 {
				shares[i%2].Charge(now, &s.paid, 1, s.bytes)
				s.backlog--
				if counts {
					s.sent++
					total++
				}
			}
			if late := now.Sub(s.since); counts && s.backlog >= 1 {
				s.late = max(s.late, late)
			}
		}
	}
	return total, end
}

func many(n int, want float64, bytes int64) (out []*sender) {
	for range n {
		out = append(out, &sender{want: want, bytes: bytes})
	}
	return out
}

// TestTotalIsKeptAndFair: what all send together is the total, those under their fair part
// do not wait, and the others share what is left.
func TestFairIsKeptAndFair(t *testing.T) {
	for _, row := range []struct {
		name               string
		rate               FairRate
		floods, calm       int
		flood, slow        float64
		floodEach, calmAll float64 // a second
	}{
		{"one flood", FairRate{Messages: 1000, Burst: 2 * time.Second}, 1, 100, 1e5, 2, 800, 200},
		{"three floods", FairRate{Messages: 1000, Burst: 2 * time.Second}, 3, 50, 1e5, 2, 300, 100},
		{"a hundred floods", FairRate{Messages: 1000, Burst: 2 * time.Second}, 100, 100, 1e4, 1, 9, 100},
		{"bytes", FairRate{Bytes: 1 << 20, Burst: 2 * time.Second}, 2, 64, 1e5, 4, 384, 256},
		{"only floods", FairRate{Messages: 500, Burst: time.Second}, 5, 0, 1e5, 0, 100, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			total := NewFair(start, row.rate)
			floods, calm := many(row.floods, row.flood, 1<<10), many(row.calm, row.slow, 1<<10)
			const of = 60 * time.Second
			n, _ := gather(total, start, of, append(floods, calm...))
			seconds := of.Seconds() / 2
			want := row.floodEach*float64(row.floods) + row.calmAll
			if got := float64(n) / seconds; got > 1.05*want || got < 0.9*want {
				t.Errorf("%.0f a second together, want %.0f", got, want)
			}
			for i, s := range floods {
				if got := float64(s.sent) / seconds; got > 1.2*row.floodEach || got < 0.8*row.floodEach {
					t.Errorf("flood %d sends %.0f a second, want %.0f", i, got, row.floodEach)
				}
			}
			for i, s := range calm {
				if got := float64(s.sent) / seconds; got < 0.95*row.slow {
					t.Errorf("calm client %d sends %.2f a second, wants %.2f", i, got, row.slow)
				}
				if s.late > 0 {
					t.Errorf("a message of calm client %d waited %v", i, s.late)
				}
			}
		})
	}
}

// TestTotalWithRoomLetsEverybodySend: nobody waits under the total, not even who has most
// of it.
func TestFairWithRoomLetsEverybodySend(t *testing.T) {
	total := NewFair(start, FairRate{Messages: 1000, Burst: 2 * time.Second})
	one, others := many(1, 900, 0), many(9, 10, 0)
	_, end := gather(total, start, 20*time.Second, append(one, others...))
	for i, s := range append(one, others...) {
		if s.late > 0 {
			t.Errorf("client %d waited %v", i, s.late)
		}
	}
	if total.Part() != 1 {
		t.Errorf("the fair part is %v", total.Part())
	}
	floods := many(50, 1e4, 0)
	_, end = gather(total, end, 10*time.Second, floods)
	if f := total.Part(); f > 0.1 {
		t.Errorf("the fair part among 50 floods is %v", f)
	}
	_, end = gather(total, end, 20*time.Second, many(1, 900, 0)) // and when they have gone, it is as before
	if f := total.Part(); f != 1 {
		t.Errorf("the fair part is still %v %v after a flood", f, end.Sub(start))
	}
}

// TestTotalChangesAtOnce: a rate that is raised or taken off counts for who waits now.
func TestFairChangesAtOnce(t *testing.T) {
	total := NewFair(start, FairRate{Messages: 10, Burst: time.Second})
	s := total.Share()
	var paid Paid
	for range 60 {
		s.Charge(start, &paid, 1, 0)
	}
	if w := s.Wait(start, paid); w < 4*time.Second || w > 6*time.Second {
		t.Errorf("50 messages too many at 10 a second wait %v, want about 5 s", w)
	}
	total.SetRate(start, FairRate{Messages: 0})
	if w := s.Wait(start, paid); w != 0 {
		t.Errorf("no limit, and a wait of %v", w)
	}
	if w := s.Charge(start, &paid, 1000, 1000); w != 0 {
		t.Errorf("no limit, and a wait of %v", w)
	}
}

// TestTotalAfterTheClockWasSetBack does not wait for the old time to come again.
func TestFairAfterTheClockWasSetBack(t *testing.T) {
	total := NewFair(start, FairRate{Messages: 10, Burst: time.Second})
	n, _ := gather(total, start.Add(-time.Hour), 20*time.Second, many(2, 100, 0))
	if n == 0 {
		t.Error("nothing is sent after the clock was set back")
	}
}

func BenchmarkShareCharge(b *testing.B) {
	total := NewFair(start, FairRate{Messages: 1e6, Bytes: 1 << 30, Burst: 2 * time.Second})
	s, now := total.Share(), start
	var paid Paid
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(2 * time.Microsecond)
		s.Charge(now, &paid, 1, 256)
	}
}
