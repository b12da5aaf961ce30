package backend

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// server is a Driver that does as it is told.
type server struct {
	mu     sync.Mutex // guards everything below
	takes  time.Duration
	deaf   bool // it takes for ever, and ends with the context
	fails  error
	rows   []Row
	asked  []string // first arguments, in order
	pings  int
	most   int // at once
	now    int
	breaks bool
	closed bool
}

func (s *server) Ask(ctx context.Context, q Question) ([]Row, error) {
	s.mu.Lock()
	if len(q.Args) > 0 {
		s.asked = append(s.asked, q.Args[0])
	}
	s.now++
	s.most = max(s.most, s.now)
	takes, deaf, fails, rows, breaks := s.takes, s.deaf, s.fails, s.rows, s.breaks
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.now--; s.mu.Unlock() }()
	if breaks {
		panic("index out of range")
	}
	if deaf {
		<-ctx.Done()
		return nil, errors.New("read: connection timed out")
	}
	<-time.After(takes) // of the bubble
	return rows, fails
}

func (s *server) Ping(ctx context.Context) error {
	s.mu.Lock()
	s.pings++
	s.mu.Unlock()
	_, err := s.Ask(ctx, Question{})
	return err
}

func (s *server) Close() { s.mu.Lock(); s.closed = true; s.mu.Unlock() }

func (s *server) set(f func()) { s.mu.Lock(); f(); s.mu.Unlock() }

var (
	here      = netip.MustParseAddr("192.0.2.1")
	elsewhere = netip.MustParseAddr("198.51.100.1")
)

// desk is a Backend in a bubble, whose answers are written down.
type desk struct {
	*testing.T
	*Backend
	server  *server
	mu      sync.Mutex // guards everything below
	got     []string   // "id kind", as they came
	changes []string
}

func inBubble(t *testing.T, opt Options, fn func(d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{T: t, server: &server{rows: []Row{{{Name: "a", Value: "b"}}}}}
		opt.Changed = func(_ time.Time, down bool, why string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.changes = append(d.changes, fmt.Sprint(down, " ", why))
		}
		d.Backend = New("db", d.server, clock.System{}, opt)
		fn(d)
		d.Close()
		if !d.server.closed {
			t.Error("the driver was not closed")
		}
	})
}

func (d *desk) ask(from netip.Addr, id string) {
	d.Ask(from, Question{Args: []string{id}, RowsMax: 1}, func(rows []Row, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.got = append(d.got, id+" "+KindOf(err).String())
	})
}

// said are the answers so far, and forgets them.
func (d *desk) said() string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	out := strings.Join(d.got, ", ")
	d.got = nil
	return out
}

func TestAnswers(t *testing.T) {
	inBubble(t, Options{}, func(d *desk) {
		d.ask(here, "a")
		if got := d.said(); got != "a answered" {
			t.Error(got)
		}
		d.server.set(func() { d.server.rows = append(d.server.rows, d.server.rows...) })
		d.ask(here, "b")
		if got := d.said(); got != "b excess" {
			t.Error("more rows than were asked for: ", got)
		}
		d.server.set(func() { d.server.breaks = true })
		d.ask(here, "c")
		if got := d.said(); got != "c garbage" {
			t.Error("an answer that breaks the driver: ", got)
		}
	})
}

// A server that stalls costs Workers goroutines and Queue places, whoever asks how
// often; everybody has an answer in time, and the breaker opens (A103).
func TestStallIsBounded(t *testing.T) {
	inBubble(t, Options{Workers: 4, Queue: 100, Share: 100, Timeout: 2 * time.Second, OpenFor: time.Minute}, func(d *desk) {
		d.server.deaf = true
		before := runtime.NumGoroutine()
		began := time.Now()
		const storm = 10_000
		for i := range storm {
			d.ask(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), fmt.Sprint(i))
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines more than before the storm", n-before)
		}
		if waiting, asking := d.pool.Load(); waiting != 100 || asking != 4 {
			t.Errorf("%d wait, %d are under way", waiting, asking)
		}
		full := strings.Count(d.said(), "queue_full")
		if full != storm-104 {
			t.Errorf("%d had no place, want %d", full, storm-104)
		}
		time.Sleep(2 * time.Second)
		got := d.said()
		if n := strings.Count(got, "timeout") + strings.Count(got, "breaker_open"); n != 104 {
			t.Errorf("%d of 104 have an answer after two seconds:\n%s", n, got)
		}
		if took := time.Since(began); took > 2*time.Second+10*time.Millisecond {
			t.Errorf("the last answer came after %v", took)
		}
	})
}

// Fewer failures than the breaker wants leave it closed; those who wait do not wait
// for workers that hang.
func TestWaitingEndsInTime(t *testing.T) {
	inBubble(t, Options{Workers: 1, Timeout: time.Second, Failures: 100}, func(d *desk) {
		d.server.takes = 700 * time.Millisecond
		for _, id := range []string{"a", "b", "c", "d"} {
			d.ask(here, id)
		}
		time.Sleep(time.Second)
		if got := d.said(); got != "a answered, c timeout, d timeout" && got != "a answered, d timeout, c timeout" {
			t.Error(got)
		}
	})
}

func TestNetworksTakeTurns(t *testing.T) {
	inBubble(t, Options{Workers: 1, Queue: 10, Share: 8, Timeout: time.Minute}, func(d *desk) {
		d.server.takes = time.Second
		for i := range 9 {
			d.ask(here, fmt.Sprint("h", i))
			synctest.Wait()
		}
		d.ask(elsewhere, "e0")
		if got := d.said(); got != "h8 queue_full" {
			t.Error("beyond the share of a network: ", got)
		}
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if got := strings.Join(d.server.asked, " "); got != "h0 h1 e0" {
			t.Error("turns: ", got)
		}
		for i := range 4 {
			d.ask(elsewhere, fmt.Sprint("e", i+1))
		}
		if got := d.said(); !strings.Contains(got, "h0 answered, h1 answered") || strings.Contains(got, "full") {
			t.Error(got)
		}
		d.ask(netip.MustParseAddr("203.0.113.1"), "x") // ten wait: the heaviest makes room
		if got := d.said(); got != "h7 queue_full" {
			t.Error("a full queue: ", got)
		}
	})
}

func TestBreaker(t *testing.T) {
	inBubble(t, Options{Workers: 1, Failures: 3, OpenFor: 5 * time.Second}, func(d *desk) {
		d.server.fails = errors.New("connection refused")
		for range 3 {
			d.ask(here, "a")
			synctest.Wait()
		}
		d.ask(here, "b")
		if got := d.said(); got != "a down, a down, a down, b breaker_open" {
			t.Fatal(got)
		}
		if len(d.changes) != 1 || !strings.Contains(d.changes[0], "connection refused") {
			t.Error("who is told: ", d.changes)
		}
		time.Sleep(5 * time.Second)
		d.server.set(func() { d.server.takes = time.Second })
		d.ask(here, "c") // the one
		d.ask(here, "d")
		time.Sleep(time.Second)
		if got := d.said(); got != "d breaker_open, c down" {
			t.Error("half open: ", got)
		}
		d.server.set(func() { d.server.fails, d.server.takes = nil, 0 })
		d.ask(here, "e")
		if got := d.said(); got != "e breaker_open" {
			t.Error("after the one failed: ", got)
		}
		time.Sleep(5 * time.Second)
		d.ask(here, "f")
		synctest.Wait()
		d.ask(here, "g")
		if got := d.said(); got != "f answered, g answered" {
			t.Error("after the one had an answer: ", got)
		}
		if len(d.changes) != 2 || !strings.HasPrefix(d.changes[1], "false") {
			t.Error("who is told: ", d.changes)
		}
	})
}

// An answer that says nothing is counted as that, and opens no breaker: a client may have
// brought it about by what it calls itself.
func TestAnswersThatAreNotUnderstood(t *testing.T) {
	inBubble(t, Options{Failures: 2}, func(d *desk) {
		for range 3 {
			d.Ask(here, Question{Text: "q", Args: []string{"ann"}, RowsMax: 9, Understood: func([]Row) error { return errors.New("no result") }}, func(rows []Row, err error) {
				if rows != nil || KindOf(err) != BadAnswer || !strings.HasSuffix(err.Error(), "no result") {
					t.Error(rows, err)
				}
			})
			synctest.Wait()
		}
		if s := d.Stats(); s.Open || s.Counts[BadAnswer] != 3 || s.Counts[Answered] != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What clients choose must not be able to open the breaker for all.
func TestRejectedIsNoFailure(t *testing.T) {
	inBubble(t, Options{Failures: 2}, func(d *desk) {
		d.server.fails = Failed(Rejected, "invalid byte sequence")
		for range 10 {
			d.ask(here, "a")
			synctest.Wait()
		}
		d.server.set(func() { d.server.fails = nil; d.server.rows = append(d.server.rows, d.server.rows...) })
		for range 10 { // a client with a thousand rights
			d.ask(here, "b")
			synctest.Wait()
		}
		if d.Stats().Open || d.Stats().Counts[Rejected] != 10 || d.Stats().Counts[Excess] != 10 {
			t.Errorf("%+v", d.Stats())
		}
	})
}

// The alarm ends at night, when nobody connects.
func TestBreakerClosesByItself(t *testing.T) {
	inBubble(t, Options{Failures: 1, OpenFor: 4 * time.Second}, func(d *desk) {
		d.server.fails = errors.New("connection refused")
		d.ask(here, "a")
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if !d.Stats().Open || d.server.pings != 2 {
			t.Errorf("open %v after %d pings", d.Stats().Open, d.server.pings)
		}
		d.server.set(func() { d.server.fails = nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if d.Stats().Open || len(d.changes) != 2 {
			t.Errorf("open %v, %q", d.Stats().Open, d.changes)
		}
	})
}

// Everybody has an answer from a back end that is closed; with Drain the right one.
func TestCloseAndDrain(t *testing.T) {
	inBubble(t, Options{Workers: 1}, func(d *desk) {
		d.server.takes = 500 * time.Millisecond
		d.ask(here, "a")
		d.ask(here, "b")
		go d.Drain()
		synctest.Wait()
		d.ask(here, "c")
		time.Sleep(time.Second)
		if got := d.said(); got != "c closed, a answered, b answered" {
			t.Error(got)
		}
	})
	inBubble(t, Options{Workers: 1}, func(d *desk) {
		d.server.deaf = true
		d.ask(here, "a")
		synctest.Wait()
		d.ask(here, "b")
		d.Close()
		if got := d.said(); got != "b closed, a closed" {
			t.Error(got)
		}
	})
}

func TestCache(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := NewCache(CacheOptions{Entries: 2, Positive: time.Minute, Negative: 5 * time.Second})
	key := func(args ...string) Key { return c.KeyOf(Question{Text: "q", Args: args}) }
	if key("a", "bc") == key("ab", "c") || key("a") == NewCache(CacheOptions{}).KeyOf(Question{Text: "q", Args: []string{"a"}}) {
		t.Error("keys do not tell questions apart, or are the same in every process")
	}
	rows := []Row{{{Name: "a", Value: "b"}}}
	c.Put(now, key("a"), rows)
	c.Put(now, key("b"), nil)
	has := func(after time.Duration, args ...string) bool {
		_, ok := c.Get(now.Add(after), key(args...))
		return ok
	}
	if !has(59*time.Second, "a") || has(time.Minute, "a") || !has(4*time.Second, "b") || has(5*time.Second, "b") {
		t.Error("answers are not kept for as long as they should be")
	}
	for i := range 100 {
		c.Put(now, key(fmt.Sprint(i)), rows)
	}
	if n, _ := c.Stats(); n != 2 || !has(0, "99") || !has(0, "98") {
		t.Errorf("%d entries of 2", n)
	}
	c.Clear()
	if has(0, "99") {
		t.Error("Clear leaves something")
	}
}
