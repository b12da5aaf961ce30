package lookup

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
)

// house is Clients.
type house struct {
	mu    sync.Mutex // guards everything below
	live  map[any]*auth.Principal
	given []string
}

func (h *house) Online(_ context.Context, fn func(id any, by *auth.Principal)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, by := range h.live {
		fn(id, by)
	}
}

func (h *house) Give(id any, old, next *auth.Claims) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if by := h.live[id]; by != nil && by.Claims == old {
		by.Claims = next
		h.given = append(h.given, fmt.Sprint(id, " ", len(next.Rules)))
	}
}

func TestRulesAreKeptFresh(t *testing.T) {
	b := &table{rows: []backend.Row{fields("permission", "allow", "action", "publish", "topic", "a")}}
	s, clk := sourceOf(t, b, aclQuery)
	own, err := load(s, ann)
	if err != nil {
		t.Fatal(err)
	}
	by := *ann
	by.Claims = &auth.Claims{TokenID: "x", Rules: []auth.Own{{Source: "claims"}, own}}
	h := &house{live: map[any]*auth.Principal{1: &by}}
	k := NewKeeper(h, clk, 4, Kept{s, 5 * time.Minute})
	pass := func() Report { return k.Pass(context.Background(), 0, nil) }
	if r := pass(); r.Asked != 1 || r.Changed != 0 || len(h.given) != 0 {
		t.Errorf("nothing has changed: %+v", r)
	}
	b.rows = nil
	if r := pass(); r.Changed != 1 || len(by.Claims.Rules) != 2 || len(by.Claims.Rules[1].Rules) != 0 || by.Claims.TokenID != "x" {
		t.Errorf("a right was taken: %+v %+v", r, by.Claims)
	}

	b.err = backend.Failed(backend.Down, "connection refused")
	clk.Advance(5*time.Minute - time.Second)
	if r := pass(); r.Failed != 1 || r.Stale != 0 || len(by.Claims.Rules) != 2 {
		t.Errorf("the back end is gone for a short time: %+v", r)
	}
	clk.Advance(time.Second)
	if r := pass(); r.Stale != 1 || r.Why == "" || len(by.Claims.Rules) != 1 || by.Claims.Rules[0].Source != "claims" {
		t.Errorf("for longer than the rules count: %+v %+v", r, by.Claims)
	}
	if r := pass(); r.Stale != 1 || r.Changed != 0 {
		t.Errorf("and still: %+v", r)
	}
	b.err = nil
	if r := pass(); r.Changed != 1 || r.Stale != 0 || len(by.Claims.Rules) != 2 {
		t.Errorf("it is back: %+v", r)
	}
	delete(h.live, 1)
	pass()
	if len(k.good) != 0 {
		t.Error("a client that is gone is remembered")
	}
}

// A client that connected while the back end went down has its rules for as long as others.
func TestAFreshClientIsNotStale(t *testing.T) {
	b := &table{err: backend.Failed(backend.Down, "connection refused")}
	s, clk := sourceOf(t, b, aclQuery)
	by := *ann
	by.Claims = &auth.Claims{Rules: []auth.Own{{Source: "db"}}}
	h := &house{live: map[any]*auth.Principal{1: &by}}
	k := NewKeeper(h, clk, 4, Kept{s, time.Minute})
	if r := k.Pass(context.Background(), 0, nil); r.Stale != 0 || len(h.given) != 0 {
		t.Errorf("%+v", r)
	}
}

// who is one of those a pass asks about is nobody else; all are spread over the time.
func TestPassIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &table{}
		s, clk := sourceOf(t, b, aclQuery)
		h := &house{live: map[any]*auth.Principal{}}
		for i := range 10 {
			h.live[i] = &auth.Principal{Identity: fmt.Sprint(i), Username: fmt.Sprint(i)}
		}
		k := NewKeeper(h, clk, 4, Kept{s, time.Minute})
		began := time.Now()
		if r := k.Pass(t.Context(), 10*time.Second, nil); r.Asked != 10 || time.Since(began) != 9*time.Second {
			t.Errorf("%+v after %v", r, time.Since(began))
		}
		if r := k.Pass(t.Context(), 0, func(by *auth.Principal) bool { return by.Username == "3" }); r.Asked != 1 || len(k.good) != 10 {
			t.Errorf("one client: %+v", r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := k.Pass(ctx, time.Hour, nil); r.Asked == 10 || time.Since(began) > 10*time.Second {
			t.Errorf("broken off: %+v", r)
		}
	})
}
