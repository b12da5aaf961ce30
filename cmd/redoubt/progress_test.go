package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

func TestProgressOfShortWorkIsSilent(t *testing.T) {
	for _, width := range []int{0, 80} {
		var out bytes.Buffer
		clk := clock.NewManual(time.Unix(100, 0))
		p := newProgress(&out, "reading")
		p.clk, p.width, p.began, p.said = clk, width, clk.Now(), clk.Now()
		for i := range 10 {
			clk.Advance(20 * time.Millisecond)
			p.at(int64(i), 10)
		}
		p.end()
		if out.Len() > 0 {
			t.Errorf("width %d: %q", width, out.String())
		}
	}
}

// Where nobody watches, long work says a line now and then; on a terminal it draws
// one line over and over and leaves nothing.
func TestProgressOfLongWork(t *testing.T) {
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, "reading the log: 33 % of 3.0 GiB, 20s left\nreading the log: 67 % of 3.0 GiB, 10s left\nreading the log: 100 % of 3.0 GiB\n"},
		{80, "reading the log [#############.................] 43 % of 3.0 GiB, 17s left"},
		{30, "reading the log [############"},
	} {
		var out bytes.Buffer
		clk := clock.NewManual(time.Unix(100, 0))
		p := newProgress(&out, "reading the log")
		p.clk, p.width, p.began, p.said = clk, c.width, clk.Now(), clk.Now()
		for i := range 300 {
			clk.Advance(100 * time.Millisecond)
			p.at(int64(i+1)<<20, 300<<20)
		}
		p.end()
		got := strings.ReplaceAll(out.String(), "300.0 MiB", "3.0 GiB")
		if c.width == 0 {
			if got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
			continue
		}
		drawn := strings.Split(got, "\r\x1b[K")
		if len(drawn) < 200 || drawn[len(drawn)-1] != "" {
			t.Fatalf("%d drawn, the last is %q", len(drawn), drawn[len(drawn)-1])
		}
		for _, line := range drawn {
			if len(line) >= c.width {
				t.Fatalf("%q does not fit %d columns", line, c.width)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("width %d: no %q in %q", c.width, c.want, drawn[100])
		}
	}
}

func TestSizesForPeople(t *testing.T) {
	got := fmt.Sprint(sizeText(0), ", ", sizeText(1), ", ", sizeText(1023), ", ", sizeText(1536), ", ", sizeText(64<<20), ", ", sizeText(5<<30))
	if want := "0 bytes, 1 byte, 1023 bytes, 1.5 KiB, 64.0 MiB, 5.0 GiB"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What a start says goes to the log, with the unit it counts in.
func TestProgressOfAStartIsLinesOfTheLog(t *testing.T) {
	var out bytes.Buffer
	var said []string
	clk := clock.NewManual(time.Unix(100, 0))
	p := newProgress(&out, "applying")
	p.clk, p.width, p.began, p.said = clk, 0, clk.Now(), clk.Now()
	p.say, p.sum = func(text string) { said = append(said, text) }, func(total int64) string { return fmt.Sprintf("%d records", total) }
	for i := range 25 {
		clk.Advance(time.Second)
		p.at(int64(i+1), 40)
	}
	p.end()
	if want := "[25 % of 40 records, 30s left 50 % of 40 records, 20s left]"; fmt.Sprint(said) != want || out.Len() > 0 {
		t.Errorf("said %v and wrote %q", said, out.String())
	}
}
