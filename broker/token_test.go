package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// bearer connects user with a token, and with a will that waits for its delay.
func (k *keptDesk) bearer(user, id string) seat {
	k.t.Helper()
	k.lives[user] = 0
	k.conns++
	g := &guest{seat: seat{d: k.desk, conn: ConnRef{Slot: 1000 + k.conns, Gen: 7}}}
	by := principal(user)
	by.Claims, by.Method = &auth.Claims{TokenID: id, Issued: k.now}, "tokens"
	g.a = Arrival{Conn: g.conn, By: by, Connect: &mqtt.Connect{
		Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 1000, SessionExpiry: 1000,
		Will: &mqtt.Will{Topic: "open/will", Payload: []byte("will of " + user), QoS: 1, DelaySeconds: 5},
	}}
	g.enter()
	s, _ := g.in()
	k.rest()
	return s
}

// bad has tokens revoked, and those of bob that were made before since.
func bad(since time.Time, ids ...string) func(*auth.Principal) bool {
	return func(by *auth.Principal) bool {
		return by.Claims == nil || by.Claims.Issued.IsZero() || !slices.Contains(ids, by.Claims.TokenID) && (by.Identity != "bob" || by.Claims.Issued.Unix() >= since.Unix())
	}
}

// What was left with a token is not sent once that is revoked, by its name or by its time,
// whether or not the process has begun again since; what was left with a good one is.
func TestWhatARevokedTokenLeftIsNotSent(t *testing.T) {
	for _, again := range []bool{false, true} {
		k := laterDesk(t, 1)
		watch := k.join(0, "watch")
		k.hears(watch, "open/#", 1)
		for _, user := range []string{"eve", "bob", "good"} {
			s := k.bearer(user, "token of "+user)
			s.publish("$delayed/3/open/a", "later of "+user, 1, 1)
			s.publish("$delayed/3/open/a", "lost of "+user, 0, 0)
			k.rest()
		}
		if k.rest(); again {
			k.crash()
			watch = k.back("watch")
		} else {
			for _, user := range []string{"eve", "bob", "good"} {
				s := k.seatOf(user)
				k.homes[0].Gone(k.now, s.ref)
			}
		}
		k.b.known = bad(k.now.Add(time.Second), "token of eve")
		k.pass(4 * time.Second)
		k.pass(4 * time.Second)
		got := watch.payloads()
		slices.Sort(got)
		want := []string{"later of good", "lost of good", "will of good"}
		if again {
			want = slices.Delete(want, 1, 2) // it was in memory only
		}
		if !slices.Equal(got, want) {
			t.Errorf("again %v: %q are sent, want %q", again, got, want)
		}
		if n := k.metrics.Value(metrics.CredentialsSilenced); n != int64(6-2*(3-len(want))) {
			t.Errorf("again %v: %d are counted", again, n)
		}
		if waits := k.waits(); waits != "" {
			t.Errorf("again %v: %q wait for ever", again, waits)
		}
		if n := len(k.seats()); n != 4 {
			t.Errorf("again %v: %d sessions", again, n)
		}
	}
}

// seats are the sessions that are there.
func (k *keptDesk) seats() (all []*resident) {
	for _, r := range k.homes[0].slots {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// A will is of the token that its client has shown last: one that was renewed in time is
// sent although the first was revoked, and the other way round.
func TestAWillIsOfTheRenewedToken(t *testing.T) {
	for revoked, want := range map[string][]string{"first": {"will of bob"}, "second": nil} {
		k := laterDesk(t, 1)
		watch := k.join(0, "watch")
		k.hears(watch, "open/#", 1)
		bob := k.bearer("bob", "first")
		from := k.log.next
		for range 2 { // the same token again is no news
			by := principal("bob")
			by.Claims, by.Method = &auth.Claims{TokenID: "second", Issued: k.now}, "tokens"
			if e := k.homes[0].Reauthenticate(k.now, bob.ref, by); e != nil {
				t.Fatal(e)
			}
			k.rest()
		}
		if kinds := k.log.kinds(from); len(kinds) != 1 || kinds[0] != store.Will {
			t.Errorf("records %v", kinds)
		}
		k.crash()
		watch = k.back("watch")
		k.b.known = bad(time.Time{}, revoked)
		k.pass(6 * time.Second)
		if got := watch.payloads(); !slices.Equal(got, want) {
			t.Errorf("%s revoked: %q are sent, want %q", revoked, got, want)
		}
	}
}

// What the log has of a client that showed no token is what it had before there were any.
func TestTheLogOfWhoShowsNoToken(t *testing.T) {
	k := laterDesk(t, 1)
	pub := k.join(0, "pub", func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: "open/will", DelaySeconds: 5} })
	pub.publish("$delayed/100/open/a", "x", 1, 1)
	k.rest()
	n := 0
	if err := k.view.Delayed(func(d *view.Delayed) error {
		if n++; d.By.Shown || d.Append(nil)[0] != 1 {
			t.Errorf("%+v", d)
		}
		return nil
	}); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	k.crash()
	if r := k.seatOf("pub"); r.by.Claims != auth.Unproven {
		t.Errorf("%+v", r.by.Claims)
	}
}
