package conn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
)

// listed reads a whole list by pages of limit.
func (r *rig) listed(want *broker.Selection, limit int) (out []ClientInfo) {
	r.t.Helper()
	var at Place
	for done := false; !done; {
		rows, last, err := r.server.Clients(r.t.Context(), &at, want, limit)
		if err != nil || len(rows) > limit {
			r.t.Fatalf("a page of %d rows, %v", len(rows), err)
		}
		out, done = append(out, rows...), last
	}
	return out
}

// A list goes through all loops, page by page, and shows connections as they are;
// an operator ends one of them.
func TestListAndEndClients(t *testing.T) {
	play(t, func(r *rig) {
		var clients []*client
		for i := range 9 {
			c := r.connect(mqtt.V5, "alice", func(p *mqtt.Connect) {
				p.ClientID, p.KeepAlive, p.SessionExpiry, p.CleanStart = fmt.Sprint("c", i), 40, 100, i == 4
			})
			c.subscribe(fmt.Sprint("open/", i), 1)
			clients = append(clients, c)
		}
		for _, limit := range []int{1, 2, 1000} {
			seen, loops := map[string]bool{}, map[int]bool{}
			for _, c := range r.listed(&broker.Selection{}, limit) {
				seen[c.Key.ClientID], loops[c.Loop] = true, true
				if !c.Online || c.Info.Version != mqtt.V5 || c.KeepAlive != 40*time.Second || r.quic == nil && c.Since.UnixMilli() != r.now().UnixMilli() || c.By.Listener == "" ||
					c.CleanStart != (c.Key.ClientID == "c4") || c.Info.Subscriptions != 1 || c.Paused != (Paused{}) {
					r.t.Errorf("%+v", c)
				}
			}
			if len(seen) != 9 {
				r.t.Errorf("by %d: %d clients on %d loops", limit, len(seen), len(loops))
			}
		}
		var at Place
		subs, done, err := r.server.Subscriptions(r.t.Context(), &at, &broker.SubscriptionSelection{Match: []byte("open/3")}, 1000)
		if err != nil || !done || len(subs) != 1 || subs[0].Key.ClientID != "c3" || subs[0].QoS != 1 {
			r.t.Errorf("%+v, %v, %v", subs, done, err)
		}
		found := r.listed(&broker.Selection{ClientID: "c5"}, 10)
		if len(found) != 1 {
			r.t.Fatalf("%d clients are c5", len(found))
		}
		for _, want := range []bool{true, false} {
			if ended, err := r.server.EndSession(r.t.Context(), found[0].Loop, found[0].Ref); ended != want || err != nil {
				r.t.Errorf("ended %v, %v", ended, err)
			}
		}
		clients[5].closed(mqtt.AdministrativeAction)
		if left := r.listed(&broker.Selection{}, 1000); len(left) != 8 {
			r.t.Errorf("%d clients are left", len(left))
		}
		for _, bad := range []int{-1, 2, 1 << 30} { // A174
			at := Place{Loop: bad}
			if rows, done, err := r.server.Clients(r.t.Context(), &at, &broker.Selection{}, 10); len(rows) > 0 || !done || err != nil {
				r.t.Errorf("loop %d: %d rows, %v, %v", bad, len(rows), done, err)
			}
			if ended, err := r.server.EndSession(r.t.Context(), bad, broker.Ref{}); ended || err != nil {
				r.t.Errorf("loop %d: ended %v, %v", bad, ended, err)
			}
		}
	})
}

// Names are the clients' choice: a page ends before they fill the memory.
func TestPageOfLongNames(t *testing.T) {
	play(t, func(r *rig) {
		for i := range 5 {
			r.connect(mqtt.V5, "alice", func(p *mqtt.Connect) { p.ClientID = strings.Repeat("x", 60_000) + fmt.Sprint(i) })
		}
		var at Place
		rows, done, err := page(r.t.Context(), r.server, &at, 1000, func(l *Loop, p *broker.Place, add func(ClientInfo, int) bool) bool {
			return l.home.Walk(p, &broker.Selection{}, broker.StepEffort, func(i broker.SessionInfo) bool { return add(ClientInfo{SessionInfo: i}, textMax/2) })
		})
		if err != nil || done || len(rows) != 2 {
			r.t.Errorf("a page of names of %d bytes: %d rows, %v, %v", textMax/2, len(rows), done, err)
		}
		if n := len(r.listed(&broker.Selection{}, 1000)); n != 5 {
			r.t.Errorf("%d clients", n)
		}
	}, func(r *rig) { r.set.ClientIDBytes, r.set.ConnectPacketBytes = 65_535, 128<<10 })
}

// Who asks too late, or does not wait, gets an error and holds nobody up.
func TestListOfAServerThatEnds(t *testing.T) {
	play(t, func(r *rig) {
		ctx, cancel := context.WithCancel(r.t.Context())
		cancel()
		if _, done, err := r.server.Clients(ctx, &Place{}, &broker.Selection{}, 10); err != nil && !errors.Is(err, context.Canceled) || done && err != nil {
			r.t.Errorf("a caller that left: %v, %v", done, err)
		}
		r.close()
		if _, _, err := r.server.Clients(r.t.Context(), &Place{}, &broker.Selection{}, 10); !errors.Is(err, ErrEnded) {
			r.t.Errorf("after the end: %v", err)
		}
	})
}
