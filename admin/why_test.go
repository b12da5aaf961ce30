package admin

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// Why implements Whys: the rules of the rig, asked for the client of the session.
func (f *fakeClients) Why(_ context.Context, _ int, ref broker.Ref, q broker.Question) (a broker.Answer, there bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rows {
		if f.rows[i].Ref != ref {
			continue
		}
		a = broker.Answer{By: f.rows[i].By, Judged: q.Topic}
		if q.QoS == 2 {
			a.Refused, a.Limit = mqtt.QoSNotSupported, "QoS over the Maximum QoS"
			return a, true, f.err
		}
		a.Decision = f.policy.Policy().Decide(&a.By, auth.Access{Action: q.Action, Topic: []byte(q.Topic), QoS: q.QoS, Retain: q.Retain})
		return a, true, f.err
	}
	return a, false, f.err
}

// The client of a session is told about with its rule or its limit, and what it was refused
// before; whose session is meant must be clear.
func TestWhyAccess(t *testing.T) {
	r := newRig(t, nil)
	alice := auth.Principal{Identity: "alice", Username: "alice", ClientID: "pump-1", Listener: "mqtts", Method: "builtin", Addr: netip.MustParseAddr("192.0.2.7")}
	r.fake.crowd.policy = r.authz
	r.fake.crowd.rows = []conn.ClientInfo{{SessionInfo: broker.SessionInfo{Key: session.Key{Identity: "alice", ClientID: "pump-1"}, By: alice, Ref: broker.Ref{Slot: 7}}}}
	ref := r.refusals.Add(t0, audit.Refusal{Event: "publish denied", Identity: "alice", Username: "alice", ClientID: "pump-1", Topic: "x", Rule: "deny: all", File: "/etc/redoubt/rules.yaml", Line: 7}, true)
	ask := func(action, topic string, qos int) WhyAnswer {
		t.Helper()
		a, err := r.client.Why(t.Context(), WhyQuery{ClientID: "pump-1", Action: action, Topic: topic, QoS: qos})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := ask("publish", "devices/alice/t", 1)
	if !a.Allow() || a.Reason != 0 || a.Rule.ID != "own" || a.Rule.Line != 4 || a.Client.IPAddress != "192.0.2.7" || len(a.Refusals) != 1 || a.Refusals[0].Ref != ref.String() {
		t.Errorf("%+v", a)
	}
	if a = ask("subscribe", "site/secret/x", 0); a.Allow() || a.Reason != int(mqtt.NotAuthorized) || a.Rule.ID != "keep out" {
		t.Errorf("%+v", a)
	}
	if a = ask("publish", "devices/alice/t", 2); a.Allow() || a.Reason != int(mqtt.QoSNotSupported) || a.Rule != nil || a.Limit == "" {
		t.Errorf("%+v", a)
	}
	if _, err := r.client.Why(t.Context(), WhyQuery{ClientID: "nobody", Action: "publish", Topic: "x"}); status(err) != http.StatusNotFound {
		t.Error(err)
	}
	two := r.fake.crowd.rows[0]
	two.Key.Identity, two.Ref.Slot = "bob", 8
	r.fake.crowd.rows = append(r.fake.crowd.rows, two)
	if _, err := r.client.Why(t.Context(), WhyQuery{ClientID: "pump-1", Action: "publish", Topic: "x"}); status(err) != http.StatusConflict {
		t.Error(err)
	}
	if _, err := r.client.Why(t.Context(), WhyQuery{ClientID: "pump-1", Identity: "bob", Action: "publish", Topic: "x"}); err != nil {
		t.Error(err)
	}
}

func TestRefusalsAreListed(t *testing.T) {
	r := newRig(t, nil)
	ref := r.refusals.Add(t0, audit.Refusal{Event: "CONNECT refused", Username: "eve", ClientID: "c1", Address: netip.MustParseAddr("192.0.2.9"), Reason: mqtt.BadUserNameOrPassword, Why: "wrong password"}, false)
	r.refusals.Add(t0.Add(time.Second), audit.Refusal{Event: "CONNECT refused", Username: "mallory", ClientID: "c2", Address: netip.MustParseAddr("192.0.2.10")}, false)
	for _, q := range []RefusalQuery{{Ref: ref.String()}, {Username: "eve"}, {ClientID: "c1"}, {IPAddress: "192.0.2.9"}} {
		list, err := r.client.Refusals(t.Context(), q)
		if err != nil || len(list.Data) != 1 || list.Data[0].Why != "wrong password" || list.Data[0].Reason != int(mqtt.BadUserNameOrPassword) || list.Data[0].Identity != "" {
			t.Errorf("%+v: %+v, %v", q, list, err)
		}
	}
	if list, err := r.client.Refusals(t.Context(), RefusalQuery{}); err != nil || len(list.Data) != 2 || list.Data[0].ClientID != "c2" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, q := range []RefusalQuery{{Ref: "nonsense"}, {IPAddress: "nowhere"}} {
		if _, err := r.client.Refusals(t.Context(), q); status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "no") {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
