package broker

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Where the operator wants that, who is connected keeps its session, whatever the newer one
// asks for; another identity has a session of its own; and when the old one is gone the
// newer is let in (A047).
func TestSameClientIsRefused(t *testing.T) {
	for name, clean := range map[string]bool{"resumed": false, "clean": true} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, func(s *Settings) {
				s.Newcomers.Refuse, s.Flapping = true, Flapping{Connects: 3, Window: time.Minute, Ban: time.Hour}
			})
			as := func(_ *auth.Principal, c *mqtt.Connect) { c.CleanStart = clean }
			bob := d.sit(0, "bob", as)
			bob.subscribe("open/a", 1)
			for range 10 { // more than would ban it: it is told to come again
				e := d.knocks("bob", as)
				if e == nil || e.Reason != mqtt.QuotaExceeded || !strings.Contains(e.Detail, "limits.same_client") {
					t.Fatalf("the newer one: %v", e)
				}
			}
			if _, closed := d.wires[0].closed[bob.conn]; closed || bob.resident().s.Subscriptions() != 1 {
				t.Error("who has the session lost something")
			}
			if e := d.knocks("eve", as); e != nil {
				t.Errorf("another identity: %v", e)
			}
			if n := d.metrics.Value(metrics.NewcomersRefused.At(refusedSame)); n != 10 {
				t.Errorf("%d are counted", n)
			}
			bob.h().Gone(d.now, bob.ref)
			if e := d.knocks("bob", as); e != nil {
				t.Errorf("after the old one has gone: %v", e)
			}
		})
	}
}

// What a listener says counts more than what holds for everybody, for those who come by it.
func TestSameClientOfAListener(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) {
		s.Entrances = map[string]*Entrance{"public": {Offer: s.Offer, Newcomers: &Newcomers{Refuse: true}}}
	})
	by := func(listener string) func(*auth.Principal, *mqtt.Connect) {
		return func(by *auth.Principal, _ *mqtt.Connect) { by.Listener = listener }
	}
	old := d.sit(0, "bob", by("plant"))
	if e := d.knocks("bob", by("public")); e == nil || e.Reason != mqtt.QuotaExceeded {
		t.Errorf("by the listener that refuses: %v", e)
	}
	if e := d.knocks("bob", by("plant")); e != nil || d.wires[0].closed[old.conn] != mqtt.SessionTakenOver {
		t.Errorf("by the other: %v, the old one was told %v", e, d.wires[0].closed[old.conn])
	}
}

// An identity has as many clients connected as it may, and no more: not by other listeners,
// not by new identifiers, and a takeover is none.
func TestConnectionsOfAnIdentity(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Newcomers.Most = 2 })
	first := d.sit(0, "bob", named("1"))
	d.sit(0, "bob", named("2"))
	more := func(want mqtt.ReasonCode, user, id string, change ...func(*auth.Principal, *mqtt.Connect)) {
		t.Helper()
		got := mqtt.Success
		if e := d.knocks(user, append(change, named(id))...); e != nil {
			got = e.Reason
		}
		if got != want {
			t.Errorf("%s/%s: %v, want %v", user, id, got, want)
		}
	}
	more(mqtt.QuotaExceeded, "bob", "3")
	more(mqtt.Success, "eve", "3")
	more(mqtt.Success, "bob", "2") // a takeover
	more(mqtt.Success, "bob", "2", func(_ *auth.Principal, c *mqtt.Connect) { c.CleanStart = true })
	more(mqtt.QuotaExceeded, "bob", "3")
	more(mqtt.Success, "bob", "3", func(by *auth.Principal, _ *mqtt.Connect) { by.Mountpoint = "other/" })
	if n := d.metrics.Value(metrics.NewcomersRefused.At(refusedCrowd)); n != 2 {
		t.Errorf("%d are counted", n)
	}
	first.h().Gone(d.now, first.ref)
	more(mqtt.Success, "bob", "3")
	more(mqtt.QuotaExceeded, "bob", "1") // its session is there and has no place
	for _, r := range d.homes[0].slots {
		if r != nil && r.s.Online() {
			d.homes[0].Gone(d.now, r.ref)
		}
	}
	if n := len(d.b.crowds.by); n != 0 {
		t.Errorf("%d identities are counted when all have gone", n)
	}
}

// A number that came with the client counts more than the one for everybody, and nonsense
// lets nobody in.
func TestConnectionsByAttribute(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Newcomers.Most, s.MostAttribute = 1, "seats" })
	with := func(seats string) func(*auth.Principal, *mqtt.Connect) {
		return func(by *auth.Principal, _ *mqtt.Connect) {
			by.Claims = &auth.Claims{Attrs: map[string]string{"seats": seats}}
		}
	}
	for i, c := range []struct {
		seats string
		want  mqtt.ReasonCode
	}{{"2", 0}, {"2", 0}, {"2", mqtt.QuotaExceeded}, {"1", mqtt.QuotaExceeded}, {"0", 0}, {"4", 0}, {"-1", mqtt.NotAuthorized}, {"many", mqtt.NotAuthorized}, {"", mqtt.NotAuthorized}} {
		got := mqtt.Success
		if e := d.knocks("bob", named(fmt.Sprint(i)), with(c.seats)); e != nil {
			got = e.Reason
		}
		if got != c.want {
			t.Errorf("%d: %q: %v, want %v", i, c.seats, got, c.want)
		}
	}
	if e := d.knocks("eve", named("1")); e != nil {
		t.Errorf("without the attribute: %v", e)
	}
	if e := d.knocks("eve", named("2")); e == nil {
		t.Error("without the attribute, one more than everybody may have")
	}
}

// A number that cannot be read lets nobody in that takes a session over, either, and who has
// the session keeps it: where its place is counted, and where a limit has just been set.
func TestConnectionsByAttributeTakeover(t *testing.T) {
	for name, counted := range map[string]bool{"counted": true, "not yet counted": false} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1, func(s *Settings) {
				if counted {
					s.MostAttribute = "seats"
				}
			})
			with := func(seats string) func(*auth.Principal, *mqtt.Connect) {
				return func(by *auth.Principal, _ *mqtt.Connect) {
					by.Claims = &auth.Claims{Attrs: map[string]string{"seats": seats}}
				}
			}
			bob := d.sit(0, "bob", with("2"))
			if !counted {
				set := *d.b.Settings()
				set.MostAttribute = "seats"
				d.b.Apply(&set) // the home has not heard of it
			}
			for _, clean := range []bool{false, true} {
				for _, seats := range []string{"nonsense", "-1", ""} {
					e := d.knocks("bob", with(seats), func(_ *auth.Principal, c *mqtt.Connect) { c.CleanStart = clean })
					if e == nil || e.Reason != mqtt.NotAuthorized {
						t.Errorf("%q, clean start %v: %v", seats, clean, e)
					}
				}
			}
			if why, closed := d.wires[0].closed[bob.conn]; closed {
				t.Errorf("who has the session was closed: %v", why)
			}
			if n := d.metrics.Value(metrics.NewcomersRefused.At(refusedCrowd)); n != 6 {
				t.Errorf("%d are counted", n)
			}
			if e := d.knocks("bob", with("1")); e != nil || d.b.crowds.has(Hoarder{Identity: "bob"}) != 1 {
				t.Errorf("with a number: %v, %d are counted", e, d.b.crowds.has(Hoarder{Identity: "bob"}))
			}
		})
	}
}

// Loops that are asked at once let in as many as there may be together.
func TestConnectionsOfAnIdentityAtOnce(t *testing.T) {
	const loops, most = 4, 7
	var c crowds
	var taken atomic.Int64
	var takers sync.WaitGroup
	for range loops {
		takers.Go(func() {
			for range 100 {
				if c.take(Hoarder{Identity: "bob"}, most) {
					taken.Add(1)
				}
			}
		})
	}
	if takers.Wait(); taken.Load() != most {
		t.Errorf("%d of %d places were taken", taken.Load(), most)
	}
	d := newDesk(t, loops, func(s *Settings) { s.Newcomers.Most = most })
	var in atomic.Int64
	var wg sync.WaitGroup
	for home := range loops {
		wg.Go(func() {
			for i := range 50 {
				by := principal("bob")
				by.ClientID = fmt.Sprint(home, "-", i)
				_, e := d.homes[home].Open(d.now, &Arrival{Conn: ConnRef{Slot: uint32(i + 1), Gen: 1}, By: by, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: by.ClientID, ReceiveMaximum: 9, SessionExpiry: 100}})
				if e == nil {
					in.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if in.Load() != most || d.b.crowds.has(Hoarder{Identity: "bob"}) != most {
		t.Errorf("%d are in, %d are counted", in.Load(), d.b.crowds.has(Hoarder{Identity: "bob"}))
	}
}

// A limit that is set while clients are connected closes none of them, counts them all, and
// holds for who comes next; without a limit nobody is counted.
func TestConnectionsLimitAtReload(t *testing.T) {
	d := newDesk(t, 1)
	limit := func(most int, refuse bool) {
		set := *d.b.Settings()
		set.Newcomers = Newcomers{Refuse: refuse, Most: most}
		d.b.Apply(&set)
		d.homes[0].SettingsChanged(d.now)
	}
	for i := range 3 {
		d.sit(0, "bob", named(fmt.Sprint(i)))
	}
	if len(d.b.crowds.by) != 0 {
		t.Error("somebody is counted without a limit")
	}
	limit(2, false)
	if d.b.crowds.has(Hoarder{Identity: "bob"}) != 3 || len(d.wires[0].closed) != 0 {
		t.Errorf("%d are counted, %v were closed", d.b.crowds.has(Hoarder{Identity: "bob"}), d.wires[0].closed)
	}
	if e := d.knocks("bob", named("3")); e == nil {
		t.Error("one more")
	}
	limit(4, false)
	if e := d.knocks("bob", named("3")); e != nil {
		t.Error(e)
	}
	limit(0, true)
	if len(d.b.crowds.by) != 0 {
		t.Error("somebody is counted after the limit has gone")
	}
	if e := d.knocks("bob", named("3")); e == nil {
		t.Error("a takeover after a reload that refuses it")
	}
}
