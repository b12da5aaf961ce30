package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
)

// noClients is a broker without a session.
type noClients struct{}

var _ admin.Clients = noClients{}

func (noClients) Clients(context.Context, *conn.Place, *broker.Selection, int) ([]conn.ClientInfo, bool, error) {
	return nil, true, nil
}

func (noClients) Subscriptions(context.Context, *conn.Place, *broker.SubscriptionSelection, int) ([]broker.SubscriptionInfo, bool, error) {
	return nil, true, nil
}

func (noClients) EndSession(context.Context, int, broker.Ref) (bool, error) { return false, nil }

// noKeeper keeps nothing.
type noKeeper struct{}

func (noKeeper) Bans(func(string, []byte) error) error { return nil }
func (noKeeper) Write(...bans.Kept) error              { return nil }

// someBans are bans of operators, and one for flapping, at the hour of startAdmin.
func someBans(t *testing.T) *bans.Bans {
	t.Helper()
	now := time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC)
	b, err := bans.Open(noKeeper{})
	if err != nil {
		t.Fatal(err)
	}
	list := []*bans.Ban{
		{As: bans.ClientID, Who: "pump-7", Reason: "stolen", By: "uid 0"},
		{As: bans.ClientID, Who: "pump-7", Identity: "acme", By: "uid 0", Until: now.Add(time.Hour).Unix()},
		{As: bans.ClientIDRe, Who: "^it's-", By: "uid 7"},
		{As: bans.Username, Who: "pump-8", By: "uid 0"},
	}
	for _, ban := range list {
		if err := ban.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Add(list, nil); err != nil {
		t.Fatal(err)
	}
	b.Flapped(now, &auth.Principal{Identity: "bob", ClientID: "fan", Addr: netip.MustParseAddr("192.0.2.5")}, 5*time.Minute, "16 connects")
	return b
}

// Who looks for a client that is banned and has no session learns that, and of which ban.
func TestShowSaysThatAClientIsBanned(t *testing.T) {
	dir := dataDir(t)
	startAdmin(t, dir, brokerStub{bans: someBans(t)})
	const (
		plainBan = "redoubt ban list --kind clientid --who 'pump-7' --source operator: until it is deleted, by uid 0, because stolen"
		within   = "redoubt ban list --kind clientid --who 'pump-7' --source operator: until 2026-03-01T12:59:00Z, within acme, by uid 0"
	)
	for _, c := range []struct {
		args string
		want []string
	}{
		{"pump-7", []string{plainBan, within}},
		{"pump-7 --identity acme", []string{plainBan, within}},
		{"pump-7 --identity bob", []string{plainBan}},
		{"it's-me", []string{`redoubt ban list --kind clientid_re --who '^it'\''s-' --source operator: until it is deleted, by uid 7`}},
		{"fan", []string{"redoubt ban list --kind clientid --who 'fan' --source flapping: until 2026-03-01T12:04:00Z, within bob 192.0.2.0/24, by flapping, because 16 connects"}},
		{"pump-8", nil}, {"pump", nil},
	} {
		for _, of := range []string{"clients", "sessions"} {
			_, err, code := command(t, "", append(append([]string{of, "show"}, strings.Fields(c.args)...), "--data-dir", dir)...)
			if err == nil || code != 1 {
				t.Fatalf("%s show %s: %v, exit %d", of, c.args, err, code)
			}
			first, rest, banned := strings.Cut(err.Error(), "; this client is banned:\n")
			if !strings.Contains(first, "there is no session of this client identifier") || banned != (c.want != nil) || rest != strings.Join(c.want, "\n") {
				t.Errorf("%s show %s: %v", of, c.args, err)
			}
		}
	}
}
