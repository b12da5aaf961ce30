package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
)

// Memory has settled when it did not fall for a time: a step of a collector is waited for, and what
// comes back after it is not.
func TestSettling(t *testing.T) {
	for name, c := range map[string]struct {
		rss  []int64 // one a second; the last goes on
		want int     // second in which it has settled
	}{
		"flat":                     {[]int64{1000}, 5},
		"still growing":            {[]int64{1000, 1100, 1200, 1300}, 8},
		"a stray page":             {[]int64{1000, 1001, 1002, 1003, 1003, 1003, 1003}, 5},
		"a small fall":             {[]int64{1000, 1000, 980}, 7},
		"a step ends the wait":     {[]int64{1000, 1000, 1000, 1000, 700}, 6},
		"a step in parts":          {[]int64{1000, 900, 800, 700}, 5},
		"what comes back is noise": {[]int64{1000, 700, 710, 700}, 3},
	} {
		s := settling{quiet: 5 * time.Second}
		got := 0
		for ; got < 100; got++ {
			if s.see(time.Duration(got)*time.Second, c.rss[min(got, len(c.rss)-1)]) {
				break
			}
		}
		if got != c.want {
			t.Errorf("%s: settled in second %d, want %d", name, got, c.want)
		}
	}
}

// Each kind is there when memory is read the second time, in so many pieces, and gone at the end.
func TestMemoryOfEachKind(t *testing.T) {
	for _, kind := range memoryKinds {
		t.Run(string(kind), func(t *testing.T) {
			b := fake.NewBroker(t, nil)
			o := to(b.Server, Memory)
			o.Count, o.Process, o.Memory = 101, os.Getpid(), MemoryShape{Kind: kind, Settle: 30 * time.Millisecond, Visitors: 3, Visit: 10 * time.Millisecond}
			there := false
			o.Progress = func(p Progress) {
				if _, ok := b.Retained("bench/0/7/v"); ok && p.Phase == "settling" {
					there = true
				}
			}
			rep, err := Run(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			m := rep.Memory
			want := map[MemoryKind]int{OfExact: 100, OfWildcard: 100}[kind]
			if want == 0 {
				want = o.Count
			}
			if m.Count != want || m.First < 30 || m.First > 34 || m.Resident == 0 || m.ResidentFirst == 0 {
				t.Errorf("%+v", m)
			}
			visits := 0
			for _, c := range b.Connects() {
				if strings.Contains(c.ClientID, "-v") {
					visits++
				}
			}
			if visits != 6 {
				t.Errorf("%d visits, want three each time", visits)
			}
			if kind == OfRetained {
				if rep.Sent.Acknowledged != 2*101 { // made, and removed
					t.Errorf("%+v", rep.Sent)
				}
				if text, ok := b.Retained("bench/0/7/v"); ok || !there {
					t.Errorf("there %t, %q is left", there, text)
				}
			}
		})
	}
}

func TestMemoryThatMakesNoSense(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"--pid":          func(o *Options) { o.Process = 0 },
		"cannot be read": func(o *Options) { o.Process = 1 << 30 },
		"too few":        func(o *Options) { o.Count = 29 },
		"--settle":       func(o *Options) { o.Memory.Settle = time.Hour },
	} {
		o := to(&fake.Server{Host: "127.0.0.1", Port: 1}, Memory)
		o.Count, o.Process = 100, os.Getpid()
		spoil(&o)
		_, err := Run(context.Background(), o)
		var e *client.Error
		if !errors.As(err, &e) || e.Kind != client.KindOptions || !strings.Contains(e.What, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := ParseMemoryKind("loud"); err == nil {
		t.Error("a kind that is none")
	}
}
