package admin

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
)

// fakeCandidates is a policy that is tried.
type fakeCandidates struct {
	state CandidateState
	has   audit.Differences
}

func (f *fakeCandidates) Candidate(most int) (CandidateState, audit.Compared) {
	return f.state, f.has.List(most)
}

func (f *fakeCandidates) ForgetDifferences() { f.has.Clear(t0.Add(time.Hour)) }

func TestDifferences(t *testing.T) {
	r := newRig(t, nil)
	if got, err := r.client.Differences(t.Context(), 10); err != nil || got.File != "" || got.Kinds != 0 || got.Data == nil {
		t.Errorf("%+v, %v", got, err)
	}
	r.tried.state.File = "next.yaml"
	by, is, would := testDecisions(t)
	r.tried.has.Add(t0, by, "publish", "devices/alice/7", is, would)
	r.tried.has.Add(t0.Add(time.Second), by, "publish", "devices/alice/8", is, would)
	r.tried.has.Add(t0, by, "subscribe", "x", would, is)
	got, err := r.client.Differences(t.Context(), 1)
	if err != nil || got.File != "next.yaml" || got.Deny != 2 || got.Allow != 1 || got.Kinds != 2 || len(got.Data) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if d := got.Data[0]; d.Would != "deny" || d.Topic != "devices/${username}/+" || d.Example != "devices/alice/8" || d.Times != 2 || !d.Rule.Allow || d.Candidate.Allow || d.Rule.ID != "own" || !d.Last.Equal(t0.Add(time.Second)) {
		t.Errorf("%+v", d)
	}
	if err := r.client.ForgetDifferences(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := r.client.Differences(t.Context(), 1); err != nil || got.Deny != 0 || got.Kinds != 0 || !got.Since.Equal(t0.Add(time.Hour)) {
		t.Errorf("%+v, %v", got, err)
	}
}

// testDecisions are that of the rules of the rig, and of none.
func testDecisions(t *testing.T) (by *auth.Principal, is, would auth.Decision) {
	t.Helper()
	by = &auth.Principal{Identity: "alice", Username: "alice", ClientID: "pump-1"}
	a := auth.Access{Action: auth.Publish, Topic: []byte("devices/alice/7")}
	var none *auth.Policy
	return by, newPolicy(t).Policy().Decide(by, a), none.Decide(by, a)
}
