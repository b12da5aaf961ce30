package admin

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/limit/top"
)

// fakeTalkers answers what it is told, and remembers what it was asked.
type fakeTalkers struct {
	list  top.List
	asked []string
}

func (f *fakeTalkers) Talkers(m top.Measure, by top.By, n int) top.List {
	f.asked = append(f.asked, m.String()+" "+by.String())
	l := f.list
	l.Measure, l.By, l.Rows = m, by, l.Rows[:min(n, len(l.Rows))]
	return l
}

func TestTop(t *testing.T) {
	r := newRig(t, nil)
	r.talkers.list = top.List{Window: 40 * time.Second, Total: 1000, Rows: []top.Row{
		{Who: top.Who{Client: top.Client{Identity: "alice", ClientID: "pump-7", Username: "alice"}, Addr: netip.MustParseAddr("192.0.2.7"), Listener: "mqtts"}, AtLeast: 400, AtMost: 1200},
	}}
	got, err := r.client.Top(t.Context(), &TopQuery{Measure: "messages", Limit: 10})
	if err != nil || len(got.Lists) != 1 || got.WindowSeconds != 40 {
		t.Fatalf("%+v, %v", got, err)
	}
	if l := got.Lists[0]; l.Measure != "messages" || l.By != "client" || l.Total != 1000 || l.PerSecond != 25 || len(l.Rows) != 1 {
		t.Errorf("%+v", l)
	}
	row := got.Lists[0].Rows[0]
	if want := (TopFigures{AtLeast: 400, AtMost: 1000, PerSecondAtLeast: 10, PerSecond: 25, ShareAtLeast: 0.4, Share: 1}); row.TopFigures != want {
		t.Errorf("%+v, want %+v", row.TopFigures, want)
	}
	if row.ClientID != "pump-7" || row.Username != "alice" || row.IPAddress != "192.0.2.7" || row.Listener != "mqtts" || row.Network != "" || row.Ban == nil || *row.Ban != (TopBan{"clientid", "pump-7", "alice"}) {
		t.Errorf("%+v", row)
	}

	r.talkers.asked = nil
	if got, err = r.client.Top(t.Context(), &TopQuery{Limit: 3}); err != nil || len(got.Lists) != len(top.Measures) {
		t.Errorf("%d lists, %v", len(got.Lists), err)
	}
	if asked := strings.Join(r.talkers.asked, ", "); !strings.Contains(asked, "messages client") || !strings.Contains(asked, "refused network") || !strings.Contains(asked, "logins network") {
		t.Errorf("asked for %s", asked)
	}
	if got, err = r.client.Top(t.Context(), &TopQuery{By: "user", Limit: 3}); err != nil || len(got.Lists) != len(top.Measures)-1 {
		t.Errorf("by user: %d lists, %v", len(got.Lists), err)
	}
	for _, q := range []TopQuery{{Measure: "refused", By: "client", Limit: 1}, {Measure: "noise", Limit: 1}, {By: "planet", Limit: 1}, {Limit: 0}, {Limit: 101}} {
		if _, err := r.client.Top(t.Context(), &q); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// A ban that is shown hits whom the row is about, and never this machine nor a proxy.
func TestTopBans(t *testing.T) {
	own := (*fakeBans)(nil).OwnAddresses()
	at := func(a string, several bool) top.Row {
		addr := netip.MustParseAddr(a)
		return top.Row{Who: top.Who{Network: top.Network(addr), Addr: addr, FromAddr: 49, Several: several}, AtLeast: 100, AtMost: 100}
	}
	mostly := at("192.0.2.7", true)
	mostly.FromAddr = 50
	alice := top.Row{Who: top.Who{Client: top.Client{Identity: "alice", ClientID: "c", Username: "alice"}}}
	long := alice
	long.Cut = true
	for _, c := range []struct {
		by   top.By
		row  top.Row
		want string
	}{
		{top.ByClient, alice, "clientid c alice"},
		{top.ByClient, long, ""},
		{top.ByUser, alice, "username alice "},
		{top.ByUser, long, ""},
		{top.ByUser, top.Row{Who: top.Who{Client: top.Client{Identity: "nameless"}}}, ""},
		{top.ByNetwork, at("192.0.2.7", false), "peerhost 192.0.2.7 "},
		{top.ByNetwork, at("192.0.2.7", true), "peerhost_net 192.0.2.0/24 "},
		{top.ByNetwork, at("2001:db8::7", true), "peerhost_net 2001:db8::/56 "},
		{top.ByNetwork, mostly, "peerhost 192.0.2.7 "}, // neighbours of his may be anybody
		{top.ByNetwork, at("198.51.100.7", false), ""}, // this machine
		{top.ByNetwork, at("198.51.100.9", true), ""},
		{top.ByNetwork, at("198.51.100.9", false), "peerhost 198.51.100.9 "},
		{top.ByNetwork, at("10.1.0.3", false), ""}, // a proxy
		{top.ByNetwork, at("127.0.0.1", false), ""},
		{top.ByNetwork, at("::1", false), ""},
		{top.ByNetwork, at("127.0.0.9", true), ""},
		{top.ByNetwork, at("127.9.9.9", false), "peerhost 127.9.9.9 "},
		{top.ByNetwork, top.Row{}, ""},
	} {
		got := ""
		if b := banOf(c.by, &c.row, own); b != nil {
			got = b.As + " " + b.Who + " " + b.Identity
		}
		if got != c.want {
			t.Errorf("by %v %+v: %q, want %q", c.by, c.row.Who, got, c.want)
		}
	}
}
