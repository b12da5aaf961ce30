// Command benchcompare measures Redoubt beside Debian's Mosquitto, as `make bench`
// does: the broker on one core, the generator (`redoubt bench`) on another, each
// row in turns of one broker and the other, best of the rounds with its range. It
// decides nothing: what is to be reached stands beside what was seen.
//
//	benchcompare -redoubt bin/redoubt -out bench/results [-rounds 3] [-seconds 5] [-rows p2p-q0,p2p-q1]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redoubtmq/redoubt/internal/clock"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

// settings are the command line.
type settings struct {
	redoubt, config, out string
	mosquitto            string // empty: the one that is installed
	rounds, seconds      int
	first                int // of the ports
	scale                float64
	rows                 []row
}

// run answers the exit code: 0 measured, 1 not, 2 used wrongly.
func run(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("benchcompare", flag.ContinueOnError)
	flags.SetOutput(out)
	var s settings
	flags.StringVar(&s.redoubt, "redoubt", "bin/redoubt", "the program, which is the broker and the generator")
	flags.StringVar(&s.mosquitto, "mosquitto", "", "Mosquitto to compare with; empty: the one that is installed, or Debian's")
	flags.StringVar(&s.config, "config", "bench", "folder with redoubt.yaml, rules.yaml and mosquitto.conf")
	flags.StringVar(&s.out, "out", filepath.Join("bench", "results"), "folder for table.txt, results.json and chart.svg")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds of each row; half of them, and one at least, for rows that take long, and twice as many for latency")
	flags.IntVar(&s.seconds, "seconds", 5, "seconds that each run is measured")
	flags.IntVar(&s.first, "port", portFirst, "first of five ports of 127.0.0.1 that the brokers have")
	flags.Float64Var(&s.scale, "scale", 1, "share of the clients that a row has; below 1 there are no verdicts")
	names := flags.String("rows", "", "rows, with commas between ("+strings.Join(rowNames(), ", ")+"), or all of a subject ("+strings.Join(setNames(), ", ")+"), or "+everything+"; empty: all but growth, isolation and latency while something else happens")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var err error
	if s.rows, err = choose(*names); err == nil {
		switch {
		case flags.NArg() > 0:
			err = fmt.Errorf("%q is no flag: rows are named with -rows %s", flags.Arg(0), strings.Join(flags.Args(), ","))
		case s.rounds < 1 || s.rounds > 100:
			err = fmt.Errorf("%d rounds: it is 1 to 100, and a result needs 3", s.rounds)
		case s.seconds < 1 || s.seconds > 600:
			err = fmt.Errorf("%d seconds: it is 1 to 600", s.seconds)
		case s.first < 1024 || s.first > 65535-ports:
			err = fmt.Errorf("port %d: it is 1024 to %d", s.first, 65535-ports)
		case !(s.scale > 0 && s.scale <= 1): // NaN is neither
			err = fmt.Errorf("a scale of %v: it is more than 0 and at most 1", s.scale)
		}
	}
	if err != nil {
		fmt.Fprintln(out, "benchcompare:", err)
		return 2
	}
	if err := measure(&s, out); err != nil {
		fmt.Fprintln(out, "benchcompare:", err)
		return 1
	}
	return 0
}

// measure does it, and writes what it found even when it was interrupted.
func measure(s *settings, out io.Writer) error {
	cores, threads, err := twoCores()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "redoubt-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := &lab{settings: s, dir: dir, cores: cores, log: out, clock: clock.System{}}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(stop)
	l.stop = stop
	if err := l.prepare(); err != nil {
		return err
	}
	res := l.describe()
	res.Threads = threads
	for _, g := range groups(s.rows) {
		rs, err := l.measure(g)
		for _, r := range rs {
			if len(r.Redoubt.Runs)+len(r.Redoubt.Failed) > 0 {
				res.Rows = append(res.Rows, *r)
			}
		}
		if errors.Is(err, errStopped) {
			fmt.Fprintln(out, "interrupted: what follows is what was measured")
			res.Interrupted = true
			break
		}
		if err != nil {
			return err
		}
	}
	return l.conclude(res)
}

// conclude shows and writes what was measured, which is no result where it was interrupted.
func (l *lab) conclude(res *Results) error {
	if len(res.Rows) == 0 {
		return errors.New("nothing was measured")
	}
	text := res.table()
	fmt.Fprint(l.log, "\n", text)
	if err := res.write(l.out, text); err != nil || !res.Interrupted {
		return err
	}
	return errStopped
}

var errStopped = errors.New("interrupted")
