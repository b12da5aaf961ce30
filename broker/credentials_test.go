package broker

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// token gives a client a credential that ends after d.
func (d *desk) token(ends time.Duration, id string) func(*auth.Principal, *mqtt.Connect) {
	return func(by *auth.Principal, _ *mqtt.Connect) {
		by.Claims = &auth.Claims{TokenID: id, Until: d.now.Add(ends), Issued: d.now}
	}
}

func willed(c *mqtt.Connect) {
	c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte("x")}
}

// tick lets time pass as a loop does, a second at a time.
func (d *desk) tick(seconds int) {
	for range seconds {
		d.now = d.now.Add(time.Second)
		for _, h := range d.homes {
			h.Tick(d.now)
		}
		d.turn()
	}
}

// A client is closed when its credential ends: not before, with its will, and its session stays.
func TestACredentialEnds(t *testing.T) {
	d := newDesk(t, 1)
	watch := d.sit(0, "watch", named("w"))
	watch.subscribe("open/will", 0)
	bob := d.sit(0, "bob", d.token(10*time.Second, "t1"), func(_ *auth.Principal, c *mqtt.Connect) { willed(c) })
	forever := d.sit(0, "eve", named("e"))
	d.tick(9)
	if _, closed := d.wires[0].closed[bob.conn]; closed {
		t.Fatal("closed before its time")
	}
	if next := d.homes[0].NextTick(); next.IsZero() || next.Sub(d.now) > 2*time.Second {
		t.Errorf("the loop wakes %v", next.Sub(d.now))
	}
	d.tick(2)
	if got := d.wires[0].closed[bob.conn]; got != mqtt.NotAuthorized {
		t.Errorf("closed with %v", got)
	}
	if got := watch.payloads(); len(got) != 1 {
		t.Errorf("wills %q", got)
	}
	if d.metrics.Value(metrics.CredentialsExpired) != 1 || d.b.Sessions() != 3 {
		t.Errorf("%d counted, %d sessions", d.metrics.Value(metrics.CredentialsExpired), d.b.Sessions())
	}
	if len(d.wires[0].closed) != 1 || d.homes[0].at(forever.ref) == nil {
		t.Error("who has no such credential is closed, too")
	}
	if e := d.knocks("bob", d.token(0, "t1")); e == nil || e.Reason != mqtt.NotAuthorized {
		t.Errorf("with a credential that ended on the way: %v", e)
	}
	if n := d.homes[0].credentials.ends.Armed(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// Re-authentication sets the timer anew, later or earlier, and takes it away.
func TestARenewedCredentialLastsLonger(t *testing.T) {
	d := newDesk(t, 1)
	bob := d.sit(0, "bob", d.token(10*time.Second, "t1"))
	again := func(ends time.Duration, id string) *mqtt.Error {
		by := d.homes[0].at(bob.ref).by
		d.token(ends, id)(&by, nil)
		return d.homes[0].Reauthenticate(d.now, bob.ref, by)
	}
	d.tick(5)
	if e := again(20*time.Second, "t2"); e != nil {
		t.Fatal(e)
	}
	d.tick(18)
	if len(d.wires[0].closed) != 0 {
		t.Fatal("closed by the timer of the credential before")
	}
	by := d.homes[0].at(bob.ref).by
	by.Claims = nil // such as by a password
	if e := d.homes[0].Reauthenticate(d.now, bob.ref, by); e != nil {
		t.Fatal(e)
	}
	d.tick(100)
	if len(d.wires[0].closed) != 0 || d.homes[0].credentials.ends.Armed() != 0 {
		t.Fatal("closed, or watched, without a credential that ends")
	}
	if e := again(0, "t3"); e == nil {
		t.Error("a credential that is over renews")
	}
	if e := again(3*time.Second, "t3"); e != nil {
		t.Fatal(e)
	}
	d.tick(5)
	if d.wires[0].closed[bob.conn] != mqtt.NotAuthorized {
		t.Error("a shorter one does not end")
	}
}

// Who leaves is watched no more, and comes back with what it has then.
func TestTheTimerGoesWithTheConnection(t *testing.T) {
	d := newDesk(t, 1)
	bob := d.sit(0, "bob", d.token(10*time.Second, "t1"))
	bob.h().Gone(d.now, bob.ref)
	if n := d.homes[0].credentials.ends.Armed(); n != 0 {
		t.Fatalf("%d timers of nobody", n)
	}
	bob = d.sit(0, "bob", d.token(10*time.Second, "t1"))
	bob = d.sit(0, "bob", d.token(400*24*time.Hour, "t2")) // takes over
	clear(d.wires[0].closed)
	d.tick(15)
	if len(d.wires[0].closed) != 0 {
		t.Error("closed by the credential of the connection before")
	}
	d.now = d.now.Add(31 * 24 * time.Hour) // the timer is set no further ahead
	d.tick(1)
	if len(d.wires[0].closed) != 0 || d.homes[0].credentials.ends.Armed() != 1 {
		t.Error("a far end is forgotten, or comes early")
	}
	d.now = d.now.Add(400 * 24 * time.Hour)
	d.tick(2)
	if d.wires[0].closed[bob.conn] != mqtt.NotAuthorized {
		t.Error("a far end does not come")
	}
}

// Thousands of credentials that end in one second are closed in turns.
func TestManyCredentialsEndAtOnce(t *testing.T) {
	const clients = 1000
	d := newDesk(t, 1)
	for i := range clients {
		d.sit(0, "u", named(string(rune('a'+i%26))+string(rune('0'+i/26))), d.token(10*time.Second, "t"))
	}
	d.now = d.now.Add(11 * time.Second)
	h := d.homes[0]
	before := d.wires[0].asked
	h.Tick(d.now)
	if n := len(d.wires[0].closed); n != expirePerTurn || d.wires[0].asked == before {
		t.Fatalf("%d closed in one turn, turns asked for %d", n, d.wires[0].asked-before)
	}
	for turns := 1; len(d.wires[0].closed) < clients; turns++ {
		if turns > clients/expirePerTurn {
			t.Fatalf("%d closed after %d turns", len(d.wires[0].closed), turns)
		}
		h.Turn(d.now)
	}
	if len(h.credentials.due) != 0 {
		t.Error("some are still due")
	}
}

// A revoked token closes its clients at once, without their wills; others stay.
func TestARevokedTokenClosesItsClients(t *testing.T) {
	d := newDesk(t, 2)
	watch := d.sit(0, "watch", named("w"))
	watch.subscribe("open/will", 0)
	last := func(_ *auth.Principal, c *mqtt.Connect) { willed(c) }
	a := d.sit(0, "bob", named("a"), d.token(time.Hour, "bad"), last)
	b := d.sit(1, "bob", named("b"), d.token(time.Hour, "bad"), last)
	other := d.sit(0, "bob", named("o"), d.token(time.Hour, "good"), last)
	offline := d.sit(0, "bob", named("p"), d.token(time.Hour, "bad"))
	offline.h().Gone(d.now, offline.ref)
	sessions := d.b.Sessions()
	for _, h := range d.homes {
		h.Revoked(d.now, func(by *auth.Principal) string {
			if by.Claims.TokenID == "bad" {
				return "by uid 0"
			}
			return ""
		})
	}
	d.turn()
	if d.wires[0].closed[a.conn] != mqtt.AdministrativeAction || d.wires[1].closed[b.conn] != mqtt.AdministrativeAction {
		t.Errorf("closed %v %v", d.wires[0].closed, d.wires[1].closed)
	}
	if _, closed := d.wires[0].closed[other.conn]; closed || d.metrics.Value(metrics.CredentialsRevoked) != 2 || d.b.Sessions() != sessions {
		t.Error("others are closed, or sessions ended, or it is not counted")
	}
	if got := watch.payloads(); got != nil {
		t.Errorf("wills were sent: %q", got)
	}
}

// A will that waits for its delay is not sent once the token of its client was revoked.
func TestARevokedTokenHasNoWill(t *testing.T) {
	d := newDesk(t, 1)
	watch := d.sit(0, "watch", named("w"))
	watch.subscribe("open/will", 0)
	later := func(_ *auth.Principal, c *mqtt.Connect) { willed(c); c.Will.DelaySeconds = 5 }
	for _, id := range []string{"bad", "good"} {
		s := d.sit(0, "bob", named(id), d.token(time.Hour, id), later)
		s.h().Gone(d.now, s.ref)
	}
	d.b.known = func(by *auth.Principal) bool { return by.Claims == nil || by.Claims.TokenID != "bad" }
	d.tick(10)
	if got := watch.payloads(); len(got) != 1 {
		t.Errorf("wills that were sent: %q", got)
	}
}

// A pass by what was revoked is cut into turns, and one that comes meanwhile is not lost.
func TestRevocationTakesTurns(t *testing.T) {
	d := newDesk(t, 1)
	h := d.homes[0]
	h.slots = make([]*resident, 3*revokePerTurn)
	h.gens = make([]uint32, len(h.slots))
	bob := d.sit(0, "bob", d.token(time.Hour, "bad")) // behind them
	h.Revoked(d.now, func(*auth.Principal) string { return "" })
	h.Revoked(d.now, func(*auth.Principal) string { return "revoked" })
	for i := 0; i < 10 && len(d.wires[0].closed) == 0; i++ {
		h.Turn(d.now)
	}
	if d.wires[0].closed[bob.conn] != mqtt.AdministrativeAction {
		t.Error("the second pass does not come")
	}
}
