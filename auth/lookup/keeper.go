package lookup

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// Clients are those who are connected now.
type Clients interface {
	// Online calls fn for each. id names the connection's session and is comparable; by is
	// only read.
	Online(ctx context.Context, fn func(id any, by *auth.Principal))
	// Give has the client judged by next from now on, what it is subscribed to included,
	// if its claims are still old: else it has proved itself anew meanwhile.
	Give(id any, old, next *auth.Claims)
}

// Kept is a source whose rules are kept fresh.
type Kept struct {
	*Source
	// StaleMax is how long the rules that a client has count when they cannot be read
	// again; then it has none, and is denied what no earlier source decides.
	StaleMax time.Duration
}

// Report is what a Pass found.
type Report struct {
	Asked, Changed, Failed int
	Stale                  int    // clients that are denied because their rules are too old
	Why                    string // of one failure
}

// Keeper reads the rules of live clients again, so that a change in a table reaches who is
// connected. Its passes are made by somebody else, one at a time.
type Keeper struct {
	sources []Kept
	clients Clients
	clock   clock.Clock
	atOnce  int

	good map[of]time.Time // when the rules were read last
}

// of is one client at one source.
type of struct {
	id     any
	source string
}

// NewKeeper asks about at most atOnce clients at the same time: fewer than a back end has
// connections, because those who connect wait for the same ones.
func NewKeeper(clients Clients, clk clock.Clock, atOnce int, sources ...Kept) *Keeper {
	return &Keeper{sources: sources, clients: clients, clock: clk, atOnce: max(atOnce, 1), good: map[of]time.Time{}}
}

// Pass reads the rules of all clients that only admits (nil: everybody) again, and returns
// when all have been asked about, or ctx is done. The time is spent evenly on within, so
// that it is no storm of its own; 0: as fast as answers come.
func (k *Keeper) Pass(ctx context.Context, within time.Duration, only func(*auth.Principal) bool) Report {
	type one struct {
		id any
		by auth.Principal
	}
	var all []one
	k.clients.Online(ctx, func(id any, by *auth.Principal) {
		if only == nil || only(by) {
			all = append(all, one{id, *by})
		}
	})
	p := &pass{k: k, now: k.clock.Now(), seen: make(map[of]bool, len(all))}
	places := make(chan struct{}, k.atOnce)
	var pause *time.Ticker
	if each := within / time.Duration(max(len(all), 1)); each > 0 {
		pause = time.NewTicker(each)
		defer pause.Stop()
	}
	for i := range all {
		c := &all[i]
		if ctx.Err() != nil { // select would choose either
			break
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			p.wait.Wait()
			return p.report
		}
		p.ask(c.id, &c.by, func() { <-places })
		if pause != nil && i < len(all)-1 {
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
		}
	}
	p.wait.Wait()
	if only == nil { // who is gone is forgotten
		for at := range k.good {
			if !p.seen[at] {
				delete(k.good, at)
			}
		}
	}
	return p.report
}

// pass is one of a Keeper's.
type pass struct {
	k    *Keeper
	wait sync.WaitGroup

	mu     sync.Mutex // guards everything below, and k.good
	now    time.Time
	seen   map[of]bool
	report Report
}

// ask reads the rules of one client from every source, and calls done when it has what they
// are now.
func (p *pass) ask(id any, by *auth.Principal, done func()) {
	p.wait.Add(1)
	left := len(p.k.sources)
	next := auth.Claims{}
	if by.Claims != nil {
		next = *by.Claims
	}
	next.Rules = append([]auth.Own(nil), next.Rules...)
	changed := false
	over := func() {
		if changed {
			p.k.clients.Give(id, by.Claims, &next)
		}
		done()
		p.wait.Done()
	}
	if left == 0 {
		over()
		return
	}
	for _, s := range p.k.sources {
		s.Reload(by, func(own auth.Own, err error) {
			p.mu.Lock()
			if p.settle(of{id, s.Name()}, s.StaleMax, &next, own, err) {
				changed = true
				p.report.Changed++
			}
			left--
			last := left == 0
			p.mu.Unlock()
			if last {
				over()
			}
		})
	}
}

// settle puts what a source has said into the claims, and tells whether they are others now.
func (p *pass) settle(at of, staleMax time.Duration, claims *auth.Claims, own auth.Own, err error) bool {
	p.report.Asked++
	p.seen[at] = true
	had := -1
	for i := range claims.Rules {
		if claims.Rules[i].Source == at.source {
			had = i
		}
	}
	now := p.k.clock.Now()
	if err == nil {
		p.k.good[at] = now
		switch {
		case had < 0:
			claims.Rules = append(claims.Rules, own)
		case reflect.DeepEqual(claims.Rules[had].Rules, own.Rules):
			claims.Rules[had].Read.Confirm(now)
			return false
		default:
			claims.Rules[had] = own
		}
		return true
	}
	p.report.Failed++
	p.report.Why = err.Error()
	last, known := p.k.good[at]
	if !known { // it was read when the client connected, after the pass before
		p.k.good[at], last = now, now
	}
	switch {
	case had < 0:
		p.report.Stale++
		return false
	case now.Sub(last) < staleMax:
		return false
	}
	p.report.Stale++
	claims.Rules = append(claims.Rules[:had:had], claims.Rules[had+1:]...)
	return true
}
