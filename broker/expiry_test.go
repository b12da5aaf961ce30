package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// While others whose credential has ended are closed in turns, who renews his stays, and so
// does who comes back with another, and who has got the place of one that is gone.
func TestWhoRenewsWhileOthersAreClosed(t *testing.T) {
	const clients = expirePerTurn + 20
	d := newDesk(t, 1)
	h := d.homes[0]
	seats := map[Ref]seat{}
	for i := range clients {
		short := func(_ *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 }
		s := d.sit(0, "u", named(fmt.Sprint(i)), d.token(10*time.Second, "t"), short)
		seats[s.ref] = s
	}
	d.now = d.now.Add(11 * time.Second)
	h.Tick(d.now)
	if len(d.wires[0].closed) != expirePerTurn || len(h.credentials.due) != clients-expirePerTurn {
		t.Fatalf("%d closed, %d due", len(d.wires[0].closed), len(h.credentials.due))
	}
	renews, leaves, again := seats[h.credentials.due[0]], seats[h.credentials.due[1]], seats[h.credentials.due[2]]
	by := h.at(renews.ref).by
	d.token(20*time.Second, "t2")(&by, nil)
	if e := h.Reauthenticate(d.now, renews.ref, by); e != nil {
		t.Fatal(e)
	}
	h.Gone(d.now, leaves.ref)
	newcomer := d.sit(0, "eve", named("e"), d.token(time.Hour, "t3"))
	if newcomer.ref.Slot != leaves.ref.Slot {
		t.Fatalf("the place of %v is not taken again, but %v", leaves.ref, newcomer.ref)
	}
	clear(d.wires[0].closed)
	id := h.at(again.ref).by.ClientID
	again = d.sit(0, "u", named(id), d.token(time.Hour, "t4")) // takes over
	delete(d.wires[0].closed, seats[h.credentials.due[2]].conn)
	h.Turn(d.now)
	if n := len(d.wires[0].closed); n != clients-expirePerTurn-3 {
		t.Errorf("%d closed, want all but three of %d", n, clients-expirePerTurn)
	}
	for what, s := range map[string]seat{"who renews": renews, "who came later": newcomer, "who is back": again} {
		if r := h.at(s.ref); r == nil || !r.s.Online() {
			t.Errorf("%s is closed", what)
		}
	}
	if n := h.credentials.ends.Armed(); n != 3 {
		t.Errorf("%d are watched, want three", n)
	}
	clear(d.wires[0].closed)
	d.tick(21)
	if _, closed := d.wires[0].closed[renews.conn]; !closed || len(d.wires[0].closed) != 1 {
		t.Errorf("closed: %v, want who has renewed for 20 s", d.wires[0].closed)
	}
}

// Nobody renews with what was revoked; who tries stays what he was until the loop closes him.
func TestARevokedTokenRenewsNothing(t *testing.T) {
	d := newDesk(t, 1)
	h := d.homes[0]
	bob := d.sit(0, "bob", d.token(10*time.Second, "first"))
	d.b.known = func(by *auth.Principal) bool { return by.Claims == nil || by.Claims.TokenID != "revoked" }
	before := h.at(bob.ref).by
	by := before
	d.token(time.Hour, "revoked")(&by, nil)
	if e := h.Reauthenticate(d.now, bob.ref, by); e == nil || e.Reason != mqtt.NotAuthorized {
		t.Errorf("renewed with a revoked token: %v", e)
	}
	if h.at(bob.ref).by != before {
		t.Error("it is somebody else by now")
	}
	d.tick(11)
	if d.wires[0].closed[bob.conn] != mqtt.NotAuthorized {
		t.Error("the credential from before does not end")
	}
	if e := h.Reauthenticate(d.now, Ref{Slot: 77, Gen: 1}, before); e == nil {
		t.Error("a session that is not there is re-authenticated")
	}
}

// The log says who was closed because of his credential, and a revocation why.
func TestTheLogNamesWhoseCredentialEnded(t *testing.T) {
	d := newDesk(t, 1)
	var out bytes.Buffer
	d.b.log = audit.New(slog.New(slog.NewTextHandler(&out, nil)), d.metrics.NewShard())
	who := func(by *auth.Principal, _ *mqtt.Connect) { by.Method, by.Listener = "tokens", "mqtts" }
	d.sit(0, "bob", named("one"), d.token(10*time.Second, "a"), who, from("192.0.2.7"))
	d.sit(0, "eve", named("two"), d.token(time.Hour, "b"), who, from("192.0.2.8"))
	d.tick(11)
	d.homes[0].Revoked(d.now, func(*auth.Principal) string { return "by uid 0" })
	for _, want := range [][]string{
		{"client closed: its credential has expired", "user=bob", "client_id=one", "address=192.0.2.7", "listener=mqtts", "method=tokens"},
		{"client closed: its token was revoked", "user=eve", "client_id=two", "address=192.0.2.8", "listener=mqtts", "method=tokens", `why="by uid 0"`},
	} {
		line := ""
		for l := range strings.Lines(out.String()) {
			if strings.Contains(l, want[0]) {
				line = l
			}
		}
		for _, w := range want {
			if !strings.Contains(line, w) {
				t.Errorf("%q is not in %q", w, line)
			}
		}
	}
}

// Sessions that end in the same second end in turns: each may have a will and a thousand filters.
func TestSessionsEndInTurns(t *testing.T) {
	const perTurn = duePerTick / 2 // two units each
	const many = 5 * perTurn
	d := newDesk(t, 1)
	h := d.homes[0]
	for i := range many {
		h.Gone(d.now, d.sit(0, "u", named(fmt.Sprint(i)), func(_ *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 5 }).ref)
	}
	there := func() (n int) {
		for _, r := range h.slots {
			if r != nil {
				n++
			}
		}
		return n
	}
	d.now = d.now.Add(10 * time.Second)
	for left := many; left > 0; left -= perTurn {
		if n := there(); n != left {
			t.Fatalf("%d sessions are there, want %d", n, left)
		}
		if h.NextTick().After(d.now) {
			t.Fatalf("%d wait for the next tick", left)
		}
		asked := d.wires[0].asked
		h.Tick(d.now)
		if left > perTurn && d.wires[0].asked == asked {
			t.Fatal("no turn was asked for")
		}
	}
	if n := there(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}
