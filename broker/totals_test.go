package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// Clients that each keep to their own limit do not fill the memory together.
func TestSubscriptionsAreBoundedInTotal(t *testing.T) {
	d := newDesk(t, 2, func(s *Settings) { s.SubscriptionsTotal = 3 })
	a, b := d.sit(0, "a"), d.sit(1, "b")
	for i, row := range []struct {
		s      seat
		filter string
		want   mqtt.ReasonCode
	}{
		{a, "open/1", 0}, {a, "$share/g/open/1", 0}, {b, "$share/g/open/1", 0},
		{b, "open/2", mqtt.QuotaExceeded}, {a, "$share/h/open/1", mqtt.QuotaExceeded},
		{a, "open/1", 0}, // replaced
	} {
		if rc := row.s.ask(row.filter, 0); rc != row.want {
			t.Errorf("%d: %s: %v, want %v", i, row.filter, rc, row.want)
		}
	}
	if n := d.metrics.Value(metrics.SubscribeRefused); n != 2 {
		t.Errorf("%d refusals are counted, want 2", n)
	}
	a.h().evict(d.now, a.h().at(a.ref))
	if rc := b.ask("open/2", 0); rc != 0 {
		t.Errorf("after others have gone: %v", rc)
	}
	b.h().Unsubscribe(d.now, b.ref, &mqtt.Unsubscribe{PacketID: 1, Filters: []string{"open/2", "$share/g/open/1", "never"}})
	if n := d.b.subscribed.Load(); n != 0 {
		t.Errorf("%d subscriptions are counted", n)
	}
}

func TestWillsAreBoundedInTotal(t *testing.T) {
	account := session.NewAccount(5000)
	d := newDesk(t, 1, func(s *Settings) { s.Session.Account = account })
	with := func(id string) func(*auth.Principal, *mqtt.Connect) {
		return func(_ *auth.Principal, c *mqtt.Connect) {
			c.ClientID, c.Will = id, &mqtt.Will{Topic: "open/will", Payload: make([]byte, 2000)}
		}
	}
	first, second := d.sit(0, "a", with("1")), d.sit(0, "a", with("2"))
	by, c := principal("a"), &mqtt.Connect{Version: mqtt.V5, ReceiveMaximum: 9}
	with("3")(&by, c)
	if _, e := d.homes[0].Open(d.now, &Arrival{Conn: ConnRef{Slot: 99, Gen: 1}, Connect: c, By: by}); e == nil || e.Reason != mqtt.QuotaExceeded {
		t.Errorf("a will too many: %v", e)
	}
	first.h().Disconnect(d.now, first.ref, &mqtt.Disconnect{}) // 0x00: not sent
	second.h().Gone(d.now, second.ref)                         // sent
	if n := account.Held(); n != 0 {
		t.Errorf("%d bytes are held for wills that are no more", n)
	}
	again := d.sit(0, "a", with("1"))
	d.sit(0, "a", with("1")) // takes over
	if n, one := account.Held(), session.WillBytes(&mqtt.Will{Topic: "open/will", Payload: make([]byte, 2000)}); n != one {
		t.Errorf("%d bytes are held, want one will's %d", n, one)
	}
	again.h().evict(d.now, again.h().at(again.ref))
	if n := account.Held(); n != 0 {
		t.Errorf("%d bytes are held after the end", n)
	}
}
