package session

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// ledger makes the frames of a test and finds out at the end whether every
// reference to them was given back, and none twice. It keeps one reference to
// each: a frame given back too often returns from the pool while it is still
// listed, and one given back too seldom survives the release of the ledger's.
type ledger struct {
	t      fataler
	frames map[*mqtt.Frame]string
}

// fataler is what testing.TB, rapid.T and the fuzzer have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newLedger(t fataler) *ledger {
	return &ledger{t: t, frames: make(map[*mqtt.Frame]string)}
}

// frame is a new message. Its reference is the ledger's: Hold it to give one away.
func (l *ledger) frame(name, payload string) *mqtt.Frame {
	l.t.Helper()
	f := mqtt.NewFrame([]byte(name), nil, []byte(payload))
	if was, ok := l.frames[f]; ok {
		l.t.Fatalf("the frame of %s was given back once too often: it is in use again", was)
	}
	if len(payload) > 20 {
		payload = payload[:20] + "..."
	}
	l.frames[f] = name + " " + payload
	return f
}

// settle is called when nobody should hold a frame any more.
func (l *ledger) settle() {
	l.t.Helper()
	for f, what := range l.frames {
		if said := panicOf(f.Release); said != "" {
			l.t.Fatalf("the frame of %s was given back once too often: %s", what, said)
		}
		// Nobody may hold a frame after its last release: that Hold panics is how
		// this one is known to have been the last.
		if said := panicOf(func() { f.Hold() }); !strings.HasPrefix(said, "BUG") {
			l.t.Fatalf("somebody still holds the frame of %s", what)
		}
	}
	clear(l.frames)
}

// panicOf runs f and answers what it panicked with.
func panicOf(f func()) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said, _ = r.(string)
		}
	}()
	f()
	return ""
}

// The ledger is what the other tests rely on, so it is tested with both mistakes.
func TestLedgerNoticesBothMistakes(t *testing.T) {
	for name, mistake := range map[string]func(f *mqtt.Frame){
		"held for ever":   func(f *mqtt.Frame) { f.Hold() },
		"given back once": func(f *mqtt.Frame) { f.Release() },
	} {
		var rec recorder
		l := newLedger(&rec)
		mistake(l.frame("a", "b"))
		l.settle()
		if rec.said == "" {
			t.Errorf("%s: not noticed", name)
		}
	}
	var rec recorder
	l := newLedger(&rec)
	l.frame("a", "b").Hold().Release()
	if l.settle(); rec.said != "" {
		t.Errorf("honest use: %s", rec.said)
	}
}

type recorder struct{ said string }

func (r *recorder) Helper()                        {}
func (r *recorder) Fatalf(format string, _ ...any) { r.said = format }
