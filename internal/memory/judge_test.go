package memory

import (
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// story is a process in samples: what it holds, what it allocates.
type story struct {
	Judge
	now  Sample
	took time.Duration // of a collection
	left uint64        // resident after one; 0: what there was before
	days []time.Duration
}

func newStory() *story {
	s := &story{now: Sample{At: start, Resident: 20 << 20}, took: 20 * time.Millisecond}
	s.See(s.now)
	return s
}

// pass lets time pass at a rate of allocation, bytes per second, and collects when
// told to.
func (s *story) pass(d time.Duration, rate uint64) (collected int) {
	for ; d > 0; d -= Every {
		s.now.At = s.now.At.Add(Every)
		s.now.Allocated += rate * uint64(Every/time.Second)
		if s.See(s.now) {
			collected++
			s.days = append(s.days, s.now.At.Sub(start))
			if s.left != 0 {
				s.now.Resident = s.left
			}
			s.now.Free = 0
			s.Collected(s.now, s.took)
		}
	}
	return collected
}

func TestCollectOnceAfterAStorm(t *testing.T) {
	s := newStory()
	if n := s.pass(time.Minute, 1<<10); n != 0 {
		t.Fatalf("%d collections of nothing", n)
	}
	s.now.Resident, s.left = 170<<20, 110<<20
	if n := s.pass(10*time.Second, 30<<20); n != 0 {
		t.Fatal("collected during the storm")
	}
	over := s.now.At.Sub(start)
	if n := s.pass(10*time.Minute, 1<<10); n != 1 {
		t.Fatalf("%d collections after the storm, want one", n)
	}
	if late := s.days[0] - over; late > 3*Every {
		t.Errorf("collected %v after the storm", late)
	}
}

// What a collection finds alive is not looked for again.
func TestInVainOnce(t *testing.T) {
	s := newStory()
	s.now.Resident = 200 << 20 // all of it alive
	if n := s.pass(time.Hour, 1<<10); n != 1 {
		t.Errorf("%d collections for what is alive, want one", n)
	}
}

// Clients that close allocate nothing, and what they held is garbage that nobody
// has looked for.
func TestClientsThatWentAreEnough(t *testing.T) {
	s := newStory()
	s.now.Resident, s.now.Clients = 120<<20, 10_000
	s.pass(time.Minute, 1<<10) // looks once, and finds them alive
	s.now.Clients, s.left = 20, 22<<20
	if n := s.pass(3*Every, 1<<10); n != 1 {
		t.Errorf("%d collections after 9,980 clients went, want one", n)
	}
	if n := s.pass(time.Hour, 1<<10); n != 0 {
		t.Errorf("%d more", n)
	}
}

// What Go has freed by itself and keeps needs no growth to be worth returning.
func TestFreeIsReturned(t *testing.T) {
	s := newStory()
	s.now.Resident = 120 << 20
	s.pass(time.Minute, 0)
	s.now.Free, s.left = 90<<20, 30<<20
	if n := s.pass(time.Minute, 1<<10); n != 1 {
		t.Errorf("%d collections for 90 MiB free, want one", n)
	}
}

func TestNotWorthIt(t *testing.T) {
	for name, s := range map[string]func(*story){
		"less than the smallest heap": func(s *story) { s.now.Resident += 3 << 20 },
		"less than a tenth": func(s *story) {
			s.now.Resident = 2 << 30
			s.pass(time.Minute, 0)
			s.now.Resident += 150 << 20
		},
		"few clients": func(s *story) {
			s.now.Clients = 900
			s.pass(Every, 0)
			s.now.Clients = 0
		},
	} {
		story := newStory()
		s(story)
		was := len(story.days)
		if story.pass(time.Hour, 0); len(story.days) != was {
			t.Errorf("%s: collected", name)
		}
	}
}

// A steady load is never quiet, however little it is: what is returned would be
// here again within the minute.
func TestNeverUnderASteadyLoad(t *testing.T) {
	for _, rate := range []uint64{200 << 10, 1 << 20, 100 << 20} {
		s := newStory()
		s.now.Resident += min(rate*uint64(comeback/time.Second)-1, 1<<30)
		if n := s.pass(time.Hour, rate); n != 0 {
			t.Errorf("%d collections in an hour at %d KiB/s", n, rate>>10)
		}
	}
}

// A load that comes and goes for ever costs two collections in five minutes, and a
// second storm right after the first is not kept waiting.
func TestAtMostTwoInAnySpan(t *testing.T) {
	s := newStory()
	s.left = 20 << 20
	for range 60 { // an hour of half minutes
		s.now.Resident = 200 << 20
		s.pass(30*time.Second, 50<<20)
		s.pass(30*time.Second, 1<<10)
	}
	for i := 2; i < len(s.days); i++ {
		if gap := s.days[i] - s.days[i-2]; gap < span {
			t.Errorf("three collections within %v", gap)
		}
	}
	if n := len(s.days); n < 20 || n > 24 {
		t.Errorf("%d collections in an hour, want two in five minutes", n)
	}
	if s.days[1]-s.days[0] > 2*time.Minute {
		t.Errorf("the second storm waited %v", s.days[1]-s.days[0])
	}
}

// Collections that somebody has asked for are not among those that the judge may have: a storm right after two of them is not kept
// waiting.
func TestWhatIsAskedForDoesNotCount(t *testing.T) {
	s := newStory()
	for range 3 {
		s.pass(10*time.Second, 1<<10)
		s.Asked(s.now)
	}
	s.now.Resident, s.left = 170<<20, 110<<20
	if n := s.pass(time.Minute, 1<<10); n != 1 {
		t.Errorf("%d collections after the storm, want one", n)
	}
}

// A collection that takes long is made so seldom that it costs half a percent.
func TestADearCollectionIsSeldom(t *testing.T) {
	s := newStory()
	s.took, s.left = 4*time.Second, 20<<20
	for range 60 {
		s.now.Resident = 200 << 20
		s.pass(30*time.Second, 50<<20)
		s.pass(30*time.Second, 1<<10)
	}
	for i := 1; i < len(s.days); i++ {
		if gap := s.days[i] - s.days[i-1]; gap < 200*s.took {
			t.Errorf("a collection of %v twice within %v", s.took, gap)
		}
	}
}

// Somebody sets the clock back or forth: nothing is divided by zero, nothing is
// collected for it, and the next samples are judged as ever.
func TestAClockThatIsSet(t *testing.T) {
	s := newStory()
	s.now.Resident, s.left = 200<<20, 20<<20
	s.now.At = s.now.At.Add(-time.Hour)
	if s.See(s.now) {
		t.Error("collected because the clock was set back")
	}
	if n := s.pass(time.Minute, 1<<10); n != 1 {
		t.Errorf("%d collections after the clock was set back, want one", n)
	}
}
