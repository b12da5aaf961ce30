package audit

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Who has proved an identity is refused as that: strangers of his network, however many, do
// not push out what is kept of him, nor does his line of the log wait for theirs.
func TestARefusedConnectOfAnIdentityIsItsOwn(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	at := netip.MustParseAddr("192.0.2.7")
	full := Refusal{Event: "CONNECT refused", Address: at, Identity: "alice", Username: "alice", ClientID: "c1", Reason: mqtt.QuotaExceeded, Why: "limits.same_client"}
	stranger := Refusal{Event: "CONNECT refused", Address: at, Username: "alice", ClientID: "c1", Reason: mqtt.QuotaExceeded, Why: "nobody knows who"}
	var told Ref
	for range 20 {
		told = l.RefusedLogin(now, full, "192.0.2.7:5")
		l.RefusedLogin(now, stranger, "192.0.2.7:6")
	}
	other := full
	other.Why = "limits.connections_per_identity"
	l.RefusedLogin(now.Add(time.Second), other, "192.0.2.7:5")
	got := l.Recent().List(Wanted{ClientID: "c1", Username: "alice"}, 100)
	if len(got) != recentEach+2 || got[0].Why != other.Why {
		t.Fatalf("%d are kept: %+v", len(got), got)
	}
	if one := l.Recent().List(Wanted{Ref: told}, 2); len(one) != 1 || one[0].Identity != "alice" || one[0].Times != 20 || one[0].Why != full.Why {
		t.Errorf("the reference stands for %+v", one)
	}
	if n := strings.Count(out.String(), "CONNECT refused"); n != 2 || !holdsWord(out.String(), "identity=alice") || !strings.Contains(out.String(), "address=192.0.2.7:5") {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

// The line that stands for many says of the last of them what finds the rest.
func TestRepeatedLinesSayTheLast(t *testing.T) {
	l, out, _ := newLog()
	now := time.Unix(1000, 0)
	r := Refusal{Event: "CONNECT refused", Reason: mqtt.BadUserNameOrPassword}
	for i := range 5 {
		r.Address, r.Username, r.ClientID = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), fmt.Sprint("user-", i), fmt.Sprint("client-", i)
		l.RefusedLogin(now, r, r.Address.String())
	}
	last := l.Recent().List(Wanted{Username: "user-4"}, 1)
	alice := &auth.Principal{Identity: "alice", Username: "alice", ClientID: "c1"}
	var denied Ref
	for i := range 3 {
		denied = l.Denied(now, alice, auth.Access{Action: auth.Publish, Topic: fmt.Append(nil, i)}, &auth.Rule{ID: "7"})
	}
	out.Reset()
	l.Sweep(now.Add(Window))
	for _, want := range []string{
		"who=192.0.2.0/24 what=\"bad user name or password\" ref=" + last[0].Ref.String() + " user=user-4 client_id=client-4 times=4",
		"who=alice/c1 what=7 ref=" + denied.String() + " user=alice client_id=c1 times=2",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not told: %s\n%s", want, out)
		}
	}
}

// An identity that calls itself by ever new names, or leaves the name to us, has its share of
// the places and no more: it pushes out its own.
func TestOneIdentityDoesNotPushOutOthers(t *testing.T) {
	for name, assigned := range map[string]bool{"names of its own": false, "names of ours": true} {
		t.Run(name, func(t *testing.T) {
			l, _, _ := newLog()
			now := time.Unix(1000, 0)
			var quiet []Ref
			for i := range recentWho / 2 {
				quiet = append(quiet, l.RefusedLogin(now, Refusal{Identity: fmt.Sprint("quiet-", i), ClientID: "q", Reason: mqtt.QuotaExceeded}, ""))
			}
			for i := range 10 * recentWho {
				l.RefusedLogin(now.Add(time.Duration(i)), Refusal{Identity: "loud", ClientID: fmt.Sprint(i), Assigned: assigned, Reason: mqtt.QuotaExceeded}, "")
			}
			for _, ref := range quiet {
				if len(l.Recent().List(Wanted{Ref: ref}, 1)) != 1 {
					t.Fatal("one that was refused before is forgotten")
				}
			}
			k := &l.recent.shelves[ofClient]
			if n := len(l.Recent().List(Wanted{Username: "loud"}, 10*recentWho)); len(k.of) > recentWho || k.order.Len() != len(k.of) || !assigned && n != recentWho/2 || assigned && n != 1 {
				t.Errorf("%d of the loud one, %d places in all", n, len(k.of))
			}
			for i := range 2 * recentWho { // it is forgotten as anybody is
				l.RefusedLogin(now, Refusal{Identity: fmt.Sprint("next-", i), Reason: mqtt.QuotaExceeded}, "")
			}
			if len(k.has) != recentWho || k.has["loud"] != 0 {
				t.Errorf("%d owners are counted, %d of the loud one", len(k.has), k.has["loud"])
			}
		})
	}
}
