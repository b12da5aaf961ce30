package retain

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

var unlimited = Options{MessagesMax: -1, BytesMax: -1}

func at(ms int64) time.Time { return time.UnixMilli(ms) }

// frame makes a message; without ttl it never expires.
func frame(topic, payload string, ttl ...int64) *mqtt.Frame {
	f := mqtt.NewFrame([]byte(topic), nil, []byte(payload))
	f.Retain = true
	for _, ms := range ttl {
		f.ExpiresAt = ms
	}
	return f
}

// put puts a message and lets go of it, as its publisher does.
func put(t testing.TB, s *Store, f *mqtt.Frame) uint64 {
	t.Helper()
	v, err := s.Put(f)
	if err != nil {
		t.Fatalf("Put(%s): %v", f.Topic(), err)
	}
	f.Release()
	return v
}

// all walks in portions of max and answers topic=payload of every message.
func all(s *Store, now time.Time, filter string, max int) (got []string, calls int) {
	var cur Cursor
	for done := false; !done; calls++ {
		done = s.Walk(now, filter, &cur, max, func(f *mqtt.Frame) bool {
			got = append(got, string(f.Topic())+"="+string(f.Payload()))
			return true
		})
	}
	return got, calls
}

func TestPut(t *testing.T) {
	s := New(unlimited)
	if v := put(t, s, frame("a", "1")); v != 1 || s.Version() != 1 {
		t.Errorf("first version is %d, %d", v, s.Version())
	}
	f := frame("a", "2") // [MQTT-3.3.1-5]
	if v, err := s.Put(f); v != 2 || err != nil || f.Version != 2 {
		t.Errorf("version %d, %d, %v", v, f.Version, err)
	}
	if got, _ := all(s, at(0), "#", 10); fmt.Sprint(got) != "[a=2]" {
		t.Errorf("retained: %v", got)
	}
	if n, bytes := s.Stats(); n != 1 || bytes != int64(f.Size())+slotBytes {
		t.Errorf("%d messages, %d bytes", n, bytes)
	}
	if v := put(t, s, frame("a", "")); v != 3 || s.Version() != 3 { // [MQTT-3.3.1-6]
		t.Errorf("removal has version %d, %d", v, s.Version())
	}
	if v := put(t, s, frame("b", "")); v != 4 { // [MQTT-3.3.1-7]: nothing there, nothing kept
		t.Errorf("removal of nothing has version %d", v)
	}
	if n, bytes := s.Stats(); n != 0 || bytes != 0 || s.topics.blocks != nil {
		t.Errorf("left: %d messages, %d bytes, %d blocks", n, bytes, len(s.topics.blocks))
	}
}

// The store holds exactly one reference to what it retains: after its own is
// given back another release is one too many.
func TestReferences(t *testing.T) {
	s := New(unlimited)
	lastReleased := func(f *mqtt.Frame) (yes bool) {
		defer func() { yes = recover() != nil }()
		f.Release()
		return false
	}
	replaced, removed, swept, kept := frame("a", "1"), frame("b", "1"), frame("c", "1", 5), frame("d", "1")
	for _, f := range []*mqtt.Frame{replaced, removed, swept, kept} {
		if _, err := s.Put(f); err != nil {
			t.Fatal(err)
		}
	}
	// Ours are still held, so that no frame is used again while we look.
	put(t, s, frame("a", "2"))
	put(t, s, frame("b", ""))
	if n := s.Sweep(at(5), 10); n != 1 {
		t.Fatalf("%d swept", n)
	}
	for name, f := range map[string]*mqtt.Frame{"replaced": replaced, "removed": removed, "swept": swept} {
		f.Hold()
		f.Release()
		if lastReleased(f) {
			t.Errorf("%s: released by the store more than once", name)
		}
		if !lastReleased(f) {
			t.Errorf("%s: the store still holds it", name)
		}
	}
	if lastReleased(kept) || lastReleased(kept) || !lastReleased(kept) {
		t.Error("kept: the store does not hold it exactly once")
	}
}

func TestQuota(t *testing.T) {
	size := int64(frame("a", "1").Size()) + slotBytes
	for name, opt := range map[string]Options{
		"messages": {MessagesMax: 2, BytesMax: -1},
		"bytes":    {MessagesMax: -1, BytesMax: 2*size + size/2},
	} {
		s := New(opt)
		put(t, s, frame("a", "1"))
		put(t, s, frame("b", "1"))
		f := frame("c", "1")
		if v, err := s.Put(f); err != ErrQuota || v != 0 || f.Version != 0 || s.Version() != 2 {
			t.Errorf("%s: Put over the limit = %d, %v; version %d, %d", name, v, err, f.Version, s.Version())
		}
		put(t, s, frame("a", "2")) // replaces, and takes no more room
		put(t, s, frame("x", ""))  // removal is always allowed
		put(t, s, frame("b", ""))
		put(t, s, f)
		if got, _ := all(s, at(0), "#", 10); fmt.Sprint(got) != "[a=2 c=1]" {
			t.Errorf("%s: %v", name, got)
		}
		if n, bytes := s.Stats(); n != 2 || bytes != 2*size {
			t.Errorf("%s: %d messages, %d bytes", name, n, bytes)
		}
	}
	s := New(Options{MessagesMax: 10, BytesMax: size})
	put(t, s, frame("a", "1"))
	if _, err := s.Put(frame("a", string(make([]byte, size)))); err != ErrQuota {
		t.Errorf("a replacement that does not fit: %v", err)
	}
	if got, _ := all(s, at(0), "a", 1); fmt.Sprint(got) != "[a=1]" {
		t.Errorf("the old one is gone: %v", got)
	}
	if _, err := New(Options{}).Put(frame("a", "1")); err != ErrQuota {
		t.Errorf("no options allow %v", err)
	}
}

func TestSweep(t *testing.T) {
	s := New(unlimited)
	for i := range int64(1000) {
		put(t, s, frame(fmt.Sprintf("t/%d", i), "x", 1+i*7919%1000))
	}
	put(t, s, frame("for/ever", "x"))
	put(t, s, frame("t/5", "prolonged", 5000))
	v := s.Version()
	if n := s.Sweep(at(0), 100); n != 0 {
		t.Errorf("%d removed before their time", n)
	}
	if n := s.Sweep(at(500), 100); n != 100 {
		t.Errorf("%d removed at once, 100 allowed", n)
	}
	for s.Sweep(at(500), 100) == 100 {
	}
	for _, b := range s.topics.blocks {
		for _, e := range b.items {
			if expired(e.f, at(500)) {
				t.Errorf("%s is still there", e.f.Topic())
			}
		}
	}
	if n, _ := s.Stats(); n != 501 || s.expiry.n != 500 {
		t.Errorf("%d messages, %d of which expire", n, s.expiry.n)
	}
	s.Sweep(at(1000), 1000)
	if got, _ := all(s, at(1000), "#", 10); fmt.Sprint(got) != "[for/ever=x t/5=prolonged]" {
		t.Errorf("left: %v", got)
	}
	if s.Version() != v {
		t.Errorf("version moved from %d to %d", v, s.Version())
	}
}

// A frame that is put again, or changed while it is retained, would be lost in the
// order it is kept in: that is our mistake and does not pass in silence.
func TestMisuse(t *testing.T) {
	for name, misuse := range map[string]func(s *Store, f *mqtt.Frame){
		"put twice":      func(s *Store, f *mqtt.Frame) { _, _ = s.Put(f) },
		"expiry changed": func(s *Store, f *mqtt.Frame) { f.ExpiresAt++; _, _ = s.Put(frame("a", "2")) },
	} {
		s := New(unlimited)
		f := frame("a", "1", 10)
		if _, err := s.Put(f); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: nobody noticed", name)
				}
			}()
			misuse(s, f)
		}()
	}
}

// TestWhatTheBrokerKeepsOfItsOwn: what no row will have is counted apart, as long as it is
// there, whether or not everything is in memory.
func TestWhatTheBrokerKeepsOfItsOwn(t *testing.T) {
	s := newShelfStore(10 << 10)
	if more, err := s.Refill(at(1), 10); more || err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"1", "2"} { // the second takes the place of the first
		put(t, s.Store, frame("$SYS/broker/uptime", value))
		put(t, s.Store, frame("$SYS/broker/version", value))
	}
	for i := range 500 {
		s.say(fmt.Sprintf("dev/%03d", i), "on", 0)
		s.rows.follow(10)
	}
	if n, _ := s.Stats(); n != 502 || s.Own() != 2 || s.complete {
		t.Errorf("%d messages, %d of them the broker's; whole: %v", n, s.Own(), s.complete)
	}
	put(t, s.Store, frame("$SYS/broker/version", ""))
	if n, _ := s.Stats(); n != 501 || s.Own() != 1 {
		t.Errorf("%d messages, %d of them the broker's", n, s.Own())
	}
}
