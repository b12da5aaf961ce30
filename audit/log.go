// Package audit writes down who did what, for the person on call. Its lines are
// made so that a peer cannot flood them: the same event of the same subject is
// one line a minute that says how often it happened, and all lines together
// have a rate. It decides nothing.
//
// The tamper-evident chain and its sinks (checklist row P5.6) join this room
// later; today its lines go to the structured log.
package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
)

// Window is how long one line speaks for its repetitions.
const Window = time.Minute

// subjectsMax bounds the memory for repetitions: about 1 MiB. Past it, events
// of subjects not yet known are counted and not written until others are
// forgotten, which takes one Window.
const subjectsMax = 4096

// linesPerSecond bounds what all subjects together can write. At 200 bytes a
// line an attacker with many names fills 864 MB a day at most, and a log
// shipper keeps up.
const (
	linesPerSecond = 50
	linesBurst     = 200
)

// textMax bounds what a client chose and a line repeats, in bytes.
const textMax = 256

// Log writes events. It is safe for concurrent use.
type Log struct {
	out   *slog.Logger
	count *metrics.Shard

	mu     sync.Mutex // guards everything below
	seen   map[subject]*repeat
	tokens float64
	filled time.Time
}

// subject is what repetitions are counted by.
type subject struct{ event, who, what string }

type repeat struct {
	since time.Time
	more  int // not written since the line
	level slog.Level
}

// New writes to out and counts what it left out in count.
func New(out *slog.Logger, count *metrics.Shard) *Log {
	return &Log{out: out, count: count, seen: make(map[subject]*repeat), tokens: linesBurst}
}

// Denied writes down that a rule refused by something, once per client, rule
// and minute. The topic is cut to 256 bytes; payloads are never seen here.
func (l *Log) Denied(now time.Time, by *auth.Principal, a auth.Action, topic []byte, rule *auth.Rule) {
	s := subject{a.String() + " denied", by.Identity + "\x00" + by.ClientID, rule.ID}
	if !l.speak(now, s, slog.LevelWarn) {
		return
	}
	attrs := []slog.Attr{
		slog.String("user", by.Username), slog.String("client_id", clip(by.ClientID)),
		slog.String("address", by.Addr.String()), slog.String("listener", by.Listener),
		slog.String("topic", clip(string(topic))), slog.String("rule", rule.Text),
	}
	if rule.File != "" { // the last rule of every policy stands in no file
		attrs = append(attrs, slog.String("file", rule.File), slog.Int("line", rule.Line))
	}
	l.out.LogAttrs(context.Background(), slog.LevelWarn, s.event, attrs...)
}

// Event writes msg, once per who and minute. who is what an attacker cannot
// have many of: an address prefix, a proven identity; never a claimed name.
func (l *Log) Event(now time.Time, level slog.Level, msg, who string, attrs ...slog.Attr) {
	if !l.out.Enabled(context.Background(), level) || !l.speak(now, subject{msg, who, ""}, level) {
		return
	}
	for i := range attrs {
		if attrs[i].Value.Kind() == slog.KindString {
			attrs[i].Value = slog.StringValue(clip(attrs[i].Value.String()))
		}
	}
	l.out.LogAttrs(context.Background(), level, msg, attrs...)
}

// speak tells whether s may have a line now.
func (l *Log) speak(now time.Time, s subject, level slog.Level) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.seen[s]; r != nil {
		if now.Sub(r.since) < Window {
			r.more++
			l.count.Inc(metrics.LogLinesSuppressed)
			return false
		}
		l.summarise(now, s, r)
		delete(l.seen, s)
	}
	if len(l.seen) >= subjectsMax || !l.token(now) {
		l.count.Inc(metrics.LogLinesSuppressed)
		return false
	}
	l.seen[s] = &repeat{since: now, level: level}
	return true
}

// token takes one of the lines everybody shares.
func (l *Log) token(now time.Time) bool {
	if !l.filled.IsZero() {
		l.tokens = min(linesBurst, l.tokens+now.Sub(l.filled).Seconds()*linesPerSecond)
	}
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// Sweep forgets subjects whose minute is over and writes how often they came
// again. Somebody calls it every few seconds.
func (l *Log) Sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, r := range l.seen {
		if now.Sub(r.since) >= Window {
			l.summarise(now, s, r)
			delete(l.seen, s)
		}
	}
}

func (l *Log) summarise(now time.Time, s subject, r *repeat) {
	if r.more == 0 || !l.token(now) {
		return
	}
	l.out.LogAttrs(context.Background(), r.level, s.event+", repeated",
		slog.String("subject", clip(s.who)), slog.String("rule", s.what),
		slog.Int("times", r.more), slog.Duration("within", now.Sub(r.since).Round(time.Second)))
}

func clip(s string) string {
	if len(s) > textMax {
		return s[:textMax] + "..."
	}
	return s
}
