package broker

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/store/view"
)

// While sessions come back the loops have turns, and operators have words. Nobody knows yet what waits for
// whom: nothing is said of a session to the log that would be read as "nothing waits for it", and what an
// operator wants is done when all is known.
func TestNothingIsDoneToSessionsThatAreNotWhole(t *testing.T) {
	k := newKeptDesk(t, 1)
	users := []string{"ann", "ended", "revoked"}
	for _, user := range users {
		s := k.join(0, user)
		k.hears(s, "open/t", 1)
		s.cut()
	}
	pub := k.join(0, "pub")
	k.rest()
	k.say(pub, "open/t", 1, 3)
	pub.cut()
	k.rest()
	k.between = func() {
		h := k.homes[0]
		ann := k.seatOf("ann")
		ann.log.owing = true // as where a retained message is not owed any longer
		h.unsaved(ann)
		if !h.End(k.now, k.seatOf("ended").ref) {
			t.Error("there is no such session")
		}
		h.Revoke(k.now, map[string]bool{"revoked": true})
		h.SettingsChanged(k.now)
		h.PolicyChanged(k.now)
		for range 3 {
			k.now = k.now.Add(time.Second)
			h.Tick(k.now)
			h.Turn(k.now)
		}
		if n := len(h.journal.waiters); n > 0 || h.journal.under > 0 {
			t.Errorf("%d things are said to the log", n)
		}
		for _, user := range users {
			k.seatOf(user) // it is there
		}
	}
	k.crash()
	k.between = nil
	k.pass(time.Second)
	k.rest()
	if n := k.sessions(); n != 2 { // and pub's
		t.Errorf("%d sessions are left", n)
	}
	if got := k.b.index.Stats().Subscribers; got != 1 {
		t.Errorf("%d subscriptions are left", got)
	}
	k.crash() // with what was said meanwhile
	if got := k.drink(k.back("ann")); got != series(1, 3) {
		t.Errorf("ann has %q of what waited for her", got)
	}
}

// Room for what comes is reckoned by those who came first, and never for more than there is.
func TestRoomForTheRestoredHasALimit(t *testing.T) {
	h := newKeptDesk(t, 1).homes[0]
	with := func(n int) []*view.Session { return []*view.Session{{Subs: make([]view.Sub, n)}} }
	h.expect(&Stored{Sessions: with(10_000), Expected: 1_000_000, Filters: 20_000})
	if n := cap(h.loading.subs); n > 20_000 {
		t.Errorf("room for %d subscriptions, of 20,000", n)
	}
	h.loading = nil
	h.expect(&Stored{Sessions: with(1), Expected: 1000})
	if n := cap(h.loading.subs); n < 1000 {
		t.Errorf("room for %d subscriptions of 1,000 sessions with one each", n)
	}
	h.loading = nil
}
