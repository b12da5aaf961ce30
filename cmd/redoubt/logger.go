package main

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/redoubtmq/redoubt/config"
)

// logLinesMax is how many lines may wait for whoever reads our log.
const logLinesMax = 4096

// lineQueue is a writer that never blocks: a terminal that was stopped, or a pipe
// nobody drains, must not stop the loops that write to the log. Lines that find
// the queue full are counted and left out.
type lineQueue struct {
	lines chan []byte
	done  chan struct{}
	lost  atomic.Int64

	mu     sync.Mutex // guards closed
	closed bool
}

// newLineQueue starts the goroutine that writes to out; Close ends it.
func newLineQueue(out io.Writer) *lineQueue {
	q := &lineQueue{lines: make(chan []byte, logLinesMax), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		for b := range q.lines {
			_, _ = out.Write(b) // to whom could we complain?
		}
	}()
	return q
}

// Write implements io.Writer for a slog handler, which writes whole lines.
func (q *lineQueue) Write(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(b), nil
	}
	select {
	case q.lines <- append([]byte(nil), b...):
	default:
		q.lost.Add(1)
	}
	return len(b), nil
}

// Forgive is how many lines were left out since it was last asked.
func (q *lineQueue) Forgive() int64 { return q.lost.Swap(0) }

// Close writes what waits and ends. A reader that does not read keeps it: whoever
// must not wait for ever does not call it.
func (q *lineQueue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	close(q.lines)
	<-q.done
}

// newLog is text on a terminal and JSON elsewhere, unless the configuration says
// which.
func newLog(c *config.Config, level *slog.LevelVar, out *os.File) (*slog.Logger, *lineQueue) {
	setLevel(level, c)
	q := newLineQueue(out)
	opts := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "text" || c.Log.Format == "auto" && term.IsTerminal(int(out.Fd())) {
		return slog.New(slog.NewTextHandler(q, opts)), q
	}
	return slog.New(slog.NewJSONHandler(q, opts)), q
}

func setLevel(level *slog.LevelVar, c *config.Config) {
	_ = level.UnmarshalText([]byte(c.Log.Level)) // the schema admits its four words only
}
