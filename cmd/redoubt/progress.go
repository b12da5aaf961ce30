package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/redoubtmq/redoubt/internal/clock"
)

const (
	barAfter   = 300 * time.Millisecond // work that is done sooner shows nothing
	barEvery   = 100 * time.Millisecond
	barCells   = 30
	linesEvery = 10 * time.Second // where nobody watches: in a file, in the journal
	widthUsual = 80
)

// progress says how far long work is: a bar on a terminal, elsewhere a line now
// and then. It goes to standard error, so that the answer stays alone.
type progress struct {
	out   io.Writer
	clk   clock.Clock
	what  string                   // what is being done: "reading the log"
	width int                      // columns of the terminal; 0: it is none
	say   func(text string)        // what lines are given to in place of out; nil: out
	sum   func(total int64) string // all of it, for a person; nil: bytes

	began, said time.Time
	drawn       bool
}

func newProgress(out io.Writer, what string) *progress {
	p := &progress{out: out, clk: clock.System{}, what: what}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.width = widthUsual
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			p.width = w
		}
	}
	p.began = p.clk.Now()
	p.said = p.began
	return p
}

// at is called as often as there is something new, done bytes of total.
func (p *progress) at(done, total int64) {
	now := p.clk.Now()
	if p.width == 0 {
		if now.Sub(p.said) >= linesEvery {
			p.said = now
			if p.say != nil {
				p.say(p.text(now, done, total))
				return
			}
			fmt.Fprintf(p.out, "%s: %s\n", p.what, p.text(now, done, total))
		}
		return
	}
	if now.Sub(p.began) < barAfter || now.Sub(p.said) < barEvery {
		return
	}
	p.said, p.drawn = now, true
	full := int(float64(barCells) * fraction(done, total))
	line := fmt.Sprintf("%s [%s%s] %s", p.what, strings.Repeat("#", full), strings.Repeat(".", barCells-full), p.text(now, done, total))
	fmt.Fprintf(p.out, "\r\x1b[K%s", line[:min(len(line), p.width-1)]) // a longer one would not be drawn over
}

// end takes the bar away.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) text(now time.Time, done, total int64) string {
	f := fraction(done, total)
	sum := sizeText
	if p.sum != nil {
		sum = p.sum
	}
	s := fmt.Sprintf("%.0f %% of %s", 100*f, sum(total))
	if f > 0 && f < 1 {
		left := time.Duration(float64(now.Sub(p.began)) * (1 - f) / f)
		s += fmt.Sprintf(", %s left", max(left.Round(time.Second), time.Second))
	}
	return s
}

func fraction(done, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return min(1, float64(done)/float64(total))
}

// sizeText is a size for a person.
func sizeText(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
