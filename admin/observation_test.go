package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/observe"
)

// fakeObservers is an observer with a time of its own.
type fakeObservers struct {
	observe.Observer
}

func (f *fakeObservers) Observe(d time.Duration) bool         { return f.Start(t0, d) }
func (f *fakeObservers) Observed() (observe.Suggestion, bool) { return f.Suggest(t0.Add(time.Second)) }
func (f *fakeObservers) EndObservation(forget bool)           { f.Stop(t0.Add(time.Second), forget) }

func TestObservation(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	if _, err := r.client.Observed(ctx); status(err) != http.StatusNotFound || !strings.Contains(err.Error(), "redoubt acl suggest --for") {
		t.Error(err)
	}
	if err := r.client.Observe(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Observe(ctx, time.Minute); status(err) != http.StatusConflict || !strings.Contains(err.Error(), "redoubt acl suggest") {
		t.Error(err)
	}
	r.watch.Saw(t0, &auth.Principal{Username: "alice", ClientID: "c"}, auth.Publish, "d/alice/x", true)
	got, err := r.client.Observed(ctx)
	if err != nil || !got.Active || got.Users != 1 || got.Rules != 1 || !strings.Contains(got.File, `"d/${username}/x" # 1`) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := r.client.EndObservation(ctx, true); err != nil {
		t.Error(err)
	}
	if got, err = r.client.Observed(ctx); err != nil || got.Active || got.Rules != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := r.client.EndObservation(ctx, false); err != nil {
		t.Error(err)
	}
	if _, err := r.client.Observed(ctx); status(err) != http.StatusNotFound {
		t.Error(err)
	}
	if log := r.log.String(); strings.Count(log, "to suggest rules") != 1 || !strings.Contains(log, "peer_uid") {
		t.Errorf("the log\n%s", log)
	}
}
