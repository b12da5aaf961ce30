package admin

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/session"
)

// The rules of one client come page by page, with where each is from and how old those of a
// back end are; whose session is meant must be clear.
func TestEffectiveRules(t *testing.T) {
	r := newRig(t, nil)
	own, err := auth.CompileOwn("db", []auth.RuleSpec{{File: "db", Line: 1, ID: "row 1", Allow: true, Publish: true, Topics: []auth.TopicSpec{{Filter: "db/${clientid}"}}}})
	if err != nil {
		t.Fatal(err)
	}
	own.Read = auth.FreshAt(t0.Add(-42 * time.Second))
	alice := auth.Principal{Identity: "alice", Username: "alice", ClientID: "pump-1", Listener: "mqtts", Method: "builtin", Addr: netip.MustParseAddr("192.0.2.7"), Claims: &auth.Claims{Rules: []auth.Own{own}}}
	r.fake.crowd.rows = []conn.ClientInfo{{SessionInfo: broker.SessionInfo{Key: session.Key{Identity: "alice", ClientID: "pump-1"}, By: alice, Ref: broker.Ref{Slot: 7}}}}
	r.authz.Swap(auth.Compose(auth.Source{Name: auth.SourceRules, Rules: newPolicy(t).Policy()}, auth.Source{Name: "db"}))

	e, err := r.client.EffectiveRules(t.Context(), SessionRef{ClientID: "pump-1"}, 1, 100)
	if err != nil || e.Meta.Count != 5 || len(e.Data) != 5 || e.Meta.HasNext || e.Superuser || e.Unproven || e.Client.Username != "alice" {
		t.Fatalf("%+v, %v", e, err)
	}
	if first := e.Data[0]; first.No != 1 || first.Source != "rules_file" || first.Line != 4 || !first.Allow || first.Action != "all" || first.Topics[0] != "devices/alice/#" || first.Effect != "decides" {
		t.Errorf("%+v", first)
	}
	if row := e.Data[3]; row.Source != "db" || row.Where != "db:1" || row.Topics[0] != "db/pump-1" || row.Action != "publish" {
		t.Errorf("%+v", row)
	}
	if end := e.Data[4]; end.Allow || end.Source != "" || end.Topics[0] != "#" {
		t.Errorf("%+v", end)
	}
	if s := e.Sources; len(s) != 2 || s[0].Name != "rules_file" || s[0].Rules != 3 || s[0].Age != nil || s[1].Rules != 1 || s[1].Age == nil || *s[1].Age != 42 {
		t.Errorf("%+v", s)
	}
	if e, err = r.client.EffectiveRules(t.Context(), SessionRef{ClientID: "pump-1"}, 2, 2); err != nil || len(e.Data) != 2 || e.Data[0].No != 3 || !e.Meta.HasNext || e.Meta.Count != 5 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err = r.client.EffectiveRules(t.Context(), SessionRef{ClientID: "nobody"}, 1, 10); status(err) != http.StatusNotFound {
		t.Error(err)
	}
	for _, claims := range []*auth.Claims{auth.Unproven, auth.UnprovenToken("t1", t0)} {
		r.fake.crowd.rows[0].By.Claims = claims
		if e, err = r.client.EffectiveRules(t.Context(), SessionRef{ClientID: "pump-1"}, 1, 10); err != nil || !e.Unproven {
			t.Errorf("%+v, %v", e, err)
		}
	}
	two := r.fake.crowd.rows[0]
	two.Key.Identity, two.Ref.Slot = "bob", 8
	r.fake.crowd.rows = append(r.fake.crowd.rows, two)
	if _, err = r.client.EffectiveRules(t.Context(), SessionRef{ClientID: "pump-1"}, 1, 10); status(err) != http.StatusConflict {
		t.Error(err)
	}
}
