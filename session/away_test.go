package session

import (
	"testing"
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/mqtt"
)

// There is a Session for everybody who is away: it grows by what has no place elsewhere, or not at all.
func TestSessionIsAsSmallAsItWas(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 136 {
		t.Errorf("a session has %d bytes", n)
	}
	if n := unsafe.Sizeof(entry{}); n > 40 {
		t.Errorf("a subscription has %d bytes", n)
	}
}

// bare fails if s keeps something that only a connection needs.
func (k *keeper) bare() {
	k.t.Helper()
	if s := k.s; s.odd != nil || s.in != nil || s.out.burden != &unburdened || s.out.kept != &settled {
		k.t.Errorf("odd %v, received %v, under way %v, counted %+v", s.odd, s.in, s.out.burden != &unburdened, *s.out.kept)
	}
	if settled != (kept{}) || len(unburdened.inflight) != 0 || unburdened.queue.len() != 0 {
		k.t.Fatal("what all sessions share was written")
	}
}

// Whoever is away and has nothing under way has nothing that its connection needed, whatever it did; and when it
// comes back all of that works as it did the first time.
func TestAwayKeepsNothingOfTheConnection(t *testing.T) {
	lim := keptLimits
	lim.AliasInMax, lim.AliasOutMax = 5, 5
	k := newKeeper(t, lim)
	for round := range 3 {
		a := Attachment{Version: mqtt.V5, ReceiveMaximum: 2, AliasMaximum: 5, ExpirySeconds: 100, Will: &mqtt.Will{Topic: "w", DelaySeconds: 10}}
		k.words(k.s.Attach(now0, a, nil))
		if _, err := k.s.ResolveAlias(&mqtt.Publish{Topic: []byte("a/b"), TopicAlias: 1, HasTopicAlias: true}); err != nil {
			t.Fatal(err)
		}
		named := k.l.frame("a/long/topic", "named")
		o := k.s.Deliver(now0, Delivery{Frame: named}, nil)
		if o[0].Alias == 0 || o[0].Flags&FlagAliasOnly != 0 {
			t.Errorf("round %d: the client was not told an alias: %+v", round, o[0])
		}
		k.words(o)
		q2, q1 := k.message(2), k.message(1)
		k.expect(k.give(q2), "") // not before the log has it
		id := k.s.out.lastID
		_, _, said := k.outbox()
		if got := k.words(k.s.Stored(now0, said, nil)); got == "" {
			t.Errorf("round %d: QoS 2 was not sent when the log had it", round)
		}
		k.give(q1)
		if room := k.s.Room(); room != 0 {
			t.Errorf("round %d: room for %d more than the window", round, room)
		}
		_, _ = k.s.Pubrec(now0, id, mqtt.Success, nil)
		_, _, said = k.outbox()
		k.words(k.s.Stored(now0, said, nil))
		_, _ = k.s.Pubcomp(now0, id, nil)
		_, _ = k.s.Puback(now0, id+1, nil)

		if due := k.s.Detach(now0, true); due != (Due{}) {
			t.Errorf("round %d: %+v is due at once", round, due)
		}
		_, _, first := k.outbox()
		_, _, second := k.outbox()
		k.words(k.s.Stored(now0, first, nil))
		if k.s.out.kept == &settled {
			t.Errorf("round %d: the log still has to answer, and what it answers is not known any more", round)
		}
		k.words(k.s.Stored(now0, second, nil))
		k.bare()
		if got, want := k.s.Cursor(), q1; got != want {
			t.Errorf("round %d: the cursor is %d, want %d", round, got, want)
		}
		if got, want := k.s.Deadline(), now0.Add(10*time.Second); !got.Equal(want) {
			t.Errorf("round %d: due at %v, want the will at %v", round, got, want)
		}
		if due := k.s.Tick(now0.Add(10 * time.Second)); due.Will == nil || due.End {
			t.Errorf("round %d: %+v is due, want the will", round, due)
		}
		if got, want := k.s.Deadline(), now0.Add(100*time.Second); !got.Equal(want) {
			t.Errorf("round %d: due at %v, want the end at %v", round, got, want)
		}
	}
	k.close()
}

// Who has something under way keeps it, and the counts that go with it.
func TestAwayKeepsWhatIsUnderWay(t *testing.T) {
	k := newKeeper(t, keptLimits)
	k.attach(10)
	k.give(k.message(2))
	k.s.Detach(now0, true)
	_, _, said := k.outbox()
	if k.s.out.kept == &settled {
		t.Error("what must be on disk first is not known any more")
	}
	k.expect(k.words(k.s.Stored(now0, said, nil)), "")
	k.expect(k.attach(10), "m1 q2 #1")
	k.close()
}

// What is due is counted from when the client left, whichever session of the account was the first, and also
// for who left before that: it comes from an earlier process.
func TestDueIsCountedFromWhenTheClientLeft(t *testing.T) {
	for _, account := range []*Account{nil, NewAccount(1 << 20)} {
		lim := keptLimits
		lim.Account = account
		begin := func() *Session { return New(Key{ClientID: "c"}, 1, &lim) }
		first, later, earlier := begin(), begin(), begin()
		first.Attach(now0, Attachment{Version: mqtt.V5, ExpirySeconds: 60}, nil)
		if !first.Deadline().IsZero() {
			t.Error("something is due while the client is there")
		}
		first.Detach(now0, true)
		later.Attach(now0, Attachment{Version: mqtt.V5, ExpirySeconds: 5}, nil)
		later.Detach(now0.Add(time.Hour), true)
		earlier.RestoreLife(now0, now0.Add(-time.Hour), mqtt.V5, 7200, nil)
		for i, want := range []time.Duration{time.Minute, time.Hour + 5*time.Second, time.Hour} {
			s := []*Session{first, later, earlier}[i]
			if got := s.Deadline(); !got.Equal(now0.Add(want)) {
				t.Errorf("session %d ends at %v, want %v after it began", i, got, want)
			}
			if due := s.Tick(now0.Add(want - 1)); due.End {
				t.Errorf("session %d ended early", i)
			}
			if due := s.Tick(now0.Add(want)); !due.End {
				t.Errorf("session %d has not ended", i)
			}
		}
		never := begin()
		if !never.Deadline().IsZero() {
			t.Error("who has never been there has an end")
		}
		never.RestoreLife(now0, now0, mqtt.V5, ExpiryNever, nil)
		if !never.Deadline().IsZero() {
			t.Error("who may be away for ever has an end")
		}
	}
}

// Moments of sessions go on as the clock of the machine that nobody sets, also where the first of them is that of a session
// that an earlier process has kept, whose time is by the clock that people set.
func TestMomentsSurviveAClockThatIsSet(t *testing.T) {
	lim := keptLimits
	lim.Account = NewAccount(1 << 20)
	now := time.Now()
	left := time.UnixMilli(now.Add(-time.Hour).UnixMilli())
	s := New(Key{ClientID: "c"}, 1, &lim)
	s.RestoreLife(now, left, mqtt.V5, 7200, nil)
	if epoch := *lim.Account.epoch.Load(); epoch == epoch.Round(0) {
		t.Errorf("moments count from %v, which has no monotonic reading", epoch)
	}
	if want, got := left.Add(2*time.Hour), s.Deadline(); got.Sub(want).Abs() > time.Millisecond || got == got.Round(0) {
		t.Errorf("ends at %v, want %v with a monotonic reading", got, want)
	}
}
