package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// homecoming brings the sessions of the store back to their homes, a batch at a time: while the
// homes make theirs of one, the next is put together in memory that was used before.
type homecoming struct {
	n       *node
	applied store.Seq
	ended   time.Time // when connections ended that were open when the process before did

	homes []uint16 // of each session, in the order in which they came
	gone  map[string]bool
}

// restore does all of it.
func (b *homecoming) restore() error {
	d, n := b.n.durable, b.n
	stats := d.view.Stats()
	expected := stats.Sessions
	b.homes, b.gone = make([]uint16, 0, expected), make(map[string]bool)
	var waiters broker.Waiters
	waiters.Expect(expected)
	batch := make([]broker.Stored, n.loops)
	before := make(chan error, 1) // how it went with the batch before
	before <- nil
	hand := func(list []*view.Session) error {
		if err := <-before; err != nil {
			before <- err
			return err
		}
		for i := range batch {
			batch[i] = broker.Stored{Sessions: batch[i].Sessions[:0], Expected: expected/n.loops*9/8 + 16, Filters: stats.Subscriptions, Applied: b.applied, Ended: b.ended} // the hash is not quite even
		}
		for _, s := range list {
			home := n.broker.HomeFor(s)
			batch[home].Sessions, b.homes = append(batch[home].Sessions, s), append(b.homes, uint16(home)) //nolint:gosec // one of a few
			waiters.Add(s)
			b.withoutUser(s, n.users.Known)
		}
		go func() {
			before <- inEachHome(n.server.Each, n.loops, func(now time.Time, h *broker.Home) { h.Restore(now, &batch[h.ID()]) })
		}()
		return nil
	}
	err := hand(nil) // a home without sessions hears how far the log was applied, too
	if err == nil {
		err = d.view.Batches(hand)
	}
	if failed := <-before; failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("store: read the sessions: %w", err)
	}
	lags, err := waiters.Lags(d.view.Postings)
	if err != nil {
		return fmt.Errorf("store: read what waits for the sessions: %w", err)
	}
	owed := make([][]broker.Lag, n.loops)
	if n.loops == 1 {
		owed[0] = lags
	} else {
		for i := range lags {
			owed[b.homes[i]] = append(owed[b.homes[i]], lags[i])
		}
	}
	return inEachHome(n.server.Each, n.loops, func(now time.Time, h *broker.Home) { h.Restored(now, owed[h.ID()]) })
}

// inEachHome does it in all homes, or the start is none: event loops go on after a bug, and a broker
// without some of its sessions would acknowledge messages that nobody keeps for them.
func inEachHome(each func(func(time.Time, *broker.Home)), homes int, do func(time.Time, *broker.Home)) error {
	var done atomic.Int32
	each(func(now time.Time, h *broker.Home) {
		do(now, h)
		done.Add(1)
	})
	if missing := homes - int(done.Load()); missing > 0 {
		return fmt.Errorf("the sessions of %d of %d event loops did not come back, by a bug that the log has (event=fault): the broker does not start without them, since what they are owed would be lost; report the bug, and restore a backup or start the version before", missing, homes)
	}
	return nil
}

// withoutUser notes the identity of a session whose user is no more: a crash came between the end
// of the user and that of the session.
func (b *homecoming) withoutUser(s *view.Session, known func(name string) bool) {
	if s.Method == builtin.Name && !known(s.Identity) {
		b.gone[s.Identity] = true
	}
}
