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
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
)

// Window is how long one line speaks for its repetitions.
const Window = time.Minute

// Each class of events has a table and a rate of its own, so that strangers who
// fill theirs do not silence what is said of clients who proved who they are.
const (
	// subjectsMax bounds the memory for repetitions: about 1 MiB a class. Past it,
	// events of subjects not yet known are counted and not written until others are
	// forgotten, which takes one Window.
	subjectsMax = 4096
	// linesPerSecond bounds what all subjects of a class together can write. At 200
	// bytes a line an attacker with many names fills 432 MB a day at most, and a log
	// shipper keeps up.
	linesPerSecond = 25
	linesBurst     = 100
)

// textMax bounds what a client chose and a line repeats, in bytes.
const textMax = 256

// Log writes events. It is safe for concurrent use. Its logger must not block:
// loops write to it.
type Log struct {
	out   *slog.Logger
	count *metrics.Shard

	strangers, clients, admitted class
	recent                       Recent
	probes                       folding
	shown                        atomic.Bool // admitted
}

// class is the events of one kind of subject.
type class struct {
	log *Log

	who string // of the class, as a line names it

	mu     sync.Mutex // guards everything below
	seen   map[subject]*repeat
	tokens float64
	filled time.Time
	lost   int       // events that no line speaks for
	since  time.Time // the first of them
}

// subject is what repetitions are counted by.
type subject struct {
	event, who, what string
	from             netip.Prefix // of a stranger, who has no name
	listener         string
}

type repeat struct {
	since time.Time
	more  int // not written since the line
	level slog.Level
	limit string // of the line, if it is of the door: there what and listener say which
	last  latest // of those not written
}

// latest is what a line that stands for many says of the last of them; ref is 0 where
// nothing is kept of any.
type latest struct {
	ref          Ref
	user, client string
}

// New writes to out and counts what it left out in count.
func New(out *slog.Logger, count *metrics.Shard) *Log {
	l := &Log{out: out, count: count}
	l.strangers = class{log: l, who: "strangers", seen: make(map[subject]*repeat), tokens: linesBurst}
	l.admitted = class{log: l, who: "clients that were let in", seen: make(map[subject]*repeat), tokens: linesBurst}
	l.clients = class{log: l, who: "clients and ourselves", seen: make(map[subject]*repeat), tokens: linesBurst}
	return l
}

// Denied writes down that a rule refused by something, once per client, rule
// and minute, keeps it for whoever asks, and answers its reference. The topic is cut to
// 256 bytes; payloads are never seen here.
func (l *Log) Denied(now time.Time, by *auth.Principal, a auth.Access, rule *auth.Rule) Ref {
	return l.denied(now, by, &a, a.Action.String()+" denied", rule)
}

// Undelivered is Denied of a message on its way to a subscriber.
func (l *Log) Undelivered(now time.Time, by *auth.Principal, topic []byte, rule *auth.Rule) {
	l.denied(now, by, &auth.Access{Action: auth.Subscribe, Topic: topic}, undelivered, rule)
}

func (l *Log) denied(now time.Time, by *auth.Principal, a *auth.Access, event string, rule *auth.Rule) Ref {
	ref := l.recent.add(now, denial(by, a, event, rule), l.subjectOf(by.Identity, "", true))
	s := subject{event: event, who: clientKey(by.Identity, by.ClientID), what: rule.ID}
	last := latest{ref, clip(by.Username), clip(by.ClientID)}
	if l.fold(by.Identity, "", last) || !l.clients.speak(now, s, slog.LevelWarn, last) {
		return ref
	}
	attrs := []slog.Attr{
		slog.String("user", by.Username), slog.String("client_id", clip(by.ClientID)),
		slog.String("address", by.Addr.String()), slog.String("listener", by.Listener),
		slog.String("topic", clip(string(a.Topic))), slog.String("ref", ref.String()), slog.String("rule", rule.Text),
	}
	if rule.File != "" {
		attrs = append(attrs, slog.String("file", rule.File), slog.Int("line", rule.Line))
	} else {
		attrs = append(attrs, slog.String("source", rule.Where()))
	}
	l.out.LogAttrs(context.Background(), slog.LevelWarn, s.event, attrs...)
	return ref
}

// Stranger writes msg about somebody who has not proved who he is, once per source
// prefix, what and minute. what tells kinds of the event apart and must come from a
// list of ours: whatever a stranger can choose would let him write without end. attrs is
// asked for the rest of the line only if there is to be one, and what is only counted
// allocates nothing; nil: there is no rest.
func (l *Log) Stranger(now time.Time, level slog.Level, msg string, from netip.Addr, what string, attrs func() []slog.Attr) {
	l.event(&l.strangers, now, level, subject{event: msg, from: prefixOf(from), what: what}, attrs)
}

// Mistaken is Stranger about a client who has proved who he is: what he does wrong shares a line
// with others of his network.
func (l *Log) Mistaken(now time.Time, level slog.Level, msg string, by *auth.Principal, what string, attrs func() []slog.Attr) {
	if !l.fold(by.Identity, "", latest{}) {
		l.Stranger(now, level, msg, by.Addr, what, attrs)
	}
}

// Refused is Stranger, once per listener, too, for what a flood makes happen very
// often.
func (l *Log) Refused(now time.Time, level slog.Level, msg string, from netip.Addr, listener, what string, attrs func() []slog.Attr) {
	l.event(&l.strangers, now, level, subject{event: msg, from: prefixOf(from), what: what, listener: listener}, attrs)
}

// Event writes msg about ourselves or about a proven identity, once per who and
// minute.
func (l *Log) Event(now time.Time, level slog.Level, msg, who string, attrs ...slog.Attr) {
	l.event(&l.clients, now, level, subject{event: msg, who: who}, func() []slog.Attr { return attrs })
}

func (l *Log) event(c *class, now time.Time, level slog.Level, s subject, build func() []slog.Attr) {
	if !l.out.Enabled(context.Background(), level) || s.who != "" && l.foldEvent(s.who) || !c.speak(now, s, level, latest{}) {
		return
	}
	var attrs []slog.Attr
	if build != nil {
		attrs = build()
	}
	for i := range attrs {
		if attrs[i].Value.Kind() == slog.KindString {
			attrs[i].Value = slog.StringValue(clip(attrs[i].Value.String()))
		}
	}
	if s.listener != "" {
		c.keepLimit(s, attrs)
	}
	l.out.LogAttrs(context.Background(), level, s.event, attrs...)
}

// keepLimit keeps which limit a line of s named for the line that says how often it came again.
func (l *class) keepLimit(s subject, attrs []slog.Attr) {
	for _, a := range attrs {
		if a.Key != "limit" {
			continue
		}
		l.mu.Lock()
		if r := l.seen[s]; r != nil {
			r.limit = a.Value.String()
		}
		l.mu.Unlock()
	}
}

// prefixOf is the part of an address that a stranger cannot change at will.
func prefixOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 56
	}
	p, _ := a.Prefix(bits) // the zero Prefix where there is no address: a pipe, a unix socket
	return p
}

// speak tells whether s may have a line now. If not, last is what the line that says how
// often it came again knows of this time.
func (l *class) speak(now time.Time, s subject, level slog.Level, last latest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.seen[s]; r != nil {
		if now.Sub(r.since) < Window {
			r.more++
			r.last = last
			l.log.count.Inc(metrics.LogLinesSuppressed)
			return false
		}
		l.summarise(now, s, r)
		delete(l.seen, s)
	}
	if len(l.seen) >= subjectsMax || !l.token(now) {
		l.log.count.Inc(metrics.LogLinesSuppressed)
		l.lose(now, 1)
		return false
	}
	l.seen[s] = &repeat{since: now, level: level}
	return true
}

// token takes one of the lines that all of the class share.
func (l *class) token(now time.Time) bool {
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
	l.strangers.sweep(now)
	l.clients.sweep(now)
	l.admitted.sweep(now)
	l.sweepProbes(now)
}

func (l *class) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, r := range l.seen {
		if now.Sub(r.since) >= Window {
			l.summarise(now, s, r)
			delete(l.seen, s)
		}
	}
	if l.lost > 0 && now.Sub(l.since) >= Window {
		l.log.out.LogAttrs(context.Background(), slog.LevelWarn, "lines of the log were left out: more kinds of events than it has room or time for",
			slog.String("about", l.who), slog.Int("events", l.lost), slog.String("within", now.Sub(l.since).Round(time.Second).String()))
		l.lost = 0
	}
}

// lose counts events that no line speaks for. It is called with mu held.
func (l *class) lose(now time.Time, n int) {
	if l.lost == 0 {
		l.since = now
	}
	l.lost += n
}

func (l *class) summarise(now time.Time, s subject, r *repeat) {
	switch {
	case r.more == 0:
		return
	case !l.token(now):
		l.lose(now, r.more)
		return
	}
	who := clip(strings.ReplaceAll(s.who, "\x00", "/"))
	if s.from.IsValid() {
		who = s.from.String()
	}
	attrs := []slog.Attr{slog.String("who", who), slog.String("what", s.what)}
	if s.listener != "" {
		attrs = append(attrs, slog.String("listener", s.listener))
	}
	if r.limit != "" {
		attrs = append(attrs, slog.String("limit", r.limit))
	}
	if r.last.ref != 0 { // the others are found by user, client or network, as far as they are kept
		attrs = append(attrs, slog.String("ref", r.last.ref.String()), slog.String("user", r.last.user), slog.String("client_id", r.last.client))
	}
	attrs = append(attrs, slog.Int("times", r.more), slog.String("within", now.Sub(r.since).Round(time.Second).String()))
	l.log.out.LogAttrs(context.Background(), r.level, s.event+", repeated", attrs...)
}

func clip(s string) string {
	if len(s) > textMax {
		return s[:textMax] + "..."
	}
	return s
}
