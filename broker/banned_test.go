package broker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// nobodyKeeps is a Keeper of bans for as long as the test.
type nobodyKeeps struct{}

func (nobodyKeeps) Bans(func(string, []byte) error) error { return nil }
func (nobodyKeeps) Write(...bans.Kept) error              { return nil }

// ban makes bans and enforces them, as cmd does.
func (d *desk) ban(list ...bans.Ban) {
	d.t.Helper()
	checked := make([]*bans.Ban, 0, len(list))
	for _, b := range list {
		if err := b.Check(); err != nil {
			d.t.Fatal(err)
		}
		checked = append(checked, &b)
	}
	if _, err := d.bans.Add(checked, nil); err != nil {
		d.t.Fatal(err)
	}
	for _, h := range d.homes {
		h.Banned(d.now, bans.SetOf(checked))
	}
}

func from(addr string) func(*auth.Principal, *mqtt.Connect) {
	return func(by *auth.Principal, _ *mqtt.Connect) { by.Addr = netip.MustParseAddr(addr) }
}

func named(id string) func(*auth.Principal, *mqtt.Connect) {
	return func(by *auth.Principal, c *mqtt.Connect) { by.ClientID, c.ClientID = id, id }
}

// knocks connects and answers why not.
func (d *desk) knocks(user string, change ...func(*auth.Principal, *mqtt.Connect)) *mqtt.Error {
	d.t.Helper()
	by, connect := principal(user), &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 1000, SessionExpiry: 100}
	for _, c := range change {
		c(&by, connect)
	}
	_, refusal := d.homes[0].Open(d.now, &Arrival{Conn: ConnRef{Slot: 9999, Gen: 1}, Connect: connect, By: by})
	return refusal
}

// A ban of each kind closes the live client without its will, and lets it in no more;
// whoever the ban is not about notices nothing (A126).
func TestABanEndsTheLiveSession(t *testing.T) {
	for _, ban := range []bans.Ban{
		{As: bans.ClientID, Who: "c"}, {As: bans.ClientID, Who: "c", Identity: "bob"}, {As: bans.Username, Who: "bob"}, {As: bans.Peerhost, Who: "192.0.2.1"},
		{As: bans.PeerhostNet, Who: "192.0.2.0/24"}, {As: bans.ClientIDRe, Who: "^c$"}, {As: bans.UsernameRe, Who: "^bo"},
	} {
		t.Run(ban.As.String()+" "+ban.Identity, func(t *testing.T) {
			d := newDesk(t, 1)
			watch := d.sit(0, "watch", named("w"), from("198.51.100.1"))
			watch.subscribe("open/will", 0)
			last := func(by *auth.Principal, c *mqtt.Connect) {
				c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte("x")}
			}
			bob := d.sit(0, "bob", from("192.0.2.1"), last)
			d.ban(ban)
			if got := d.wires[0].closed[bob.conn]; got != mqtt.AdministrativeAction {
				t.Errorf("closed with %v", got)
			}
			if got := watch.payloads(); got != nil {
				t.Errorf("its will was sent: %q", got)
			}
			if e := d.knocks("bob", from("192.0.2.1"), last); e == nil || e.Reason != mqtt.Banned {
				t.Errorf("connects again: %v", e)
			}
			if watch.h().at(watch.ref) == nil || d.wires[0].closed[watch.conn] != 0 || d.knocks("watch", named("w"), from("198.51.100.1")) != nil {
				t.Error("somebody else is out")
			}
			if d.metrics.Value(metrics.BansClosed) != 1 || d.metrics.Value(metrics.BansSilenced) != 1 || d.metrics.Value(metrics.BansRefused.At(int(ban.As))) != 1 {
				t.Error("it is not counted")
			}
			if d.b.Sessions() != 2 {
				t.Errorf("%d sessions: the banned one has to be there when the ban is over", d.b.Sessions())
			}
		})
	}
}

// A will that waits for its delay is not sent, nor one of a session that is there when a
// ban was made some other way, nor what waits under $delayed/.
func TestNobodySpeaksForTheBanned(t *testing.T) {
	d := delayedDesk(t, roomy)
	watch := d.sit(0, "watch", named("w"))
	watch.subscribe("open/#", 0)
	last := func(by *auth.Principal, c *mqtt.Connect) {
		c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte("will of " + by.Identity), DelaySeconds: 10}
	}
	for _, user := range []string{"bob", "eve", "joe"} {
		s := d.sit(0, user, last)
		s.publish("$delayed/10/open/later", "later of "+user, 0, 0)
		s.h().Gone(d.now, s.ref)
	}
	d.ban(bans.Ban{As: bans.Username, Who: "bob", Until: d.now.Unix() + 5}) // over before the will is due
	eve := &bans.Ban{As: bans.Username, Who: "eve"}
	d.bans.SetFile([]*bans.Ban{eve}) // nobody was told
	d.now = d.now.Add(20 * time.Second)
	d.homes[0].Tick(d.now)
	got := map[string]bool{}
	for _, p := range watch.payloads() {
		got[p] = true
	}
	if len(got) != 3 || !got["will of joe"] || !got["later of joe"] || !got["later of bob"] {
		t.Errorf("sent: %v", got)
	}
	if n := d.metrics.Value(metrics.BansSilenced); n != 3 {
		t.Errorf("%d are counted", n)
	}
}

// A client identifier that is banned within one identity is everybody else's still.
func TestABanWithinAnIdentity(t *testing.T) {
	d := newDesk(t, 1)
	victim := d.sit(0, "victim", from("192.0.2.1"))
	d.sit(0, "attacker", from("192.0.2.1"))
	d.ban(bans.Ban{As: bans.ClientID, Who: "c", Identity: "attacker"})
	if victim.h().at(victim.ref) == nil || len(d.wires[0].closed) != 1 {
		t.Errorf("closed: %v", d.wires[0].closed)
	}
	if e := d.knocks("victim", from("192.0.2.1")); e != nil {
		t.Error(e)
	}
	if e := d.knocks("attacker", from("192.0.2.1")); e == nil {
		t.Error("the banned one is in")
	}
}

// Many sessions take several turns, a ban that comes meanwhile is not lost, and nobody
// turns for nothing.
func TestBansInTurns(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.SessionsTotal = 100_000 })
	const many = 12_000
	for i := range many {
		d.sit(0, fmt.Sprint("u", i), fleet)
	}
	list := []bans.Ban{{As: bans.UsernameRe, Who: "^u[0-9]*1$"}}
	for i := range 10 {
		list = append(list, bans.Ban{As: bans.ClientIDRe, Who: fmt.Sprint("^none-", i)})
	}
	d.ban(list...)
	if n := len(d.wires[0].closed); n == 0 || n == many/10 {
		t.Fatalf("%d closed at once; the test proves nothing", n)
	}
	d.ban(bans.Ban{As: bans.UsernameRe, Who: "^u[0-9]*2$"}) // of those who are past
	for asked := -1; asked != d.wires[0].asked; {
		asked = d.wires[0].asked
		d.homes[0].Turn(d.now)
	}
	if n := len(d.wires[0].closed); n != many/5 {
		t.Errorf("%d closed, want %d", n, many/5)
	}
	asked := d.wires[0].asked
	d.homes[0].Turn(d.now)
	if d.wires[0].asked != asked {
		t.Error("turns are asked for with nothing to do")
	}
}

// A ban of somebody who has come a hundred times does not close all of them in one turn, and
// closes all of them.
func TestABanOfManyTakesTurns(t *testing.T) {
	d := newDesk(t, 1)
	const many, most = 100, bansPerTurn/endedEffort + 1
	for i := range many {
		d.sit(0, "mallory", named(fmt.Sprint(i)), fleet)
	}
	d.sit(0, "ann", named("a"), fleet)
	d.ban(bans.Ban{As: bans.Username, Who: "mallory"})
	before := 0
	for turns := 0; before < many; turns++ {
		n := len(d.wires[0].closed)
		if n == before || n-before > most || turns > many {
			t.Fatalf("%d closed in turn %d, after %d; at most %d may be", n-before, turns, before, most)
		}
		before = n
		d.homes[0].Turn(d.now)
	}
	if before != many {
		t.Errorf("%d closed, want %d", before, many)
	}
}

func fleet(_ *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 }

// Somebody who becomes, by re-authentication, who is banned is out. He hears neither of the
// ban nor who has made it and why, and is not counted as one who has broken the protocol.
func TestReauthenticatedAsBanned(t *testing.T) {
	d := newDesk(t, 1)
	s := d.sit(0, "bob")
	if _, err := d.bans.Add([]*bans.Ban{{As: bans.Username, Who: "robert", By: "uid 0", Reason: "stolen"}}, nil); err != nil {
		t.Fatal(err)
	}
	by := principal("bob")
	by.Username = "robert"
	e := d.homes[0].Reauthenticate(d.now, s.ref, by)
	if e == nil || e.Reason != mqtt.AdministrativeAction { // DISCONNECT has no code for a ban
		t.Fatalf("%v", e)
	}
	if said := explain(e); said != "" || CauseOf(e) != CauseKicked {
		t.Errorf("the client is told %q, and counted as closed by %v", said, CauseOf(e))
	}
}

// The will of a banned client is gone from the log, too: neither a crash nor the end of the
// ban brings it back, and the session is still there.
func TestABannedWillIsGoneFromTheLog(t *testing.T) {
	for _, online := range []bool{true, false} {
		k := newKeptDesk(t, 1)
		watch, c := k.join(0, "watch", long), k.join(0, "c", will(mqtt.Will{Topic: "open/will", Payload: []byte("gone"), QoS: 1, DelaySeconds: 60}))
		k.hears(watch, "open/will", 1)
		k.hears(c, "open/#", 1)
		if !online {
			c.cut()
			k.rest()
		}
		k.ban(bans.Ban{As: bans.Username, Who: "c"})
		k.rest()
		k.crash() // which forgets the ban
		k.pass(time.Hour / 2)
		if got := k.drink(k.back("watch", long)); got != "" {
			t.Errorf("online %v: the watch received %q", online, got)
		}
		if n := k.sessions(); n < 1 {
			t.Errorf("online %v: %d sessions", online, n)
		}
	}
}
